"""`demo --once`: a fixed set of calls, each with what must become of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from proxy.demo.call import Outcome, OutgoingCall
from proxy.demo.pbx import Pbx
from proxy.demo.provider import BUSY, SHORT, SILENT
from proxy.demo.screen import Screen
from proxy.demo.stage import Record, Stage

RING_SECONDS: Final = 0.05
LIMIT_SECONDS: Final = 5.0
OFFICE_LINES: Final = 3

_LOOK_AGAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Case:
    """One call and what is expected of it.

    caller: `office`, `shop` or `stranger`. reason: a code of the contract, None for a call that is admitted.
    status: as its caller sees it. talk: seconds until the caller hangs up; patience: until he gives up.
    beside: how many other calls of his are up meanwhile. cost, ended_by: of its record, None where nothing is
    expected.
    """

    title: str
    caller: str
    number: str
    reason: str | None
    status: int
    talk: float = 0.1
    patience: float = LIMIT_SECONDS
    beside: int = 0
    cost: str | None = None
    ended_by: str | None = None


CASES: Final = (
    Case("caller hangs up", "office", "02079460123", None, 200, cost="0.012", ended_by="caller"),
    Case("far end hangs up", "office", "+442079460" + SHORT, None, 200, LIMIT_SECONDS,
         cost="0.012", ended_by="provider"),
    Case("far end is busy", "office", "+442079460" + BUSY, None, 486, cost="0.00"),
    Case("caller gives up", "office", "+442079460" + SILENT, None, 487, patience=0.3, cost="0.00"),
    Case("emergency number", "office", "112", None, 200, cost="0.00"),
    Case("wrong country", "office", "+33199001234", "COUNTRY", 403),
    Case("+1 of another country", "office", "+18765550123", "COUNTRY", 403),
    Case("country unknown", "office", "+9990000123", "COUNTRY_UNKNOWN", 403),
    Case("denied prefix", "office", "+19005550123", "PREFIX", 403),
    Case("price too high", "office", "+447000000123", "RATE", 403),
    Case("not a number", "office", "*43", "NUMBER", 484),
    Case("unknown source", "stranger", "+442079460123", "SOURCE", 403),
    Case("over capacity", "office", "+12125550123", "CAPACITY", 403, beside=OFFICE_LINES),
    Case("emergency when full", "office", "999", None, 200, beside=OFFICE_LINES),
    Case("within the budget", "shop", "+447000000123", None, 200, cost="1.50", ended_by="caller"),
    Case("over budget", "shop", "+447000000123", "SPEND", 403),
    Case("cut off: money spent", "shop", "+448440000123", None, 200, LIMIT_SECONDS,
         ended_by="proxy"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case. `code` is the refusal's code on the wire, `decision` and `reason` the proxy's
    own record of it; `ending` the record of an admitted call, where one was waited for."""

    case: Case
    status: int
    code: str | None
    decision: str
    reason: str | None
    ending: Record | None = None

    def deviations(self) -> list[str]:
        """In what it differs from the expectation, as `what it is, wanted what`."""
        case = self.case
        compared: list[tuple[object, object]] = [
            (self.decision, "admitted" if case.reason is None else "refused"),
            (self.reason, case.reason),
            (self.code, case.reason),
            (self.status, case.status),
        ]
        if case.cost is not None and (self.cost is None or Decimal(self.cost) != Decimal(case.cost)):
            compared.append((self.cost, case.cost))
        if case.ended_by is not None:
            compared.append((None if self.ending is None else self.ending["ended_by"], case.ended_by))
        found = [
            f"{actual or '-'}, wanted {wanted or '-'}" for actual, wanted in compared if actual != wanted
        ]
        return list(dict.fromkeys(found))

    @property
    def cost(self) -> str | None:
        """Of the call's record."""
        return None if self.ending is None else str(self.ending["cost"])

    def cells(self) -> list[str]:
        """Its row of the table."""
        deviations = self.deviations()
        return [
            self.case.title,
            self.case.number,
            self.decision,
            self.reason or "",
            str(self.status),
            self.cost or "",
            "yes" if not deviations else "NO: " + "; ".join(deviations),
        ]


class Rehearsal:
    """Plays cases on a stage, one after the other."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._records: dict[tuple[str, str], Record] = {}
        self.admitted = 0
        stage.on_record = self._recorded

    def _recorded(self, record: Record) -> None:
        self._records[record["call_id"], record["record"]] = record

    async def play(self, case: Case) -> Result:
        """Place the call, see it through, and wait until the ledger has forgotten it."""
        pbx: Pbx = getattr(self._stage, case.caller)
        others = [await self._hold(pbx) for _ in range(case.beside)]
        call = pbx.dial(case.number)
        outcome = await pbx.talk(call, case.talk, case.patience)
        result = await self._result(case, call, outcome)
        for other in others:
            await other.hang_up()
        self.admitted += len(others) + (result.decision == "admitted")
        await self.leases_gone()
        return result

    async def leases_gone(self) -> int:
        """Wait until the ledger holds no call, within limits; how many it still holds."""
        left = 0
        for _ in range(int(LIMIT_SECONDS / _LOOK_AGAIN_SECONDS)):
            left = len(await self._stage.app.ledger.calls())
            if left == 0:
                break
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return left

    async def _hold(self, pbx: Pbx) -> OutgoingCall:
        call = pbx.dial("+442079460123")
        await call.outcome()
        return call

    async def _result(self, case: Case, call: OutgoingCall, outcome: Outcome) -> Result:
        if case.reason == "SOURCE":  # refused without state: nothing but the answer tells of it
            decision = "admitted" if outcome.code is None else "refused"
            return Result(case, outcome.status, outcome.code, decision, outcome.code)
        record = await self._record(call, "decision") or {"decision": "no record", "reason": None}
        wants_ending = case.cost is not None or case.ended_by is not None
        ending = await self._record(call, "call") if wants_ending else None
        return Result(case, outcome.status, outcome.code, record["decision"], record["reason"], ending)

    async def _record(self, call: OutgoingCall, kind: str) -> Record | None:
        for _ in range(int(LIMIT_SECONDS / _LOOK_AGAIN_SECONDS)):
            record = self._records.get((call.call_id, kind))
            if record is not None:
                return record
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return None


async def rehearse(stage: Stage, screen: Screen, cases: tuple[Case, ...]) -> bool:
    """Play all cases and print what became of them; whether everything was as expected, no call left in the
    ledger, and nothing at the provider that was not admitted."""
    rehearsal = Rehearsal(stage)
    results = [await rehearsal.play(case) for case in cases]
    leases = await rehearsal.leases_gone()
    seen = stage.provider.seen
    columns = ("call", "dialled", "decision", "reason", "SIP", "cost", "ok")
    screen.table(
        "What became of each call",
        columns,
        [result.cells() for result in results],
    )
    good = sum(not result.deviations() for result in results)
    screen.say(f"{good} of {len(results)} calls as expected; {leases} leases left in the ledger;")
    screen.say(f"{seen} INVITEs reached the provider, {rehearsal.admitted} calls were admitted")
    return good == len(results) and leases == 0 and seen == rehearsal.admitted
