"""`demo`: calls at a gentle pace, each decision on a line as it falls, until the user has seen enough."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Final

from proxy.demo.pbx import Pbx
from proxy.demo.screen import Screen
from proxy.demo.stage import Record, Stage
from proxy.demo.traffic import PlannedCall, Traffic
from proxy.observe.clock import utc_now

SEED: Final = 3261
_CLOSING_SECONDS = 3.0


class Show:
    """The running demo: places calls and prints what the proxy records of them."""

    def __init__(self, stage: Stage, screen: Screen, traffic: Traffic) -> None:
        self._stage = stage
        self._screen = screen
        self._traffic = traffic
        self._events: asyncio.Queue[Record] = asyncio.Queue()
        self.decisions: Counter[tuple[str, str, str]] = Counter()
        self.costs: dict[str, Decimal] = {}
        self.ended: Counter[str] = Counter()
        stage.on_record = self._events.put_nowait

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, or nobody reads any more. Then the calls are hung up, and the sums are
        printed."""
        keeper = self._stage.keeper
        with suppress(BrokenPipeError):
            self._open()
            placing = keeper.start(self._place_calls(), name="demo calls")
            printing = keeper.start(self._print(), name="demo lines")
            stopping = keeper.start(stop.wait(), name="demo stop")
            await asyncio.wait((printing, stopping), return_when=asyncio.FIRST_COMPLETED)
            placing.cancel()
            printing.cancel()
            self._screen.say()
            self._screen.say("hanging up ...", "dim")
            await self._hang_up()
            while not self._events.empty():
                self._show(self._events.get_nowait())
            self._sums()

    async def _print(self) -> None:
        with suppress(BrokenPipeError):
            while True:
                self._show(await self._events.get())

    def _open(self) -> None:
        stage, screen = self._stage, self._screen
        host, port = stage.office.proxy
        screen.say(f"dashboard  {stage.app.admin_url}/", "bold")
        screen.say(f"proxy      sip:{host}:{port}, on the policy {stage.app.path}")
        office, shop, stranger = (pbx.agent.address[0] for pbx in (stage.office, stage.shop, stage.stranger))
        screen.say(f"callers    {office} is trunk office-pbx: US and GB, three lines, no premium numbers")
        screen.say(f"           {shop} is trunk call-shop: US and GB, 2 USD in 24 hours")
        screen.say(f"           {stranger} is on no trunk")
        screen.say("Ctrl-C ends it.")
        screen.say()
        screen.heading()

    # --- calls ----------------------------------------------------------------------------------------------

    async def _place_calls(self) -> None:
        while True:
            self._stage.keeper.start(self._follow(self._traffic.next()), name="demo call")
            await asyncio.sleep(self._traffic.pause())

    async def _follow(self, plan: PlannedCall) -> None:
        pbx: Pbx = getattr(self._stage, plan.caller)
        outcome = await pbx.talk(pbx.dial(plan.number), plan.talk, plan.patience)
        if pbx is self._stage.stranger:
            # Strangers are refused without a record: this is what the wire said.
            self._events.put_nowait(
                {
                    "record": "decision",
                    "decided_at": utc_now().isoformat(),
                    "trunk": None,
                    "dialled": plan.number,
                    "country": None,
                    "decision": "admitted" if outcome.code is None else "refused",
                    "reason": outcome.code,
                    "sip_status": outcome.status,
                }
            )

    async def _hang_up(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._stage.hang_up_all()
                await self._stage.app.accounting.idle()
        self._stage.app.log.flush()

    # --- what is seen ---------------------------------------------------------------------------------------

    def _show(self, record: Record) -> None:
        trunk = record["trunk"] or "-"
        over = record["record"] == "call"
        talk = cost = ""
        if over:
            self.ended[trunk] += 1
            self.costs[trunk] = self.costs.get(trunk, Decimal(0)) + Decimal(record["cost"])
            what, reason, at = "ended", f"by {record['ended_by']}", record["ended_at"]
            if record["answered_at"] is not None:
                talk, cost = f"{record['duration_ms'] / 1000:.1f} s", record["cost"]
        else:
            what, reason, at = record["decision"], record["reason"] or "", record["decided_at"]
            self.decisions[trunk, what, reason] += 1
        self._screen.decision(
            (
                datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S"),
                trunk,
                record["dialled"],
                record["country"] or "-",
                what,
                reason,
                str(record["sip_status"] or "-"),
                talk,
                cost,
            )
        )

    def _sums(self) -> None:
        rows = [
            [trunk, decision, reason, str(count)]
            for (trunk, decision, reason), count in sorted(self.decisions.items())
        ]
        self._screen.table("Decisions", ("trunk", "decision", "reason", "calls"), rows)
        rows = [[trunk, str(self.ended[trunk]), f"{self.costs[trunk]:f}"] for trunk in sorted(self.ended)]
        self._screen.table("Calls that have ended", ("trunk", "calls", "cost in USD"), rows)
        total = sum(self.decisions.values())
        refused = sum(count for (_, what, _), count in self.decisions.items() if what == "refused")
        seen = self._stage.provider.seen
        self._screen.say(f"{total} calls judged, {refused} refused; {seen} INVITEs reached the provider")
