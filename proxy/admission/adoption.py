"""Adoption: going on with calls whose instance died, or whose requests have come here instead."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from proxy.admission.accounting import Accounting
from proxy.admission.policy_store import PolicyStore
from proxy.call.core import ProxyCore
from proxy.call.memory import Forgotten, Terms, recall
from proxy.call.session import CallSession
from proxy.ledger.ledger import Adopted, Ledger, LedgerUnavailable
from proxy.observe.metrics import Metrics

_log = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.1
_AT_ONCE = 64  # calls that are adopted without a turn for others
_PORTIONS = 2  # of them each time


class Adoption:
    """Takes calls over from other instances, by what they left in the ledger: from then on they are counted,
    charged, probed and ended here. `tokens_of` gives the two tokens of a ref; `clock` is monotonic seconds;
    `pump` is told when there is something to send."""

    def __init__(
        self,
        core: ProxyCore,
        store: PolicyStore,
        ledger: Ledger,
        accounting: Accounting,
        metrics: Metrics,
        tokens_of: Callable[[str], tuple[bytes, bytes]],
        lease_seconds: float,
        clock: Callable[[], float],
        pump: Callable[[float], None],
    ) -> None:
        self._core = core
        self._store = store
        self._ledger = ledger
        self._accounting = accounting
        self._metrics = metrics
        self._tokens_of = tokens_of
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._pump = pump

    async def adopt_lapsed(self) -> int:
        """Take over calls that nobody renews, some at a time, and probe each at once; how many. Raises
        LedgerUnavailable."""
        adopted = 0
        for _ in range(_PORTIONS):
            refs = await self._ledger.lapsed(_AT_ONCE)
            if refs:
                adopted += self._resume(await self._ledger.adopt(refs))
            if len(refs) < _AT_ONCE:
                break
        return adopted

    def _resume(self, calls: Sequence[Adopted]) -> int:
        now = self._clock()
        taken = [session for call in calls if (session := self._take(call, now)) is not None]
        for session in taken:
            self._core.resume(session, now, now)
        if taken:
            _log.warning("calls adopted: their instance is gone", extra={"calls": len(taken)})
            self._pump(now)
        return len(taken)

    async def fetch(self, ref: str) -> None:
        """Take over one call whose request has come here, and let the request go on; when there is no such
        call, or it cannot be had, or the ledger does not answer, it is answered."""
        calls: Sequence[Adopted] = ()
        known = True
        try:
            calls = await self._ledger.adopt([ref], force=True)
        except LedgerUnavailable:
            known = False
        now = self._clock()
        for call in calls:
            if call.epoch == 0:
                known = False
                continue
            session = self._take(call, now)
            if session is not None:
                # Who had it may have ended it before it learned that it has it no more.
                self._core.resume(session, now + self._lease_seconds, now)
                # Whoever carries a call to and fro between instances pays at each of them at once, or is cut
                # off: it is renewed, and where that was refused it is looked at again.
                await self._accounting.renew_due(now)
                await self._accounting.renew_due(now + _AGAIN_SECONDS)
                now = self._clock()
        self._core.fetched(ref, known, now)
        self._pump(now)

    def _take(self, call: Adopted, now: float) -> CallSession | None:
        """The call, made again and accounted for; one that cannot be made again is settled with what it has
        paid for."""
        if call.ref in self._core.sessions:
            return None
        if call.answered_age is None:
            self._ledger.release(call.ref, epoch=call.epoch)
            return None
        try:
            session = recall(
                self._core,
                call.ref,
                self._tokens_of(call.ref),
                call.state,
                now - call.answered_age,
                self._terms,
                now,
            )
        except Forgotten as error:
            _log.error("a call could not be adopted: %s", error, extra={"ref": call.ref})
            self._ledger.settle(call.ref, call.spent + call.hold, epoch=call.epoch)
            return None
        session.received_at = now - call.reserved_age
        self._accounting.adopted(session, call, now)
        self._metrics.call_started(call.trunk)
        return session

    def _terms(self, trunk: str | None, provider: str | None) -> Terms:
        policy = self._store.policy
        return Terms(policy.trunks.get(trunk or ""), policy.providers.get(provider or ""))
