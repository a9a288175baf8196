"""Accounting: the places and the money of this instance's live calls, kept in step with the ledger.

A live call pays ahead in blocks. Its lease is renewed three times a lease; shortly before a block runs out
the next one is asked for. When that does not fit the smallest one is, again and again, and when the paid time
is up and nothing more was to be had (or the trunk has been blocked), the call ends.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable

from policy.compiled import OnLedgerUnavailable, OnThreshold, Trunk
from policy.reasons import ReasonCode
from proxy.admission.account import CallAccount, scopes_of, trunk_name
from proxy.admission.policy_store import PolicyStore
from proxy.call.memory import remember
from proxy.call.session import CallSession
from proxy.ledger.ledger import Adopted, Concerns, Ledger, LedgerUnavailable, Renewal, Renewed
from proxy.ledger.redis_ledger import MOST_STATE

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_SOON_SECONDS = 0.05
_RESTORED_AT_ONCE = 256


class Accounting:
    """All live calls of this instance, by ref. `hang_up(session, reason)` ends one; `fenced(session)` is told
    of one that another instance has taken over or ended: nothing more of it is counted or charged here.

    `uncounted` says for each trunk how many of its calls the ledger does not count, emergency calls left out.
    `changes` counts how often a call came or went. `short(trunk, micro-units)` is told what a live call
    wanted and could not have.
    """

    def __init__(
        self,
        store: PolicyStore,
        ledger: Ledger,
        lease_seconds: float,
        hang_up: Callable[[CallSession, ReasonCode], None],
        fenced: Callable[[CallSession], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._interval = lease_seconds / 3
        self._hang_up = hang_up
        self._fenced = fenced
        self._clock = clock or asyncio.get_running_loop().time
        # By ref, so that what is over is not kept until its entry comes up.
        self._due: list[tuple[float, int, str]] = []
        self._entries = 0
        self.live: dict[str, CallAccount] = {}
        self.uncounted: dict[str, int] = {}
        self.changes = 0
        self.short: Callable[[str, int], None] = lambda trunk, wanted: None
        self._idle = asyncio.Event()
        ledger.on_loss(self.restore)

    @property
    def to_be_leased(self) -> int:
        """How many live calls the ledger should hold a lease for: all but emergency calls of which it has not
        been told."""
        return sum(account.counted or not account.session.verdict.emergency for account in self.live.values())

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
        self.changes += 1
        session.account = account
        self.live[session.ref] = account
        if counted:
            self._schedule(account, now + self._interval)
        elif not session.verdict.emergency:
            self._count_here(session, 1)
            self._schedule(account, now + _RETRY_SECONDS)

    def answered(self, session: CallSession, now: float) -> None:
        """The first block begins to be used."""
        account = session.account
        if isinstance(account, CallAccount) and session.answered_at is not None:
            if account.counted:
                state = _state(session, now)
                self._ledger.answered(session.ref, session.answered_at, epoch=account.epoch, state=state)
            # An emergency call waits for no ledger; from now on another instance could go on with it.
            untold = session.verdict.emergency and not account.counted
            at = now if untold else self._next_look(account, now)
            if account.entry == 0 or at < account.due:
                self._schedule(account, at)

    def changed(self, session: CallSession, now: float) -> None:
        """What another instance would need to know of the answered call has changed."""
        account = session.account
        if isinstance(account, CallAccount) and account.counted:
            account.version += 1
            state = _state(session, now)
            self._ledger.remember(session.ref, state, account.version, epoch=account.epoch)

    def ended(self, session: CallSession) -> int:
        """Settle or release; what the call cost, in micro-units."""
        account = session.account
        if not isinstance(account, CallAccount):
            return 0
        self._end_at_paid_time(account)
        self.changes += 1
        session.account = None
        self.live.pop(session.ref, None)
        if not self.live:
            self._idle.set()
        cost = 0
        if session.answered_at is not None and session.ended_at is not None:
            cost = account.cost(session.ended_at)
        if not account.counted:
            self._count_here(session, -1)
        if session.answered_at is not None:
            scopes = scopes_of(session, session.verdict.trunk)
            self._ledger.settle(session.ref, cost, scopes, epoch=account.epoch, moved=account.moved)
        elif not session.verdict.emergency:
            self._ledger.release(session.ref, epoch=account.epoch)
        return cost

    def adopted(self, session: CallSession, call: Adopted, now: float) -> None:
        """Go on counting and charging a call that another instance began: `session.verdict` carries its trunk
        and rate, `session.answered_at` when it was answered."""
        rate = session.verdict.rate
        committed = call.spent + call.hold
        paid = None if rate is None else rate.paid_seconds(committed)
        if paid is None:  # costs nothing, however long it lasts
            paid = int(max(0.0, now - (session.answered_at or now)))
        account = CallAccount(session, committed, float(paid), True)
        account.epoch, account.moved, account.version = call.epoch, call.spent, call.version
        self.changes += 1
        session.account = account
        self.live[session.ref] = account
        self._schedule(account, now)

    async def restore(self, remembered: bool, concerns: Concerns) -> None:
        """Tell the ledger the live calls that it may have lost. When what they cost is `remembered`, its
        window still has all that it was told. Raises LedgerUnavailable."""
        now = self._clock()
        accounts = [
            one
            for one in self.live.values()
            if (one.counted or not one.session.verdict.emergency) and concerns(one.session.ref)
        ]
        for at in range(0, len(accounts), _RESTORED_AT_ONCE):
            some = accounts[at : at + _RESTORED_AT_ONCE]
            told = [one.registration(one.moved if remembered else 0, now) for one in some]
            outcomes = await self._ledger.register(told)
            for account, outcome in zip(some, outcomes, strict=True):
                if outcome == Renewed.AWAY:
                    raise LedgerUnavailable("connection", "a part of the ledger is away")
                self._registered(account, outcome, now)

    async def renew_due(self, now: float) -> None:
        """Renew what is due: leases, and blocks that run out. Called a few times a second."""
        batch: list[tuple[CallAccount, float, Renewal]] = []
        unknown: list[tuple[CallAccount, float, Renewal]] = []
        while self._due and self._due[0][0] <= now:
            _, entry, ref = heapq.heappop(self._due)
            account = self.live.get(ref)
            if account is None or entry != account.entry:
                continue
            account.entry = 0
            self._check_paid_time(account, now)
            if ref not in self.live:
                continue
            renewal, paid = self._renewal(account, now)
            if account.counted:
                batch.append((account, paid, renewal))
            else:
                unknown.append((account, paid, renewal))
        if unknown:
            await self._register(unknown, now)
        if batch:
            outcomes = await self._ask([renewal for _, _, renewal in batch])
            for (account, paid, renewal), outcome in zip(batch, outcomes, strict=True):
                if account.session.account is account:  # else it ended while the ledger answered
                    self._renewed(account, paid, renewal, outcome, now)

    async def _ask(self, renewals: list[Renewal]) -> list[str]:
        try:
            return await self._ledger.renew(renewals)
        except LedgerUnavailable:
            pass
        except Exception:  # a call whose renewal was dropped would never be looked at again
            _log.exception("renewals failed")
        return [Renewed.AWAY] * len(renewals)

    async def _register(self, unknown: list[tuple[CallAccount, float, Renewal]], now: float) -> None:
        """Take calls into the ledger that it does not know; while that cannot be, they go on as their trunk
        has it."""
        try:
            told = [account.registration(account.moved, now) for account, _, _ in unknown]
            outcomes = await self._ledger.register(told)
        except LedgerUnavailable:
            outcomes = [Renewed.AWAY] * len(unknown)
        except Exception:
            _log.exception("calls could not be registered")
            outcomes = [Renewed.AWAY] * len(unknown)
        for (account, paid, renewal), outcome in zip(unknown, outcomes, strict=True):
            if outcome != Renewed.AWAY:
                self._registered(account, outcome, now)
            elif account.session.account is not account:
                continue
            elif account.lost:
                self._schedule(account, min(self._next_look(account, now), now + _RETRY_SECONDS))
            else:
                self._granted(account, paid, renewal, now)
                self._schedule(account, min(account.due, now + _RETRY_SECONDS))

    def _registered(self, account: CallAccount, outcome: str, now: float) -> None:
        if account.session.account is not account:
            return  # it ended meanwhile, and what it cost is on its way
        if outcome == Renewed.FENCED:
            self._drop(account)
            return
        if not account.counted:
            account.counted = True
            self.changes += 1
            self._count_here(account.session, -1)
        account.lost = False
        if account.denied is ReasonCode.LEDGER:
            account.denied = None
        if account.session.answered_at is not None:
            self.changed(account.session, now)  # what was left for others is lost as well, or never was there
        self._schedule(account, min(self._next_look(account, now), now + _SOON_SECONDS))

    def _drop(self, account: CallAccount) -> None:
        """Somebody else counts this call, or ended it."""
        session = account.session
        _log.warning("a call is no longer ours", extra={"ref": session.ref})
        if not account.counted:
            self._count_here(session, -1)
        self.changes += 1
        session.account = None
        self.live.pop(session.ref, None)
        if not self.live:
            self._idle.set()
        self._fenced(session)

    # --- one call -------------------------------------------------------------------------------------------

    def _renewal(self, account: CallAccount, now: float) -> tuple[Renewal, float]:
        """What to ask the ledger for, and the seconds that are paid when it grants that."""
        session = account.session
        verdict = session.verdict
        in_force = self._trunk_in_force(account)
        trunk = in_force or verdict.trunk
        spent = account.spent(now)
        paid, total = account.paid_seconds, account.committed
        if in_force is not None and account.cut is None and account.runs_out(now):
            paid = account.next_block(in_force, now)
            if verdict.rate is not None:
                total = verdict.rate.cost_of_seconds(int(paid))
        scopes = scopes_of(session, trunk)
        return Renewal(session.ref, spent, max(total - spent, 0), scopes, account.epoch), paid

    def _renewed(self, account: CallAccount, paid: float, renewal: Renewal, outcome: str, now: float) -> None:
        if outcome in (Renewed.GRANTED, Renewed.NO_FUNDS):
            account.moved = max(account.moved, renewal.spent)
        if outcome == Renewed.GRANTED:
            self._granted(account, paid, renewal, now)
            return
        if outcome == Renewed.FENCED:
            self._drop(account)
            return
        at = self._next_look(account, now)
        if outcome == Renewed.NO_FUNDS:
            if account.denied is not ReasonCode.SPEND:
                at = now + _SOON_SECONDS  # ask for the smallest block now
            elif account.session.verdict.trunk is not None:
                wanted = renewal.spent + renewal.hold - account.committed
                self.short(account.session.verdict.trunk.name, wanted)
            account.denied = ReasonCode.SPEND
        else:
            account.denied = ReasonCode.LEDGER
            at = min(self._next_look(account, now), now + _RETRY_SECONDS)
            if outcome == Renewed.GONE:
                _log.error("the ledger lost a call: registering it", extra={"ref": account.session.ref})
                account.lost, account.counted = True, False
                self._count_here(account.session, 1)
                at = now + _SOON_SECONDS  # first it is seen whether more than this one was lost
        self._schedule(account, at)

    def _granted(self, account: CallAccount, paid: float, renewal: Renewal, now: float) -> None:
        if paid > account.paid_seconds:
            account.paid_seconds = paid
            account.committed = max(renewal.spent + renewal.hold, account.committed)
            account.denied = None
        elif account.denied is ReasonCode.LEDGER:
            account.denied = None  # it answers again
        self._schedule(account, self._next_look(account, now))

    def _check_paid_time(self, account: CallAccount, now: float) -> None:
        """End the call when its paid time is up and nothing more is to be had; where it may go on
        nevertheless, it owes what it used."""
        session = account.session
        if account.cut is not None:
            if session.survivals == account.cut:
                return  # the BYE is under way
            # The far end refused it: the call lives, and is charged for as long as it does.
            account.cut = None
            account.use_unpaid(now)
        reason = self._overdue(account, now)
        if reason is not None:
            self._hang_up(session, reason)
            account.cut = session.survivals
        elif account.denied is not None and session.answered_at is not None:
            account.use_unpaid(now)

    def _overdue(self, account: CallAccount, now: float) -> ReasonCode | None:
        """Why the call may not go on at `now`, or None."""
        session = account.session
        if session.answered_at is None or session.verdict.emergency or now < account.block_end:
            return None
        trunk = self._trunk_in_force(account)
        if trunk is None:
            return ReasonCode.DISABLED
        if session.verdict.rate is None or trunk.on_threshold is OnThreshold.FINISH:
            return None
        if all(scope.threshold is None for scope in scopes_of(session, trunk)):
            return None
        if account.denied is ReasonCode.LEDGER and trunk.on_ledger_unavailable is OnLedgerUnavailable.ADMIT:
            return None
        return account.denied

    def _end_at_paid_time(self, account: CallAccount) -> None:
        """A call that was to end when its paid time was up ends then, for charging: what its BYE took, and
        how late we were, is not the caller's."""
        session = account.session
        if session.ended_at is None or session.answered_at is None:
            return
        was_cut = session.survivals == account.cut
        if was_cut or (account.cut is None and self._overdue(account, session.ended_at) is not None):
            session.ended_at = min(session.ended_at, account.block_end)

    def _trunk_in_force(self, account: CallAccount) -> Trunk | None:
        """The call's trunk as the policy now has it; None when it is gone or switched off."""
        verdict = account.session.verdict
        if verdict.emergency:
            return verdict.trunk
        trunk = self._store.policy.trunks.get(trunk_name(account.session))
        return None if trunk is None or trunk.disabled_by is not None else trunk

    def _next_look(self, account: CallAccount, now: float) -> float:
        """When the call is due again: for its lease, ahead of the end of its block, or at that end."""
        at = now + self._interval
        if account.session.answered_at is None or account.cut is not None:
            return at
        end = account.block_end
        ahead = end - account.lead
        if ahead > now:
            return min(at, ahead)
        if account.denied is None and self._trunk_in_force(account) is not None:
            return min(at, now + _SOON_SECONDS)
        return min(at, now + _RETRY_SECONDS, end if end > now else at)

    def _schedule(self, account: CallAccount, at: float) -> None:
        self._entries += 1
        account.due = at
        account.entry = self._entries
        heapq.heappush(self._due, (at, self._entries, account.session.ref))

    def _count_here(self, session: CallSession, change: int) -> None:
        if not session.verdict.emergency:
            name = trunk_name(session)
            self.uncounted[name] = self.uncounted.get(name, 0) + change


def _state(session: CallSession, now: float) -> bytes:
    """What another instance needs to go on with the call; nothing when it is too large to be kept."""
    state = remember(session, now)
    return state if len(state) <= MOST_STATE else b""
