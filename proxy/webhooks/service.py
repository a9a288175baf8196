"""Webhooks: the part of the HTTP process that tells others of events."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from proxy.ledger.hook_queue import HookQueue, Opener
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.observe.logs import Sampler
from proxy.observe.tasks import TaskKeeper
from proxy.routing.names import Names
from proxy.webhooks.counts import Counts
from proxy.webhooks.deliverer import Deliverer
from proxy.webhooks.settings import HookSettings
from proxy.webhooks.watcher import Seen, UsageOf, Watcher

if TYPE_CHECKING:
    from proxy.webhooks.sender import Sender

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
DELIVER_SECONDS: Final = 0.25
_SIZES_EVERY: Final = 5  # looks

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Asks the SIP process for `happenings` or `webhooks`."""


class Webhooks:
    """Nothing is asked of the ledger while nobody wants to be told. `usage` asks it what scopes hold;
    `failed` are the errors of `ask` that pass."""

    def __init__(
        self, ask: Ask, usage: UsageOf, opener: Opener, names: Names, failed: tuple[type[Exception], ...]
    ) -> None:
        self._ask = ask
        self._usage = usage
        self._opener = opener
        self._names = names
        self._failed = failed
        self._keeper = TaskKeeper()
        self._queue: HookQueue | None = None
        self._watcher: Watcher | None = None
        self._deliverer: Deliverer | None = None
        self._settings: HookSettings | None = None
        self._stamp = ""
        self._looks = 0
        self._sampler = Sampler(burst=1)
        self.counts = Counts()

    @property
    def settings(self) -> HookSettings | None:
        """What is told by now; None: nothing yet."""
        return self._settings

    async def run(self) -> None:
        """Until it is cancelled."""
        self._keeper.start(self._deliver(), name="webhooks.deliver")
        try:
            while True:
                await self._guarded(self._look)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self._keeper.stop()
            if self._queue is not None:
                await self._queue.close()

    async def _look(self) -> None:
        seen: Seen = await self._ask("happenings", {})
        if seen["stamp"] != self._stamp or self._settings is None:
            await self._settle(await self._read_settings())
            self._stamp = seen["stamp"]
        settings = self._settings
        if settings is None or not settings.recipients:
            return
        queue = await self._open()
        if self._watcher is None:
            self._watcher = Watcher(queue, self._usage, self.counts)
        self._watcher.collect(seen)
        await self._watcher.look(seen, settings)
        self._looks += 1
        if self._looks % _SIZES_EVERY == 1:
            self.counts.waiting, self.counts.dead = await queue.sizes()

    async def _read_settings(self) -> HookSettings:
        rows: list[list[Any]] = []
        while True:
            said = await self._ask("webhooks", {"start": len(rows)})
            rows += said["trunks"]
            if not said["more"]:
                return HookSettings.from_json(said["section"], rows)

    async def _settle(self, settings: HookSettings) -> None:
        """From now on by these settings."""
        self._settings = settings
        if not settings.recipients and self._deliverer is None:
            return
        sender = await asyncio.to_thread(sender_of, settings, self._names)
        if settings.recipients:
            queue = await self._open()
            if self._deliverer is None:
                self._deliverer = Deliverer(queue, self._keeper, self.counts)
        if self._deliverer is not None:
            self._deliverer.settings, self._deliverer.sender = settings, sender

    async def _open(self) -> HookQueue:
        if self._queue is None:
            self._queue = await self._opener()
        return self._queue

    async def _deliver(self) -> None:
        while True:
            await self._guarded(self._deliver_due)
            await asyncio.sleep(DELIVER_SECONDS)

    async def _deliver_due(self) -> None:
        if self._deliverer is not None:
            while await self._deliverer.look():
                pass

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Whatever fails is tried again."""
        try:
            await work()
        except self._failed as error:
            self._say("the SIP process does not answer", error)
        except (LedgerUnavailable, LedgerRefused) as error:
            self._say("the ledger does not answer", error)
        except (OSError, ssl.SSLError) as error:
            self._say("`webhooks.ca_file` cannot be used", error)
        except Exception:
            with suppress(RuntimeError):
                _log.exception("webhooks failed; they go on")

    def _say(self, what: str, error: Exception) -> None:
        kept_back = self._sampler.admit(what, asyncio.get_running_loop().time())
        if kept_back is not None:
            _log.warning("webhooks wait: %s: %s", what, error)


def sender_of(settings: HookSettings, names: Names) -> Sender:
    """Who posts by these settings. Raises OSError or ssl.SSLError."""
    from proxy.webhooks.sender import Sender  # not before somebody is told: an HTTP client takes long to load

    return Sender(
        names,
        reach=settings.reach,
        callback_reach=settings.callback_reach,
        timeout=settings.timeout,
        ca_file=settings.ca_file,
    )
