"""The parts of a ledger that is sharded by account, each opened when it is first needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from policy.compiled import Scope
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable, Restore
from proxy.ledger.redis_ledger import RedisLedger

T = TypeVar("T")

REFRESH_SECONDS: Final = 5.0  # how often it is asked which parts the other instances use
_PROVIDER: Final = "provider:"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """A call's scopes, as they lie in the ledger: `home` holds all but the provider's."""

    scopes: tuple[Scope, ...]
    home: str
    home_scopes: tuple[Scope, ...]
    provider: str
    provider_scopes: tuple[Scope, ...]


class Place:
    """Where a call of this instance lies. `epoch` is that of its lease in the provider's part."""

    __slots__ = ("epoch", "home", "provider")

    def __init__(self, home: str, provider: str) -> None:
        self.home = home
        self.provider = provider
        self.epoch = 1


class Shards:
    """By name: `account:acme`, `trunk:x`, `provider:p`. `opener` connects to one; `root`, whose name is
    empty, is the part of what belongs to no account. `part_lost` is told which part may have lost what."""

    def __init__(self, root: RedisLedger, opener: Callable[[str], Awaitable[RedisLedger]]) -> None:
        self.root = root
        self._opener = opener
        self._open: dict[str, RedisLedger] = {"": root}
        self._opening: dict[str, asyncio.Task[RedisLedger]] = {}
        self._parts: dict[int, Parts] = {}
        self._refreshed = float("-inf")
        self.part_lost: Callable[[str], Restore] | None = None

    @property
    def homes(self) -> list[str]:
        """The parts of accounts that are open."""
        return [name for name in self._open if not name.startswith(_PROVIDER)]

    @property
    def providers(self) -> list[str]:
        """The parts of providers that are open."""
        return [name for name in self._open if name.startswith(_PROVIDER)]

    @property
    def opened(self) -> Iterable[RedisLedger]:
        return self._open.values()

    def ready(self, name: str) -> RedisLedger | None:
        """The part, when it is open."""
        return self._open.get(name)

    async def get(self, name: str) -> RedisLedger:
        """The part, opened if need be. Raises LedgerUnavailable."""
        ledger = self._open.get(name)
        if ledger is not None:
            return ledger
        task = self._opening.get(name)
        if task is None:
            task = self._opening[name] = asyncio.get_running_loop().create_task(self._connect(name))
            task.add_done_callback(lambda done: self._opened(name, done))
        # One who waits may be cancelled; the others go on waiting.
        return await asyncio.shield(task)

    async def _connect(self, name: str) -> RedisLedger:
        try:
            await self.root.add_shard(name)
            return await self._opener(name)
        except LedgerRefused as error:
            _log.error("the part `%s` of the ledger cannot be used: %s", name, error)
            raise LedgerUnavailable("other", str(error), sent=False) from None

    def _opened(self, name: str, task: asyncio.Task[RedisLedger]) -> None:
        del self._opening[name]
        if task.cancelled() or task.exception() is not None:
            return
        ledger = self._open[name] = task.result()
        if self.part_lost is not None:
            ledger.on_loss(self.part_lost(name))

    async def refresh(self, *, now: bool = False) -> None:
        """Open what other instances use. A part that is away is tried again the next time. Raises
        LedgerUnavailable."""
        time = asyncio.get_running_loop().time()
        if not now and time < self._refreshed + REFRESH_SECONDS:
            return
        self._refreshed = time
        names = [name for name in await self.root.shards() if name not in self._open]
        for name, outcome in zip(names, await self.each(names, self._touch), strict=True):
            if isinstance(outcome, LedgerUnavailable):
                _log.warning("the part `%s` of the ledger is away: %s", name, outcome)

    @staticmethod
    async def _touch(_: RedisLedger) -> None:
        pass

    async def each(
        self, names: Sequence[str], work: Callable[[RedisLedger], Awaitable[T]]
    ) -> list[T | LedgerUnavailable]:
        """The same for several parts at once; of each what came out, or why nothing did."""

        async def one(name: str) -> T | LedgerUnavailable:
            try:
                return await work(await self.get(name))
            except LedgerUnavailable as error:
                return error

        return list(await asyncio.gather(*[one(name) for name in names]))

    def parts(self, scopes: tuple[Scope, ...]) -> Parts:
        """Where a call of these scopes lies; worked out once for each tuple of the policy."""
        found = self._parts.get(id(scopes))
        if found is None or found.scopes is not scopes:
            if len(self._parts) >= 4096:
                self._parts.clear()
            home = tuple(scope for scope in scopes if not scope.shard.startswith(_PROVIDER))
            provider = tuple(scope for scope in scopes if scope.shard.startswith(_PROVIDER))
            found = self._parts[id(scopes)] = Parts(
                scopes,
                home[0].shard if home else "",
                home,
                provider[0].shard if provider else "",
                provider,
            )
        return found

    async def close(self) -> None:
        for task in list(self._opening.values()):
            task.cancel()
            await asyncio.wait([task])
        for ledger in reversed(list(self._open.values())):
            await ledger.close()


def by_shard(scopes: Sequence[Scope]) -> dict[str, list[int]]:
    """The indexes of the scopes that lie in each part."""
    groups: dict[str, list[int]] = {}
    for index, scope in enumerate(scopes):
        groups.setdefault(scope.shard, []).append(index)
    return groups


def raise_if_none(found: Sequence[object]) -> None:
    """Raise when no part has answered."""
    if found and all(isinstance(one, LedgerUnavailable) for one in found):
        raise next(one for one in found if isinstance(one, LedgerUnavailable))
