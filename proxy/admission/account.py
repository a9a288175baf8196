"""One live call's account: what it has paid for, what it costs, and when its block runs out. No I/O."""

from __future__ import annotations

from policy.compiled import Scope, Trunk
from policy.rating.rate import Rate
from policy.reasons import ReasonCode
from proxy.admission.description import description
from proxy.call.session import CallSession
from proxy.ledger.ledger import Registration

# A block is renewed this long before it runs out, so that a short outage of the ledger ends no call.
LEAD_SECONDS = 10.0


class CallAccount:
    """What one live call has, in seconds since its answer and in micro-units.

    `paid_seconds` of talk are paid for by `committed` in all (spent and held together); of that the ledger is
    known to have `moved` so much into its window. `epoch` is that of the lease, `version` that of the state
    which is left there for others. `counted` is False for a call of which the ledger knows nothing: an
    emergency call that is not answered yet, one that was admitted while the ledger was away, or one that the
    ledger `lost`; they are registered as soon as that is possible. `denied`
    says why there was no further block when one was last asked for: SPEND or LEDGER. `cut` is set
    when the call was ended because its paid time was up: to the hang-ups that it had survived by then.
    """

    __slots__ = (
        "committed",
        "counted",
        "cut",
        "denied",
        "due",
        "entry",
        "epoch",
        "lost",
        "moved",
        "paid_seconds",
        "session",
        "version",
    )

    def __init__(self, session: CallSession, committed: int, paid_seconds: float, counted: bool) -> None:
        self.session = session
        self.committed = committed
        self.paid_seconds = paid_seconds
        self.counted = counted
        self.due = 0.0
        self.entry = 0
        self.epoch = 1
        self.moved = 0
        self.version = 0
        self.lost = False
        self.denied: ReasonCode | None = None
        self.cut: int | None = None

    @property
    def block_end(self) -> float:
        """When the paid time is up, in monotonic seconds; before the answer that says nothing."""
        return (self.session.answered_at or 0.0) + self.paid_seconds

    @property
    def lead(self) -> float:
        """How many seconds before that the next block is asked for."""
        trunk = self.session.verdict.trunk
        block = trunk.reserve_seconds if trunk is not None else self.paid_seconds
        return min(LEAD_SECONDS, block / 2)

    def runs_out(self, now: float) -> bool:
        """Whether it is time for the next block."""
        return self.session.answered_at is not None and now >= self.block_end - self.lead

    def cost(self, until: float) -> int:
        """What the call costs when it lasts until the monotonic time `until`; nothing before its answer."""
        session = self.session
        rate = session.verdict.rate
        if rate is None or session.answered_at is None:
            return 0
        return rate.cost(round((until - session.answered_at) * 1000))

    def spent(self, now: float) -> int:
        """What the call has cost by `now`, as far as that is sure: a BYE under way ends it, when that is
        accepted, as of its arrival, and what came into the window does not leave it again."""
        bye_at = self.session.bye_at
        return max(self.moved, min(self.cost(now if bye_at is None else min(now, bye_at)), self.committed))

    def next_block(self, trunk: Trunk, now: float) -> float:
        """The end of the next block, in seconds since the answer: a whole one, or the smallest when money is
        short."""
        rate = self.session.verdict.rate
        used = now - (self.session.answered_at or now)
        ahead = 1 if self.denied is ReasonCode.SPEND else trunk.reserve_seconds
        end = max(self.paid_seconds, used) + ahead
        return end if rate is None else float(rate.billed_seconds(int(end * 1000)))

    def use_unpaid(self, now: float) -> None:
        """The call went on past its paid time: it owes what it used."""
        if now > self.block_end:
            self.paid_seconds = now - (self.session.answered_at or now)
            self.committed = max(self.committed, self.cost(now))

    def registration(self, moved: int, now: float) -> Registration:
        """The call as it is told to a ledger that does not know it, which had `moved` so much of its cost."""
        session = self.session
        spent, answered_age = 0, None
        if session.answered_at is not None:
            spent, answered_age = self.spent(now), now - session.answered_at
        return Registration(
            session.ref,
            trunk_name(session),
            scopes_of(session, session.verdict.trunk),
            self.epoch,
            now - session.received_at,
            answered_age,
            moved,
            spent,
            self.committed - spent,
            description(session),
        )


def first_block(trunk: Trunk, rate: Rate | None) -> tuple[int, float]:
    """(money in micro-units, seconds) that a call holds before it is answered."""
    if rate is None:
        return 0, float(trunk.reserve_seconds)
    seconds = rate.billed_seconds(trunk.reserve_seconds * 1000)
    return rate.cost_of_seconds(seconds), float(seconds)


def least_block(trunk: Trunk, rate: Rate | None) -> tuple[int, float]:
    """What a call holds at least before it is answered, when money is short: one billing increment."""
    if rate is None:
        return first_block(trunk, rate)
    seconds = rate.initial_increment
    return rate.cost_of_seconds(seconds), float(seconds)


def scopes_of(session: CallSession, trunk: Trunk | None) -> tuple[Scope, ...]:
    """Where the call is counted by what `trunk`, its own as it was or as it now is, says: an emergency call
    nowhere, though it has a lease."""
    if trunk is None or session.verdict.emergency:
        return ()
    return trunk.scopes_of(session.verdict.called, session.verdict.country)


def trunk_name(session: CallSession) -> str:
    """The name of the call's trunk; empty for one that has none any more."""
    return session.verdict.trunk.name if session.verdict.trunk is not None else ""
