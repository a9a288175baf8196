"""Housekeeping: what an instance does beside the calls, at its own pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from policy.compiled import Scope
from proxy.admission.accounting import Accounting
from proxy.admission.decision_log import DecisionLog
from proxy.admission.policy_store import PolicyStore
from proxy.ledger.ledger import Ledger, LedgerUnavailable
from proxy.observe.clock import utc_now
from proxy.observe.loop_lag import watch_loop_lag
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import TaskKeeper
from proxy.routing.resolver import Resolver

_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.1
_LEDGER_SECONDS = 1.0
_DRIFT_SECONDS = 10.0
_AUDIT_SECONDS = 60.0
_NAMES_SECONDS = 1.0
_PRICES_SECONDS = 1.0
_PRICES_AT_ONCE = 1000  # about a millisecond


class Housekeeping:
    """Renewals and records ten times a second; usage, liveness, lapsed leases, dated prices and names whose
    time is over once a second; drift and audit now and then."""

    def __init__(
        self,
        store: PolicyStore,
        ledger: Ledger,
        accounting: Accounting,
        adopt: Callable[[], Awaitable[object]],
        log: DecisionLog,
        metrics: Metrics,
        resolver: Resolver,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._accounting = accounting
        self._adopt_lapsed = adopt
        self._log = log
        self._metrics = metrics
        self._resolver = resolver
        self.ledger_answers = True

    def start(self, keeper: TaskKeeper) -> None:
        """Run until the keeper stops."""
        keeper.start(self._tick(), name="renewals and records")
        keeper.start(watch_loop_lag(self._metrics), name="loop lag")
        keeper.start(self._every(_LEDGER_SECONDS, self._watch_ledger), name="ledger watch")
        keeper.start(self._every(_LEDGER_SECONDS, self._adopt), name="calls left behind")
        keeper.start(self._every(_DRIFT_SECONDS, self._compare_leases), name="ledger drift")
        keeper.start(self._every(_AUDIT_SECONDS, self._audit), name="ledger audit")
        keeper.start(self._every(_NAMES_SECONDS, self._resolve), name="provider addresses")
        keeper.start(self._every(_PRICES_SECONDS, self._switch_prices), name="dated prices")

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                self._log.flush()
                await self._accounting.renew_due(loop.time())
            except Exception:  # without renewals every live call would lapse
                _log.exception("renewals and records failed; they go on")

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                _log.exception("%s failed; it goes on", work.__name__)
            await asyncio.sleep(seconds)

    async def _adopt(self) -> None:
        with suppress(LedgerUnavailable):
            await self._adopt_lapsed()

    async def _watch_ledger(self) -> None:
        scopes = self._scopes()
        answers = False
        try:
            await self._ledger.sweep()
            usages = await self._ledger.usage(scopes)
            answers = True
        except LedgerUnavailable:
            return
        finally:
            self.ledger_answers = answers
        for scope, usage in zip(scopes, usages, strict=True):
            if scope.kind == "trunk":
                self._metrics.usage(scope.name, usage.spent, usage.reserved)

    def _scopes(self) -> list[Scope]:
        """Every scope of the policy in force, once."""
        trunks = self._store.policy.trunks.values()
        return list({scope.id: scope for trunk in trunks for scope in trunk.all_scopes}.values())

    async def _audit(self) -> None:
        """Once a minute over all instances: the ledger's numbers against what proves them."""
        try:
            found = await self._ledger.audit(self._scopes())
        except LedgerUnavailable:
            return
        for one in found:
            _log.error(
                "the ledger was wrong and has been put right",
                extra={"scope": one.scope_id, "what": one.what, "was": one.found, "is": one.corrected},
            )

    async def _compare_leases(self) -> None:
        """Leases of this instance minus its live calls. What came, went or was on its way meanwhile is no
        drift: a difference that it explains counts as none."""
        accounting = self._accounting
        changes, under_way = accounting.changes, self._ledger.waiting
        try:
            leases = await self._ledger.leases()
        except LedgerUnavailable:
            return
        difference = leases - accounting.to_be_leased
        explained = accounting.changes - changes + under_way
        self._metrics.ledger_drift = 0 if abs(difference) <= explained else difference

    async def _switch_prices(self) -> None:
        """Bring dated prices into force, a part of them at a time: calls go on meanwhile."""
        left = True
        while left:
            left = self._store.policy.prices_at(utc_now(), _PRICES_AT_ONCE)
            await asyncio.sleep(0)

    async def _resolve(self) -> None:
        policy = self._store.policy
        await self._resolver.refresh_due(policy.providers.values())
        self.show_providers()

    def show_providers(self) -> None:
        """Say in the metrics which providers of the policy in force can be called."""
        for provider in self._store.policy.providers.values():
            up = provider.active and bool(self._resolver.hops(provider))
            self._metrics.provider_up[provider.name] = up
