"""What the ledger promises: calls and money, counted once, at every scope, over all instances.

A call that is admitted holds a reservation, named by its `ref`; a live call's reservation is its lease. Every
verb is idempotent by `ref`: repeating one changes nothing, and a verb for a ref that is gone does nothing.
Amounts are integer micro-units of the accounting currency.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from policy.attempts import Tries
from policy.compiled import Scope
from policy.reasons import ReasonCode


class LedgerUnavailable(Exception):
    """The ledger did not answer in time, or answered that it cannot serve. What it did is unknown.

    `kind` is a short label from a closed set (`timeout`, `connection`, `readonly`, `loading`, `oom`,
    `noauth`, `busy`, `script`, `rebuilding`, `other`) for `trunkwarden_ledger_errors_total`. `sent` is False
    when nothing left for the server, or nothing was done there; after a `reserve` that was sent, whoever does
    not go on with the call must `release` it.
    """

    def __init__(self, kind: str, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent


def reason_of(error: BaseException) -> str:
    """What went wrong on the way to the server, for people. A deadline says nothing itself."""
    return str(error) or "no answer in time"


class LedgerRefused(Exception):
    """The ledger cannot be used as it is set up, and trying again will not help. The message says what to
    mend."""


class LedgerObserver(Protocol):
    """Where a ledger reports how it fares."""

    def ledger_seconds(self, verb: str, seconds: float) -> None:
        """A command was answered after `seconds`."""
        ...

    def ledger_error(self, kind: str) -> None:
        """A command failed: a kind of `LedgerUnavailable`, or `dropped` for records that were given up."""
        ...


class Unobserved:
    """A LedgerObserver that looks away."""

    def ledger_seconds(self, verb: str, seconds: float) -> None:
        pass

    def ledger_error(self, kind: str) -> None:
        pass


@dataclass(slots=True)
class Claim:
    """What a call asks for: a place and a first block of money at all its scopes, or nothing.

    `hold` is the money to reserve; where that does not fit at every scope but `least` does, it is that.
    `scopes` carry the limits now in force. `record` is a JSON object with what `GET /v1/calls` shows of the
    call; the ledger keeps it and does not read it. `use` is what the caller's credentials use up, b"" for a
    caller without: a claim of another call with the same is refused as AUTH, also when this one is refused
    for want of room. `tries` is counted even if the call is refused.
    """

    ref: str
    trunk: str
    scopes: tuple[Scope, ...]
    hold: int
    record: bytes
    use: bytes = b""
    least: int | None = None
    tries: Tries | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """A soft threshold that an attempt passed: `kind` is one of policy.attempts.KINDS."""

    kind: str
    scope_id: str
    threshold: int


@dataclass(slots=True)
class Reservation:
    """All scopes had room. `ledger_ms` is the ledger's clock, in milliseconds since the epoch; `hold` is what
    the call holds: as claimed, or the least."""

    ref: str
    ledger_ms: int
    hold: int
    noted: tuple[Noted, ...] = ()


@dataclass(slots=True)
class Refused:
    """One scope had no room: `reason` is CPS, CAPACITY or SPEND; or the credentials were used before: AUTH;
    or somebody was tried too often: WINDOW, and `kind` says what was counted. Nothing was written but the
    attempt itself."""

    reason: ReasonCode
    scope_id: str
    detail: str
    noted: tuple[Noted, ...] = ()
    kind: str = ""


Answered = Callable[[Reservation | Refused | LedgerUnavailable], None]
"""Who is told what became of a claim."""


@dataclass(slots=True)
class Renewal:
    """A live call's next breath: its lease is extended and its money moved on.

    `spent` is what the call has cost so far in all (the ledger moves the difference to what it knew into the
    window); `hold` is what it wants reserved beyond that, `scopes` the limits now in force: a hold larger
    than the present one is granted only where every threshold has room. `epoch` is that of its lease.
    """

    ref: str
    spent: int
    hold: int
    scopes: tuple[Scope, ...]
    epoch: int = 1


class Renewed:
    """The outcomes of a renewal."""

    GRANTED = "granted"  # lease extended, hold as asked
    NO_FUNDS = "no_funds"  # lease extended, spent moved, the old hold (less what was spent of it) kept
    GONE = "gone"  # the ledger knows no such call, or swept it: whoever has it registers it again
    FENCED = "fenced"  # somebody else has the call, or ended it: it is no longer the caller's to count
    AWAY = "away"  # the part of the ledger in which it lies does not answer; never of a ledger of one part


@dataclass(slots=True)
class Registration:
    """A live call that the ledger does not know, told by the instance that has it.

    `reserved_age` and `answered_age` are seconds; the latter is None while it rings. `spent` is what the call
    has cost so far and `moved` how much of that the ledger has in its window already; `hold` is what it has
    paid ahead.
    """

    ref: str
    trunk: str
    scopes: tuple[Scope, ...]
    epoch: int
    reserved_age: float
    answered_age: float | None
    moved: int
    spent: int
    hold: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Adopted:
    """A call whose lease is the caller's from now on, under a new `epoch`, which fences who had it before;
    0: it lives where it is, and cannot be taken from there.

    `reserved_age` and `answered_age` are seconds by the ledger's clock. `spent + hold` is what is paid in
    all. `state` is what its owner last left for others under `version`, empty when that was nothing.
    """

    ref: str
    trunk: str
    epoch: int
    reserved_age: float
    answered_age: float | None
    spent: int
    hold: int
    version: int
    state: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """What the auditor put right at a scope: `what` is `calls`, `reserved` or `window`; it was `found`,
    and is `corrected` now."""

    scope_id: str
    what: str
    found: int
    corrected: int


Concerns = Callable[[str], bool]
"""Whether the call of this ref lies in the part of the ledger that is spoken of."""


def everything(_: str) -> bool:
    """The part is the whole."""
    return True


Restore = Callable[[bool, Concerns], Awaitable[None]]
"""Tells the ledger every live call of this instance that lies in the part that was lost. True: what it had
moved is in the window all the same. Raises LedgerUnavailable."""


@dataclass(frozen=True, slots=True)
class ScopeUsage:
    """What one scope holds now. Amounts in micro-units; `window_starts_at_ms` by the ledger's clock."""

    active_calls: int
    spent: int
    reserved: int
    window_starts_at_ms: int


@dataclass(frozen=True, slots=True)
class TryCounts:
    """What would be counted with one more attempt: within the last minute the tries at its callee (of earlier
    ones no more than the highest threshold) and the different callees of its group; the run of neighbouring
    numbers; the tries at its callee in each of its calling windows."""

    callee: int
    callees: int
    run: int
    in_windows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LiveCall:
    """A lease: `answered_ms` is None while it rings."""

    ref: str
    trunk: str
    owner: str
    reserved_ms: int
    answered_ms: int | None
    spent: int
    hold: int
    record: bytes


class Ledger(Protocol):
    """The verbs. Those that return nothing are behind the wire: they are queued, retried until they are known
    to be done or to be void, and never delay a SIP message."""

    @property
    def waiting(self) -> int:
        """How many commands behind the wire are not known to be done."""
        ...

    def ask(self, claim: Claim, done: Answered) -> None:
        """One round trip: calls-per-second, capacity and spend at all scopes together. `done` is called once,
        with what became of it; at once when the ledger is known to be away."""
        ...

    async def reserve(self, claim: Claim) -> Reservation | Refused:
        """`ask` for who can wait. Raises LedgerUnavailable."""
        ...

    def flush(self) -> None:
        """Send what was asked for now; left to itself, it leaves within milliseconds."""
        ...

    def answered(self, ref: str, at: float, *, epoch: int = 1, state: bytes = b"") -> None:
        """The call was answered at the monotonic time `at`; `state` as in `remember`."""
        ...

    def remember(self, ref: str, state: bytes, version: int, *, epoch: int = 1) -> None:
        """Keep what another instance needs to go on with the call: at most MOST_STATE bytes, which the ledger
        does not read. `version` begins at 1 and rises; an older one never replaces a newer one. Raises
        ValueError for a state that is too large."""
        ...

    def settle(
        self, ref: str, cost: int, scopes: tuple[Scope, ...] = (), *, epoch: int = 1, moved: int = 0
    ) -> None:
        """The call is over and cost `cost` in all: money left over returns, the place is free.

        A call that the ledger never had, or lost, is charged at `scopes`, less what is known to be `moved`.
        Whoever was fenced changes nothing.
        """
        ...

    def release(self, ref: str, *, epoch: int = 1) -> None:
        """The call never was: everything it holds returns."""
        ...

    async def register(self, registrations: Sequence[Registration]) -> list[str]:
        """Take live calls in, whatever the limits say, or put right what the ledger has of them. An outcome
        for each: `Renewed.GRANTED` or `Renewed.FENCED`. Raises LedgerUnavailable."""
        ...

    def on_loss(self, restore: Restore) -> None:
        """`restore` is called when the ledger may have lost data; calls are refused until it has returned."""
        ...

    async def lapsed(self, limit: int = 64) -> list[str]:
        """Answered calls with a state whose owner did not renew in time, while it could. Raises
        LedgerUnavailable."""
        ...

    async def adopt(self, refs: Sequence[str], *, force: bool = False) -> list[Adopted]:
        """Take over the leases of calls that lapsed; with `force` also of calls that another instance has.
        Those that are gone or not to be had are left out; by force no call is taken that rings or left no
        state, since nobody else could go on with it (epoch 0). Repeating it gives the same answer. Raises
        LedgerUnavailable."""
        ...

    async def audit(self, scopes: Sequence[Scope]) -> list[Discrepancy]:
        """Count places, holds and sums anew from what proves them, and correct them. Once a minute over all
        instances: nothing is done when another has just done it. Raises LedgerUnavailable."""
        ...

    async def renew(self, renewals: Sequence[Renewal]) -> list[str]:
        """Batched; an outcome of `Renewed` for each. Raises LedgerUnavailable."""
        ...

    async def usage(self, scopes: Sequence[Scope]) -> list[ScopeUsage]:
        """What the scopes hold. Raises LedgerUnavailable."""
        ...

    async def tries(self, tries: Tries) -> TryCounts:
        """What would be counted with this attempt; counts nothing. Raises LedgerUnavailable."""
        ...

    async def calls(self, limit: int = 1000) -> list[LiveCall]:
        """Live calls of all instances. Raises LedgerUnavailable."""
        ...

    async def leases(self) -> int:
        """How many live leases this instance holds. Raises LedgerUnavailable."""
        ...

    def append_records(self, stream: str, lines: Sequence[bytes]) -> None:
        """Add JSON lines to a bounded stream (`decisions` or `calls`), behind the wire; dropped and counted
        when the ledger stays away."""
        ...

    async def records(self, stream: str, limit: int) -> list[bytes]:
        """The newest `limit` lines of a stream, newest first. Raises LedgerUnavailable."""
        ...

    async def sweep(self) -> int:
        """Deal with leases that lapsed; how many there were. Raises LedgerUnavailable."""
        ...

    async def ping(self) -> None:
        """One round trip that proves the ledger answers. Raises LedgerUnavailable."""
        ...

    async def close(self) -> None:
        """Flush what is queued, within a bounded time, and disconnect."""
        ...
