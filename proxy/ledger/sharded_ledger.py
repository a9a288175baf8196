"""The Ledger with a part of its own for each account, so that a Cluster spreads the accounts over its nodes.

What an account counts lies in its part, behind one hash tag: its own scope and those of its profiles and
trunks. A provider serves several accounts and has a part of its own. A call takes its place there first, then
everything else in its account's part; when that refuses, the place is given back. The account's part is what
counts: it has the call's money, its state, and says who owns it. The provider's part follows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from policy.attempts import Tries
from policy.compiled import Scope
from proxy.ledger.embedded import EmbeddedServer
from proxy.ledger.hangup import HangupHandler, HangupResult
from proxy.ledger.ledger import (
    Answered,
    Claim,
    LedgerObserver,
    LedgerUnavailable,
    LiveCall,
    Refused,
    Reservation,
    ScopeUsage,
    TryCounts,
)
from proxy.ledger.redis_ledger import RedisLedger, connect_ledger, open_ledger, open_shard
from proxy.ledger.requests import Requests
from proxy.ledger.sharded_leases import ShardedLeases
from proxy.ledger.shards import Parts, Place, Shards, by_shard, raise_if_none
from proxy.observe.tasks import TaskKeeper

LIVES: Final = b"-"  # as the state of a provider's part: the call may be adopted, so it is not swept at once


class ShardedLedger(ShardedLeases):
    """The verbs of `Ledger` over the parts. Made by `open_sharded_ledger` and `connect_sharded_ledger`."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._root = shards.root
        self._keeper = TaskKeeper()
        self._places: dict[str, Place] = {}
        self._lapsed_at: dict[str, str] = {}

    @property
    def address(self) -> str:
        """Where the ledger is, fit to be shown."""
        return self._root.address

    @property
    def waiting(self) -> int:
        return sum(part.waiting for part in self._shards.opened)

    # The way of a call

    async def reserve(self, claim: Claim) -> Reservation | Refused:
        future: asyncio.Future[Reservation | Refused | LedgerUnavailable]
        future = asyncio.get_running_loop().create_future()
        self.ask(claim, lambda answer: None if future.done() else future.set_result(answer))
        self.flush()
        answer = await future
        if isinstance(answer, LedgerUnavailable):
            raise answer
        return answer

    def ask(self, claim: Claim, done: Answered) -> None:
        parts = self._shards.parts(claim.scopes)
        home = self._shards.ready(parts.home)
        provider = self._shards.ready(parts.provider) if parts.provider else None
        if home is None or (provider is None and parts.provider):
            self._keeper.start(self._ask_once_open(claim, done, parts), name="a part of the ledger")
        else:
            self._ask(claim, done, parts, home, provider)

    async def _ask_once_open(self, claim: Claim, done: Answered, parts: Parts) -> None:
        try:
            home = await self._shards.get(parts.home)
            provider = await self._shards.get(parts.provider) if parts.provider else None
        except LedgerUnavailable as error:
            done(LedgerUnavailable(error.kind, str(error), sent=False))
        else:
            self._ask(claim, done, parts, home, provider)
            self.flush()

    def _ask(
        self, claim: Claim, done: Answered, parts: Parts, home: RedisLedger, provider: RedisLedger | None
    ) -> None:
        ref = claim.ref
        self._places[ref] = Place(parts.home, parts.provider)
        at_home = Claim(
            ref, claim.trunk, parts.home_scopes, claim.hold, claim.record, claim.use, claim.least, claim.tries
        )

        def judged(answer: Reservation | Refused | LedgerUnavailable) -> None:
            if isinstance(answer, Refused):
                self._places.pop(ref, None)
                if provider is not None:
                    provider.give_back(ref)
            elif isinstance(answer, LedgerUnavailable) and not answer.sent:
                if provider is None:
                    self._places.pop(ref, None)
                else:  # something is left at the provider's part
                    answer = LedgerUnavailable(answer.kind, str(answer))
            done(answer)

        def room(answer: Reservation | Refused | LedgerUnavailable) -> None:
            if isinstance(answer, Reservation):
                home.ask(at_home, judged)
                home.flush()
                return
            if isinstance(answer, Refused) or not answer.sent:
                self._places.pop(ref, None)
            done(answer)

        if provider is None:
            home.ask(at_home, judged)
        else:
            # Credentials are used up at both: a claim that is refused here never comes to the other.
            provider.ask(Claim(ref, claim.trunk, parts.provider_scopes, 0, b"", claim.use), room)

    def flush(self) -> None:
        for part in self._shards.opened:
            part.flush()

    def answered(self, ref: str, at: float, *, epoch: int = 1, state: bytes = b"") -> None:
        place = self._places.get(ref)
        if place is None:
            return
        self._tell(place.home, lambda part: part.answered(ref, at, epoch=epoch, state=state))
        self._tell_provider(place, lambda part: part.answered(ref, at, epoch=place.epoch, state=LIVES))

    def remember(self, ref: str, state: bytes, version: int, *, epoch: int = 1) -> None:
        place = self._places.get(ref)
        if place is not None:
            self._tell(place.home, lambda part: part.remember(ref, state, version, epoch=epoch))

    def settle(
        self, ref: str, cost: int, scopes: tuple[Scope, ...] = (), *, epoch: int = 1, moved: int = 0
    ) -> None:
        parts = self._shards.parts(scopes)
        place = self._places.pop(ref, None) or Place(parts.home, parts.provider)
        # Since the call began the policy may have moved its trunk elsewhere; it is charged where it lies.
        charged = parts.home_scopes if place.home == parts.home else ()
        carrying = parts.provider_scopes if place.provider == parts.provider else ()
        self._tell(place.home, lambda part: part.settle(ref, cost, charged, epoch=epoch, moved=moved))
        self._tell_provider(
            place, lambda part: part.settle(ref, cost, carrying, epoch=place.epoch, moved=moved)
        )

    def release(self, ref: str, *, epoch: int = 1) -> None:
        place = self._places.pop(ref, None)
        if place is not None:  # else nothing of it was ever sent
            self._tell(place.home, lambda part: part.release(ref, epoch=epoch))
            self._tell_provider(place, lambda part: part.release(ref, epoch=place.epoch))

    def _tell(self, name: str, say: Callable[[RedisLedger], None]) -> None:
        """Have something done behind the wire of a part."""
        part = self._shards.ready(name)
        if part is not None:
            say(part)
        else:
            self._keeper.start(self._tell_once_open(name, say), name="a part of the ledger")

    def _tell_provider(self, place: Place, say: Callable[[RedisLedger], None]) -> None:
        if place.provider:
            self._tell(place.provider, say)

    async def _tell_once_open(self, name: str, say: Callable[[RedisLedger], None]) -> None:
        while True:
            try:
                say(await self._shards.get(name))
                return
            except LedgerUnavailable:
                await asyncio.sleep(1.0)

    # What is shown

    async def usage(self, scopes: Sequence[Scope]) -> list[ScopeUsage]:
        groups = by_shard(scopes)
        usages: dict[int, ScopeUsage] = {}

        async def one(name: str, indexes: list[int]) -> None:
            part = await self._shards.get(name)
            used = await part.usage([scopes[index] for index in indexes])
            usages.update(zip(indexes, used, strict=True))

        await asyncio.gather(*[one(name, indexes) for name, indexes in groups.items()])
        return [usages[index] for index in range(len(scopes))]

    async def tries(self, tries: Tries) -> TryCounts:
        return await (await self._shards.get(tries.shard)).tries(tries)

    async def calls(self, limit: int = 1000) -> list[LiveCall]:
        await self._shards.refresh()
        found = await self._shards.each(self._shards.homes, lambda part: part.calls(limit))
        raise_if_none(found)
        rows = [call for calls in found if not isinstance(calls, LedgerUnavailable) for call in calls]
        return rows[: max(0, limit)]

    async def leases(self) -> int:
        found = await self._shards.each(self._shards.homes, lambda part: part.leases())
        total = 0
        for count in found:
            if isinstance(count, LedgerUnavailable):
                raise count
            total += count
        return total

    # What all instances share

    @property
    def requests(self) -> Requests:
        """The connection to what belongs to no part."""
        return self._root.requests

    def append_records(self, stream: str, lines: Sequence[bytes]) -> None:
        self._root.append_records(stream, lines)

    async def records(self, stream: str, limit: int) -> list[bytes]:
        return await self._root.records(stream, limit)

    async def ping(self) -> None:
        await self._root.ping()

    async def secret(self) -> bytes:
        """As `RedisLedger.secret`."""
        return await self._root.secret()

    async def hang_up(
        self, *, ref: str | None = None, trunk: str | None = None, within: float = 2.0
    ) -> HangupResult:
        """As `RedisLedger.hang_up`."""
        return await self._root.hang_up(ref=ref, trunk=trunk, within=within)

    def on_hangup(self, handler: HangupHandler) -> None:
        """As `RedisLedger.on_hangup`."""
        self._root.on_hangup(handler)

    async def hears_hangups(self) -> None:
        """As `RedisLedger.hears_hangups`."""
        await self._root.hears_hangups()

    @property
    def hearing_hangups(self) -> bool:
        """As `RedisLedger.hearing_hangups`."""
        return self._root.hearing_hangups

    async def close(self) -> None:
        await self._keeper.stop()
        await self._shards.close()


def opener_of(shard_by: str) -> Callable[..., Awaitable[RedisLedger | ShardedLedger]]:
    """What opens a ledger, by the configuration's `shard_by`."""
    return open_sharded_ledger if shard_by == "account" else open_ledger


def connector_of(shard_by: str) -> Callable[..., Awaitable[RedisLedger | ShardedLedger]]:
    """What connects to a ledger that runs, by the configuration's `shard_by`."""
    return connect_sharded_ledger if shard_by == "account" else connect_ledger


async def open_sharded_ledger(
    url: str,
    data_dir: Path,
    *,
    lease_seconds: float,
    owner: str,
    deadline: float = 1.0,
    observer: LedgerObserver | None = None,
) -> ShardedLedger:
    """As `open_ledger`, with the parts that any instance has used before."""
    root = await open_ledger(
        url, data_dir, lease_seconds=lease_seconds, owner=owner, deadline=deadline, observer=observer
    )
    address = EmbeddedServer(data_dir).url if url == "embedded" else url
    opener = partial(
        _open_joined, address, lease_seconds=lease_seconds, owner=owner, deadline=deadline, observer=observer
    )
    ledger = ShardedLedger(Shards(root, opener))
    try:
        await ledger._shards.refresh(now=True)
    except BaseException:
        await ledger.close()
        raise
    return ledger


async def connect_sharded_ledger(
    url: str,
    data_dir: Path,
    *,
    lease_seconds: float = 30.0,
    owner: str = "visitor",
    deadline: float = 1.0,
    observer: LedgerObserver | None = None,
) -> ShardedLedger:
    """As `connect_ledger`."""
    root = await connect_ledger(
        url, data_dir, lease_seconds=lease_seconds, owner=owner, deadline=deadline, observer=observer
    )
    address = EmbeddedServer(data_dir).url if url == "embedded" else url
    opener = partial(
        open_shard, address, lease_seconds=lease_seconds, owner=owner, deadline=deadline, observer=observer
    )
    return ShardedLedger(Shards(root, opener))


async def _open_joined(
    url: str,
    shard: str,
    *,
    lease_seconds: float,
    owner: str,
    deadline: float,
    observer: LedgerObserver | None,
) -> RedisLedger:
    part = await open_shard(
        url, shard, lease_seconds=lease_seconds, owner=owner, deadline=deadline, observer=observer
    )
    try:
        await part.join()
    except BaseException:
        await part.close()
        raise
    return part
