"""A bench for admission: the real stack, call core and policy, the real pipeline and accounting on a real
ledger, with two peers and time in the test's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from config.model import Config, DeckRow
from policy.compile import compile_policy
from policy.compiled import Policy
from policy.reasons import ReasonCode
from proxy.admission.accounting import Accounting
from proxy.admission.decision_log import DecisionLog
from proxy.admission.pipeline import AdmissionPipeline
from proxy.call.commands import Answered, Ended, Refused, Reserve
from proxy.call.session import CallSession
from proxy.ledger.ledger import ScopeUsage
from proxy.ledger.redis_ledger import RedisLedger
from proxy.observe.metrics import Metrics
from tests.call.playbook import CARRIER, PBX, Playbook, answer, in_dialog, invite

UK = "sip:+442071838750@127.0.0.1"  # 0.06 a minute, by the second
UK_MOBILE = "sip:+447400123456@127.0.0.1"  # 0.60 a minute, by the minute
US = "sip:+12025550123@127.0.0.1"  # free of charge
ROWS = (
    DeckRow("+44", "United Kingdom", Decimal("0.06"), Decimal(0), 1, 1),
    DeckRow("+447", "United Kingdom mobile", Decimal("0.60"), Decimal("0.05"), 60, 60),
    DeckRow("+1", "United States", Decimal(0), Decimal(0), 1, 1),
    DeckRow("112", "Emergency", Decimal("0.12"), Decimal(0), 60, 60),
)
SECOND = 1000  # micro-units of a second to the UK
T0 = 1_767_225_600_000  # wall time of the records: 2026-01-01T00:00:00Z


def policy(version: str = "v1", **changes: Any) -> Policy:
    """One trunk `office` at 127.0.0.2, one provider; `trunk`, `provider` and top-level keys can be
    changed."""
    trunk = {
        "name": "office",
        "provider": "carrier",
        "allowed_sip_ips": ["127.0.0.2"],
        "destination_whitelist": ["gb", "us"],
        "rate_deck": "retail",
        **changes.pop("trunk", {}),
    }
    provider = {"name": "carrier", "hostname": f"{CARRIER[0]}:{CARRIER[1]}", **changes.pop("provider", {})}
    whole: dict[str, Any] = {
        "trunks": [trunk, *changes.pop("more_trunks", [])],
        "providers": [provider, *changes.pop("more_providers", [])],
        "rate_decks": {"retail": {"file": "retail.csv"}},
        "emergency": {"numbers": ["112"], "providers": ["carrier"]},
        **changes,
    }
    config = Config.model_validate(whole)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    result = compile_policy(config, {"retail": ROWS}, version=version, loaded_at=at)
    assert result.policy is not None, result.problems
    return result.policy


class Bench(Playbook):
    """The playbook with admission behind it. Reservations wait for `admit`, renewals for `run`."""

    def __init__(self, ledger: RedisLedger, compiled: Policy, *, lease_seconds: float = 30.0) -> None:
        super().__init__(compiled, admit_all=False)
        self.ledger = ledger
        self.metrics = Metrics()
        self.log = DecisionLog(compiled.currency)
        self.decisions: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.lines: list[bytes] = []
        self.log.sinks.append(self._take_records)
        self.hung_up: list[tuple[float, ReasonCode]] = []
        self.costs: list[int] = []
        self.fenced: list[CallSession] = []
        self.oks: dict[str, Any] = {}
        self.accounting = Accounting(
            self.store, ledger, lease_seconds, self.hang_up, self.fenced.append, lambda: self.now
        )
        self.pipeline = AdmissionPipeline(
            self.store, ledger, self.accounting, self.log, self.metrics, self.wall, lambda: self.now
        )

    def wall(self) -> int:
        return T0 + round((self.now - 1000.0) * 1000)

    # --- what the server does ---

    def hang_up(self, session: CallSession, reason: ReasonCode) -> None:
        self.hung_up.append((self.now, reason))
        session.hang_up(f'Q.850;cause=31;text="{reason}"'.encode(), self.now)
        self._pump()

    def _pump(self) -> Bench:
        while self.core.commands or self.stack.outbox:
            commands, self.core.commands = self.core.commands, []
            super()._pump()
            for command in commands:
                self._execute(command)
        return self

    def _execute(self, command: object) -> None:
        self.commands.append(type(command).__name__)
        if isinstance(command, Reserve):
            self.sessions.append(command.session)
            if command.session.verdict.emergency:
                self.pipeline.emergency(command.session)
                command.session.admitted(self.now)
            else:
                self.pending.append(command.session)
        elif isinstance(command, Answered):
            self.accounting.answered(command.session, self.now)
        elif isinstance(command, Refused):
            self.pipeline.refused(command.session)
        elif isinstance(command, Ended):
            cost = self.accounting.ended(command.session)
            self.costs.append(cost)
            self.log.ended(command.session, cost, self.wall(), self.now)

    async def admit(self) -> ReasonCode | None:
        """Ask the ledger for the oldest call that waits, and tell the call."""
        answered: asyncio.Future[ReasonCode | None] = asyncio.get_running_loop().create_future()
        self.pipeline.reserve(self.pending.pop(0), lambda call, reason: self._decided(call, reason, answered))
        return await answered

    def _decided(
        self, session: CallSession, reason: ReasonCode | None, told: asyncio.Future[ReasonCode | None]
    ) -> None:
        if reason is None:
            session.admitted(self.now)
        else:
            session.refused(reason, self.now)
        self._pump()
        told.set_result(reason)

    async def run(self, seconds: float, step: float = 0.1) -> Bench:
        """Let time pass as the program does: SIP timers when they are due, renewals every `step`."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.pass_time(min(step, end - self.now))
            await self.accounting.renew_due(self.now)
            self._pump()
        return self

    # --- short names for what the tests say often ---

    async def ring(self, uri: str = UK, number: int = 1) -> CallSession:
        """A call that is admitted, forwarded, and rings."""
        data = invite(uri, branch=f"z9hG4bK-{number}", call_id=f"call-{number}", tag=f"pbx{number}")
        self.receive(data)
        if self.pending:
            assert await self.admit() is None
        self.receive(answer(self.last(CARRIER), 180, "Ringing", tag=f"uas{number}"), CARRIER)
        session: CallSession = self.sessions[-1]
        return session

    async def talk(self, uri: str = UK, number: int = 1) -> CallSession:
        """A call that is answered and acknowledged."""
        session = await self.ring(uri, number)
        self.receive(answer(self.last(CARRIER), 200, tag=f"uas{number}"), CARRIER)
        ok = self.oks[session.ref] = self.last(PBX)
        self.receive(in_dialog("ACK", ok, cseq=1, branch=f"z9hG4bK-ack{number}"))
        return session

    def bye(self, session: CallSession, status: int = 200) -> None:
        """The caller hangs up; the provider answers `status`, or nothing yet when that is 0."""
        branch = f"z9hG4bK-bye{session.ref}{self.now}"
        ok = self.oks[session.ref]
        self.receive(in_dialog("BYE", ok, cseq=session.caller.cseq + 1, branch=branch))
        if status:
            self.receive(answer(self.last(CARRIER), status), CARRIER)

    def answer_bye(self, status: int = 200) -> None:
        """The provider answers the BYE that it got last."""
        request = self.last(CARRIER)
        assert request.method == b"BYE"
        self.receive(answer(request, status), CARRIER)

    def byes(self) -> int:
        """How many BYEs the provider saw since the last look; the rest is taken, too."""
        seen = self.take()
        return seen.count("carrier <- BYE")

    async def usage(self, name: str = "office") -> ScopeUsage:
        (usage,) = await self.ledger.usage([self.store.policy.trunks[name].scope])
        return usage

    def records(self) -> None:
        self.log.flush()

    def _take_records(self, stream: str, lines: list[bytes]) -> None:
        self.lines += lines
        kept = self.decisions if stream == "decisions" else self.calls
        kept += [json.loads(line) for line in lines]


MakeBench = Callable[[Policy], Bench]


def money(threshold: str, **changes: Any) -> Policy:
    """A trunk with a spend threshold."""
    return policy(trunk={"threshold_amount": threshold, **changes})
