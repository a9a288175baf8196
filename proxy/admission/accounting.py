"""Accounting: the places and the money of this instance's live calls, kept in step with the ledger.

A live call pays ahead in blocks. Its lease is renewed three times a lease; shortly before a block runs out
the next one is asked for, and when that does not fit (or the trunk has been blocked), the call ends when the
paid time is up.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable

from policy.compiled import OnLedgerUnavailable, OnThreshold, Trunk
from policy.rating.rate import Rate
from policy.reasons import ReasonCode
from proxy.admission.policy_store import PolicyStore
from proxy.call.session import CallSession
from proxy.ledger.ledger import Ledger, LedgerUnavailable, Renewal, Renewed

_log = logging.getLogger(__name__)

# A block is renewed this long before it runs out, so that a short outage of the ledger ends no call.
LEAD_SECONDS = 10.0
_RETRY_SECONDS = 1.0


class CallAccount:
    """What one live call has, in seconds since its answer and in micro-units.

    `paid_seconds` of talk are paid for by `committed` in all (spent and held together). `counted` is False
    for a call that was admitted while the ledger was away.
    """

    __slots__ = ("committed", "counted", "due", "frugal", "over_reason", "paid_seconds", "session")

    def __init__(self, session: CallSession, committed: int, paid_seconds: float, counted: bool) -> None:
        self.session = session
        self.committed = committed
        self.paid_seconds = paid_seconds
        self.counted = counted
        self.due = 0.0
        self.frugal = False
        self.over_reason: ReasonCode | None = None


def first_block(trunk: Trunk, rate: Rate | None) -> tuple[int, float]:
    """(money in micro-units, seconds) that a call holds before it is answered."""
    if rate is None:
        return 0, float(trunk.reserve_seconds)
    seconds = rate.billed_seconds(trunk.reserve_seconds * 1000)
    return rate.cost_of_seconds(seconds), float(seconds)


class Accounting:
    """All live calls of this instance. `hang_up(session, reason)` ends one."""

    def __init__(
        self,
        store: PolicyStore,
        ledger: Ledger,
        lease_seconds: float,
        hang_up: Callable[[CallSession, ReasonCode], None],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._interval = lease_seconds / 3
        self._hang_up = hang_up
        self._due: list[tuple[float, int, CallAccount]] = []
        self._sequence = 0
        self.live: dict[str, CallAccount] = {}
        self.uncounted: dict[str, int] = {}
        self._idle = asyncio.Event()

    async def idle(self) -> None:
        """Wait until no call of this instance lives."""
        while self.live:
            self._idle.clear()
            await self._idle.wait()

    def admitted(
        self, session: CallSession, hold: int, paid_seconds: float, counted: bool, now: float
    ) -> None:
        """The call holds its first block."""
        account = CallAccount(session, hold, paid_seconds, counted)
        session.account = account
        self.live[session.ref] = account
        if counted:
            self._schedule(account, now + self._interval)
        elif not session.verdict.emergency:
            name = _trunk_name(session)
            self.uncounted[name] = self.uncounted.get(name, 0) + 1

    def answered(self, session: CallSession, now: float) -> None:
        """The first block begins to be used."""
        account = session.account
        if isinstance(account, CallAccount) and session.answered_at is not None:
            if account.counted:
                self._ledger.answered(session.ref, session.answered_at)
            ahead = self._block_end(account) - _lead(account)
            self._schedule(account, min(account.due or now + self._interval, ahead))

    def ended(self, session: CallSession) -> int:
        """Settle or release; what the call cost, in micro-units."""
        account = session.account
        if not isinstance(account, CallAccount):
            return 0
        session.account = None
        self.live.pop(session.ref, None)
        if not self.live:
            self._idle.set()
        cost = self._cost(account)
        if not account.counted:
            if not session.verdict.emergency:
                self.uncounted[_trunk_name(session)] -= 1
        elif session.answered_at is None:
            self._ledger.release(session.ref)
        else:
            self._ledger.settle(session.ref, cost)
        return cost

    async def renew_due(self, now: float) -> None:
        """Renew what is due: leases, and blocks that run out. Called a few times a second."""
        batch: list[tuple[CallAccount, float]] = []
        renewals: list[Renewal] = []
        while self._due and self._due[0][0] <= now:
            due, _, account = heapq.heappop(self._due)
            session = account.session
            if due != account.due or session.account is not account:
                continue
            if self._out_of_time(account, now):
                continue
            renewal, paid = self._renewal(account, now)
            if account.counted:
                batch.append((account, paid))
                renewals.append(renewal)
            else:
                self._granted(account, paid, renewal, now)
        if not renewals:
            return
        try:
            outcomes = await self._ledger.renew(renewals)
        except LedgerUnavailable:
            for account, _ in batch:
                self._schedule(account, min(now + _RETRY_SECONDS, self._next_end(account, now)))
            return
        for (account, paid), renewal, outcome in zip(batch, renewals, outcomes, strict=True):
            self._renewed(account, paid, renewal, outcome, now)

    # --- one call -------------------------------------------------------------------------------------------

    def _renewal(self, account: CallAccount, now: float) -> tuple[Renewal, float]:
        """What to ask the ledger for, and the seconds that are paid when it grants that."""
        session = account.session
        trunk = self._trunk_in_force(account)
        scopes = session.verdict.trunk.scopes if session.verdict.trunk is not None else ()
        if trunk is not None:
            scopes = trunk.scopes
        rate = session.verdict.rate
        spent = self._spent(account, now)
        paid = account.paid_seconds
        total = account.committed
        if account.over_reason is None and self._block_runs_out(account, now):
            paid = self._next_block(account, trunk)
            if rate is not None:
                total = rate.cost_of_seconds(int(paid))
        return Renewal(session.ref, spent, max(total - spent, 0), scopes), paid

    def _renewed(self, account: CallAccount, paid: float, renewal: Renewal, outcome: str, now: float) -> None:
        if account.session.account is not account:
            return  # ended while the ledger answered
        if outcome == Renewed.GRANTED:
            self._granted(account, paid, renewal, now)
            return
        if outcome == Renewed.GONE:
            _log.error("the ledger lost call %s: it goes on uncounted", account.session.ref)
            account.counted = False
            name = _trunk_name(account.session)
            self.uncounted[name] = self.uncounted.get(name, 0) + 1
        else:
            account.frugal = True
        self._schedule(account, min(now + _RETRY_SECONDS, self._next_end(account, now)))

    def _granted(self, account: CallAccount, paid: float, renewal: Renewal, now: float) -> None:
        account.frugal = False
        account.paid_seconds = paid
        account.committed = max(renewal.spent + renewal.hold, account.committed)
        self._schedule(account, min(now + self._interval, self._next_end(account, now)))

    def _out_of_time(self, account: CallAccount, now: float) -> bool:
        """End the call when its paid time is up and nothing more could be paid."""
        if account.session.answered_at is None or now < self._block_end(account):
            return False
        trunk = self._trunk_in_force(account)
        if trunk is None:
            account.over_reason = ReasonCode.DISABLED
        elif account.counted and account.session.verdict.rate is not None:
            if trunk.on_threshold is OnThreshold.FINISH:
                return False
            if not account.frugal and trunk.on_ledger_unavailable is OnLedgerUnavailable.ADMIT:
                return False
            account.over_reason = ReasonCode.SPEND if account.frugal else ReasonCode.LEDGER
        else:
            return False
        self._hang_up(account.session, account.over_reason)
        # Should the far end refuse the BYE, the call lives on: look again.
        self._schedule(account, now + self._interval)
        return True

    def _trunk_in_force(self, account: CallAccount) -> Trunk | None:
        """The call's trunk as the policy now has it; None when it is gone or switched off."""
        verdict = account.session.verdict
        if verdict.emergency:
            return verdict.trunk
        trunk = self._store.policy.trunks.get(_trunk_name(account.session))
        return None if trunk is None or trunk.disabled_by is not None else trunk

    def _next_block(self, account: CallAccount, trunk: Trunk | None) -> float:
        """The end of the next block: a whole one, or the smallest when money is short. None for a blocked
        trunk."""
        if trunk is None:
            return account.paid_seconds
        rate = account.session.verdict.rate
        ahead = 1 if account.frugal else trunk.reserve_seconds
        end = account.paid_seconds + ahead
        return float(end) if rate is None else float(rate.billed_seconds(int(end) * 1000))

    def _block_runs_out(self, account: CallAccount, now: float) -> bool:
        return account.session.answered_at is not None and now >= self._block_end(account) - _lead(account)

    def _block_end(self, account: CallAccount) -> float:
        return (account.session.answered_at or 0.0) + account.paid_seconds

    def _next_end(self, account: CallAccount, now: float) -> float:
        """When the call is to be looked at for its block: ahead of its end, or at its end."""
        if account.session.answered_at is None:
            return now + self._interval
        end = self._block_end(account)
        early = end - _lead(account)
        return early if early > now else max(end, now)

    def _spent(self, account: CallAccount, now: float) -> int:
        session = account.session
        rate = session.verdict.rate
        if rate is None or session.answered_at is None:
            return 0
        return min(rate.cost(int((now - session.answered_at) * 1000)), max(account.committed, 0))

    def _cost(self, account: CallAccount) -> int:
        session = account.session
        rate = session.verdict.rate
        if rate is None or session.answered_at is None:
            return 0
        end = session.ended_at if session.ended_at is not None else session.answered_at
        cost = rate.cost(round((end - session.answered_at) * 1000))
        # A call that was ended because its paid time was up pays that time, not the moment the BYE took.
        return min(cost, account.committed) if account.over_reason is not None else cost

    def _schedule(self, account: CallAccount, at: float) -> None:
        account.due = at
        self._sequence += 1
        heapq.heappush(self._due, (at, self._sequence, account))


def _lead(account: CallAccount) -> float:
    trunk = account.session.verdict.trunk
    block = trunk.reserve_seconds if trunk is not None else account.paid_seconds
    return min(LEAD_SECONDS, block / 2)


def _trunk_name(session: CallSession) -> str:
    return session.verdict.trunk.name if session.verdict.trunk is not None else ""
