"""Replies of the scripts as the objects that the ledger's users see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from policy.rating.money import amount
from policy.reasons import ReasonCode
from proxy.ledger.connection import Command
from proxy.ledger.ledger import (
    Adopted,
    Answered,
    Claim,
    Discrepancy,
    LedgerObserver,
    LedgerUnavailable,
    LiveCall,
    Noted,
    Refused,
    Reservation,
)
from proxy.ledger.resp import ServerError, error_kind

_WHAT = {
    "calls_per_callee": "calls_per_callee: tries at this number within a minute",
    "distinct_callees": "distinct_callees: different numbers within a minute",
    "sequential_numbers": "sequential_numbers: numbers next to one another within a minute",
    "calls_per_cld": "calls_per_cld: tries at this number in this calling window",
    "callees_in_window": "callees_in_window: different numbers that are counted in a calling window",
}


class Asking:
    """The sink of one `reserve`: the answer goes straight to who asked, without a turn of the event loop.

    `strange` is told when the ledger is not the one that this instance knows.
    """

    __slots__ = ("claim", "done", "observer", "strange")

    def __init__(
        self, claim: Claim, done: Answered, observer: LedgerObserver, strange: Callable[[], None]
    ) -> None:
        self.claim = claim
        self.done = done
        self.observer = observer
        self.strange = strange

    def replied(self, command: Command, reply: object) -> None:
        claim = self.claim
        if isinstance(reply, ServerError):
            kind = error_kind(reply)
            self.observer.ledger_error(kind)
            self.done(LedgerUnavailable(kind, f"ledger refused `reserve`: {reply}"))
            return
        answer = cast("list[int]", reply)
        if answer[0] == 1:
            noted = _noted(answer) if len(answer) > 3 else ()
            self.done(Reservation(claim.ref, answer[1], answer[2], noted))
        elif answer[0] == 0:
            self.done(refusal(claim, answer))
        elif answer[0] == 4:
            detail = "these credentials were used for another call"
            self.done(Refused(ReasonCode.AUTH, claim.scopes[-1].id, detail))
        elif answer[0] == 3:
            self.strange()
            self.observer.ledger_error("rebuilding")
            self.done(rebuilding())
        else:
            self.done(LedgerUnavailable("other", f"call {claim.ref} was ended before it was reserved"))

    def lost(self, command: Command, kind: str) -> None:
        self.observer.ledger_error(kind)
        self.done(LedgerUnavailable(kind, f"no answer to `reserve` ({kind})"))


def rebuilding() -> LedgerUnavailable:
    return LedgerUnavailable("rebuilding", "the ledger lost data and is being rebuilt", sent=False)


def least_hold(claim: Claim) -> int:
    """What must fit for the claim to be granted."""
    return claim.hold if claim.least is None else min(claim.least, claim.hold)


def _noted(answer: Sequence[object]) -> tuple[Noted, ...]:
    """The soft thresholds at the end of an answer."""
    rows = answer[-1]
    if not isinstance(rows, list):
        return ()
    return tuple(Noted(kind.decode(), scope.decode(), limit) for kind, scope, limit in rows)


def refusal(claim: Claim, answer: Sequence[object]) -> Refused:
    code = ReasonCode(cast("bytes", answer[2]).decode())
    if code is ReasonCode.WINDOW:
        kind, scope_id = (cast("bytes", part).decode() for part in answer[3:5])
        return Refused(code, scope_id, f"{_WHAT[kind]}: {answer[5]} at most", _noted(answer), kind)
    index, have, limit = (cast("int", answer[at]) for at in (1, 3, 4))
    scope = claim.scopes[index - 1]
    if code is ReasonCode.SPEND:
        wanted = amount(least_hold(claim))
        detail = f"{amount(have)} of {amount(limit)} spent or held, {wanted} more wanted"
    elif code is ReasonCode.CAPACITY:
        detail = f"{have} of {limit} calls are up"
    else:
        detail = f"{limit} calls within the last second"
    return Refused(code, scope.id, detail, _noted(answer))


def live_call(row: list[bytes | int]) -> LiveCall:
    ref, trunk, owner, reserved, answered, spent, hold, record = row
    return LiveCall(
        ref=cast("bytes", ref).decode(),
        trunk=cast("bytes", trunk).decode(),
        owner=cast("bytes", owner).decode(),
        reserved_ms=cast("int", reserved),
        answered_ms=answered if isinstance(answered, int) else None,
        spent=cast("int", spent),
        hold=cast("int", hold),
        record=cast("bytes", record),
    )


def adopted(row: list[bytes | int]) -> Adopted:
    ref, trunk, epoch, reserved, answered, spent, hold, version, state, record = row
    return Adopted(
        ref=cast("bytes", ref).decode(),
        trunk=cast("bytes", trunk).decode(),
        epoch=cast("int", epoch),
        reserved_age=cast("int", reserved) / 1000,
        answered_age=None if cast("int", answered) < 0 else cast("int", answered) / 1000,
        spent=cast("int", spent),
        hold=cast("int", hold),
        version=cast("int", version),
        state=cast("bytes", state),
        record=cast("bytes", record),
    )


def discrepancy(row: list[bytes | int]) -> Discrepancy:
    scope, what, found, corrected = row
    return Discrepancy(
        cast("bytes", scope).decode(),
        cast("bytes", what).decode(),
        cast("int", found),
        cast("int", corrected),
    )
