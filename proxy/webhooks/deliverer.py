"""Deliverer: takes what is due from the queue and tells it, some at a time, at most a few to one endpoint."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from proxy.ledger.hook_queue import Delivery, HookQueue
from proxy.ledger.ledger import LedgerUnavailable
from proxy.observe.clock import now_ms, utc_now
from proxy.observe.logs import Sampler
from proxy.observe.tasks import TaskKeeper
from proxy.webhooks.counts import Counts
from proxy.webhooks.messages import request_of
from proxy.webhooks.outcome import Outcome
from proxy.webhooks.settings import HookSettings, Recipient

if TYPE_CHECKING:
    from proxy.webhooks.sender import Sender

_log = logging.getLogger(__name__)

AT_ONCE: Final = 16
AT_ONCE_EACH: Final = 2
LEASE_EXTRA: Final = 5.0
"""Seconds beyond the timeout of a try, after which somebody else may take it up."""

_UNKNOWN_SECONDS: Final = 60


class Deliverer:
    """Delivers by `settings` and `sender`, which may be put in place of others at any time."""

    def __init__(self, queue: HookQueue, keeper: TaskKeeper, counts: Counts) -> None:
        self._queue = queue
        self._keeper = keeper
        self._counts = counts
        self._under_way: Counter[str] = Counter()
        self._sampler = Sampler()
        self.settings: HookSettings | None = None
        self.sender: Sender | None = None

    async def look(self) -> int:
        """Begin what is due and has room; how much that was. Raises LedgerUnavailable."""
        settings, sender = self.settings, self.sender
        room = AT_ONCE - self._under_way.total()
        if settings is None or sender is None or room <= 0:
            return 0
        busy = [name for name, count in self._under_way.items() if count >= AT_ONCE_EACH]
        lease = int((settings.timeout + LEASE_EXTRA) * 1000)
        claimed = await self._queue.claim(room, lease, busy)
        for delivery in claimed:
            self._under_way[delivery.endpoint] += 1
            self._keeper.start(self._deliver(delivery, settings, sender), name="a webhook")
        return len(claimed)

    async def _deliver(self, delivery: Delivery, settings: HookSettings, sender: Sender) -> None:
        try:
            recipient = settings.recipients.get(delivery.endpoint)
            if recipient is None:
                await self._unknown(delivery, settings)
            else:
                await self._try(delivery, recipient, settings, sender)
        except LedgerUnavailable as error:
            # Whether it was told or not, it will be due again.
            _log.warning("what became of a webhook is not written down: %s", error)
        finally:
            self._under_way[delivery.endpoint] -= 1
            if not self._under_way[delivery.endpoint]:
                del self._under_way[delivery.endpoint]

    async def _try(
        self, delivery: Delivery, recipient: Recipient, settings: HookSettings, sender: Sender
    ) -> None:
        try:
            headers, body = request_of(recipient, delivery.id, delivery.event, utc_now())
        except (ValueError, KeyError, TypeError) as error:
            outcome = Outcome(False, f"cannot be told: {error}", gone=True)
        else:
            outcome = await sender.post(recipient, headers, body)
        if outcome.ok:
            self._counts.deliveries["delivered"] += 1
            await self._queue.done(delivery)
            return
        self._counts.deliveries["refused" if outcome.refused else "failed"] += 1
        self._say(delivery, outcome)
        if outcome.gone or delivery.attempt > len(settings.retries):
            self._counts.deliveries["dead"] += 1
            await self._queue.bury(delivery, outcome.detail)
            return
        pause = settings.retries[delivery.attempt - 1] * random.uniform(0.9, 1.1)
        await self._queue.again(delivery, int(max(pause, outcome.retry_after) * 1000), outcome.detail)

    async def _unknown(self, delivery: Delivery, settings: HookSettings) -> None:
        """Another instance may know the endpoint already, or still."""
        if now_ms() - delivery.put_ms > sum(settings.retries) * 1000:
            self._counts.deliveries["dead"] += 1
            await self._queue.bury(delivery, "there is no such endpoint any more")
        else:
            await self._queue.again(delivery, _UNKNOWN_SECONDS * 1000, "there is no such endpoint here")

    def _say(self, delivery: Delivery, outcome: Outcome) -> None:
        kept_back = self._sampler.admit(delivery.endpoint, asyncio.get_running_loop().time())
        if kept_back is not None:
            _log.warning(
                "a webhook was not delivered",
                extra={
                    "endpoint": delivery.endpoint,
                    "event": delivery.id,
                    "attempt": delivery.attempt,
                    "why": outcome.detail,
                    "kept_back": kept_back,
                },
            )
