"""The Ledger on Redis or Valkey: each verb is one Lua script, so that every instance sees all of it or
nothing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from policy.compiled import Scope
from proxy.ledger.answers import Asking, rebuilding
from proxy.ledger.connection import Command
from proxy.ledger.embedded import EmbeddedServer
from proxy.ledger.endpoint import Endpoint
from proxy.ledger.hangup import HangupBus, HangupHandler, HangupRequest, HangupResult
from proxy.ledger.keys import WHOLE, Keys
from proxy.ledger.leases import LeaseVerbs
from proxy.ledger.ledger import (
    Answered,
    Claim,
    LedgerObserver,
    LedgerRefused,
    LedgerUnavailable,
    Refused,
    Reservation,
    Restore,
    Unobserved,
)
from proxy.ledger.link import Link
from proxy.ledger.lua import script
from proxy.ledger.membership import Membership
from proxy.ledger.outbox import UNSENT, Outbox, Posted
from proxy.ledger.packing import PackedScopes, micro, packed_tries
from proxy.ledger.requests import Requests
from proxy.ledger.resp import bulk, bulks
from proxy.ledger.shown import ShownVerbs
from proxy.observe.tasks import TaskKeeper

OPEN_SECONDS: Final = 3.0  # for connecting and looking at the server, on a slow way
PATIENCE: Final = 3.0  # seconds in which an instance's first connection must succeed
MOST_STATE: Final = 65_536  # bytes: an INVITE and an answer as long as any
_RESERVE: Final = script("reserve")
_SETTLE: Final = script("settle")
_ANSWERED: Final = script("answered")
_GIVE_BACK: Final = script("give_back")
_REMEMBER: Final = script("remember")


class RedisLedger(LeaseVerbs, ShownVerbs):
    """The verbs of `Ledger`, and with them the hang-up bus and the secret that all instances share.

    `owner` names this instance in the leases that it takes. Made by `open_ledger` and `connect_ledger`.
    """

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        bus: HangupBus,
        requests: Requests,
        membership: Membership,
        *,
        lease_seconds: float,
        owner: str,
        keeper: TaskKeeper,
        observer: LedgerObserver,
        at_close: Callable[[], Awaitable[None]] | None = None,
        keys: Keys = WHOLE,
    ) -> None:
        self._link = link
        self._outbox = outbox
        self._bus = bus
        self._requests = requests
        self._membership = membership
        self._keeper = keeper
        self._observer = observer
        self._at_close = at_close
        self._loop = asyncio.get_running_loop()
        self._lease_seconds = lease_seconds
        self._watching_since = None
        self._unseen_until = 0.0
        self._lease_arguments = (owner.encode(), b"%d" % int(lease_seconds * 1000))
        self._owner_and_lease = bulks(self._lease_arguments)
        self._keys = keys
        self._leasing = (keys.clock, keys.leases)
        self._clock_and_leases = bulks(self._leasing)
        self._epoch_key = bulk(keys.epoch)
        self._longer = len(keys.prefix) + 2  # than a call's ref are the names of its keys
        self._packed: dict[int, PackedScopes] = {}
        self._closed = False

    @property
    def url(self) -> str:
        """Where the ledger is, for another process of this program; it may hold a password."""
        return self._link.endpoint.url

    @property
    def address(self) -> str:
        """Where the ledger is, fit to be shown."""
        return self._link.endpoint.shown

    @property
    def connected(self) -> bool:
        """Whether a reservation would be asked for now."""
        return self._link.connected and self._membership.epoch is not None

    @property
    def waiting(self) -> int:
        """Commands behind the wire that are not known to be done."""
        return len(self._outbox)

    @property
    def records_dropped(self) -> int:
        return self._outbox.records_dropped

    # The way of a call

    async def reserve(self, claim: Claim) -> Reservation | Refused:
        future: asyncio.Future[Reservation | Refused | LedgerUnavailable] = self._loop.create_future()
        self.ask(claim, lambda answer: None if future.done() else future.set_result(answer))
        self._link.flush_soon()
        answer = await future
        if isinstance(answer, LedgerUnavailable):
            raise answer
        return answer

    def ask(self, claim: Claim, done: Answered) -> None:
        epoch = self._membership.epoch
        if epoch is None and self._link.connected:
            self._observer.ledger_error("rebuilding")
            done(rebuilding())
            return
        scopes = claim.scopes
        packed = self._packed.get(id(scopes))
        if packed is None or packed.scopes is not scopes:
            packed = self._pack(scopes)
        ref = claim.ref.encode()
        hold = b"%d" % micro(claim.hold)
        if claim.least is not None and claim.least < claim.hold:
            hold += b" %d" % micro(claim.least)
        trunk = claim.trunk.encode()
        size = len(ref)
        prefix = self._keys.prefix
        tail = b"%b%b$%d\r\n%bk:%b\r\n$%d\r\n%bd:%b\r\n%b%b" % (
            packed.numkeys,
            self._clock_and_leases,
            size + self._longer,
            prefix,
            ref,
            size + self._longer,
            prefix,
            ref,
            self._epoch_key,
            packed.keys,
        ) + b"$%d\r\n%b\r\n%b$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n%b" % (
            size,
            ref,
            self._owner_and_lease,
            len(hold),
            hold,
            len(trunk),
            trunk,
            len(claim.record),
            claim.record,
            len(epoch or b""),
            epoch or b"",
            packed.args,
        )
        count = packed.count
        if claim.use or claim.tries is not None:
            parts = [claim.use]
            if claim.tries is not None:
                parts += packed_tries(claim.tries)
            count += len(parts)
            tail += bulks(parts)
        try:
            sink = Asking(claim, done, self._observer, self._membership.suspect)
            self._link.submit(Command("reserve", _RESERVE, count, tail, sink, None))
        except LedgerUnavailable as error:
            done(error)

    def flush(self) -> None:
        self._link.flush()

    def answered(self, ref: str, at: float, *, epoch: int = 1, state: bytes = b"") -> None:
        self._check_state(state)
        parts = (
            b"2",
            self._keys.clock,
            self._keys.call(ref),
            ref.encode(),
            self._lease_arguments[0],
            b"%d" % epoch,
            state,
        )
        self._outbox.post(Posted("answered", ref, _ANSWERED, 10, bulks(parts), at))

    def remember(self, ref: str, state: bytes, version: int, *, epoch: int = 1) -> None:
        self._check_state(state)
        owner = self._lease_arguments[0]
        parts = (
            b"2",
            self._keys.clock,
            self._keys.call(ref),
            ref.encode(),
            owner,
            b"%d" % epoch,
            b"%d" % version,
            state,
        )
        self._outbox.post(Posted("remember", ref, _REMEMBER, 10, bulks(parts)))

    def settle(
        self, ref: str, cost: int, scopes: tuple[Scope, ...] = (), *, epoch: int = 1, moved: int = 0
    ) -> None:
        self._end("settle", ref, cost, scopes, epoch, moved)

    def release(self, ref: str, *, epoch: int = 1) -> None:
        self._end("release", ref, 0, (), epoch, 0)

    def give_back(self, ref: str) -> None:
        """Undo a reservation that was just made: it does not count against calls per second either."""
        parts = (b"2", self._keys.clock, self._keys.call(ref), ref.encode(), self._lease_arguments[0])
        self._outbox.post(Posted("give_back", ref, _GIVE_BACK, 7, bulks(parts)))

    def _end(self, verb: str, ref: str, cost: int, scopes: tuple[Scope, ...], epoch: int, moved: int) -> None:
        parts = [b"2", self._keys.clock, self._keys.call(ref), ref.encode(), b"%d" % micro(cost)]
        parts += [self._lease_arguments[0], b"%d" % epoch, b"%d" % micro(moved)]
        parts += [scope.id.encode() for scope in scopes]
        self._outbox.post(Posted(verb, ref, _SETTLE, 3 + len(parts), bulks(parts), UNSENT))

    @staticmethod
    def _check_state(state: bytes) -> None:
        if len(state) > MOST_STATE:
            raise ValueError(f"a call's state of {len(state)} bytes cannot be kept: {MOST_STATE} can")

    def on_loss(self, restore: Restore) -> None:
        self._membership.restore = restore

    def append_records(self, stream: str, lines: Sequence[bytes]) -> None:
        self._outbox.post_records(self._keys.records(stream), lines)

    async def ping(self) -> None:
        await self._requests.plain("ping", b"PING")

    async def join(self) -> None:
        """Take part: reservations can be made from now on. Raises LedgerUnavailable."""
        await self._membership.start()

    # What all instances share

    @property
    def requests(self) -> Requests:
        """The connection, for what is kept beside calls and money."""
        return self._requests

    async def shards(self) -> list[str]:
        """The parts of this ledger that were ever used."""
        names = await self._requests.plain("shards", b"SMEMBERS", self._keys.shards)
        return [name.decode() for name in cast("list[bytes]", names)]

    async def add_shard(self, shard: str) -> None:
        """From now on all instances look after this part, too."""
        await self._requests.plain("shards", b"SADD", self._keys.shards, shard.encode())

    async def secret(self) -> bytes:
        """The key that signs Record-Route: 32 bytes, drawn once by whichever instance asks first."""
        drawn = secrets.token_bytes(32)
        before = await self._requests.plain("secret", b"SET", self._keys.secret, drawn, b"NX", b"GET")
        return drawn if before is None else cast("bytes", before)

    async def hang_up(
        self, *, ref: str | None = None, trunk: str | None = None, within: float = 2.0
    ) -> HangupResult:
        """End live calls now, through the running instances: the call `ref`, or all calls of `trunk`. Waits
        until every instance answered, at most `within` seconds. Raises LedgerUnavailable."""
        return await self._bus.request(ref=ref, trunk=trunk, within=within)

    def on_hangup(self, handler: HangupHandler) -> None:
        """From now on `handler` answers hang-up requests for this instance."""
        self._bus.serve(handler)

    async def hears_hangups(self) -> None:
        """Wait until the handler would be called."""
        await self._bus.subscribed()

    @property
    def hearing_hangups(self) -> bool:
        """Whether the handler would be called now."""
        return self._bus.hearing

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._bus.close()
        await self._outbox.drain(2.0)
        with suppress(LedgerUnavailable):
            await self._membership.leave()
        self._outbox.close()
        self._link.close()
        await self._keeper.stop()
        if self._at_close is not None:
            await self._at_close()

    # Sending

    def _pack(self, scopes: tuple[Scope, ...]) -> PackedScopes:
        packed = self._packed.get(id(scopes))
        if packed is None or packed.scopes is not scopes:
            if len(self._packed) >= 4096:
                self._packed.clear()
            packed = self._packed[id(scopes)] = PackedScopes(scopes, self._keys)
        return packed


async def open_ledger(
    url: str,
    data_dir: Path,
    *,
    lease_seconds: float,
    owner: str,
    deadline: float = 1.0,
    observer: LedgerObserver | None = None,
) -> RedisLedger:
    """Connect to the ledger, and start it before when `url` is `embedded` and it does not run.

    `data_dir` is where an embedded ledger keeps its data; `owner` names this instance in its leases; a
    command that is not answered within `deadline` seconds is given up. Raises LedgerUnavailable when the
    server does not answer, and LedgerRefused when it, the address or the folder cannot be used.
    """
    embedded = EmbeddedServer(data_dir) if url == "embedded" else None
    address = url if embedded is None else embedded.url
    ledger = await _open(address, lease_seconds, owner, deadline, observer, embedded, PATIENCE)
    try:
        await ledger.join()
    except BaseException:
        await ledger.close()
        raise
    return ledger


async def connect_ledger(
    url: str,
    data_dir: Path,
    *,
    lease_seconds: float = 30.0,
    owner: str = "visitor",
    deadline: float = 1.0,
    observer: LedgerObserver | None = None,
) -> RedisLedger:
    """Connect to a ledger that runs: as `open_ledger`, but an embedded one is not started, and one that does
    not answer is not tried again. For the commands and processes that visit an instance's ledger."""
    if url == "embedded":
        url = EmbeddedServer(data_dir).url
    return await _open(url, lease_seconds, owner, deadline, observer, None, 0.0)


async def open_shard(
    url: str,
    shard: str,
    *,
    lease_seconds: float,
    owner: str,
    deadline: float,
    observer: LedgerObserver | None,
) -> RedisLedger:
    """Connect to the part of a ledger whose keys carry the hash tag of `shard`. Raises LedgerUnavailable or
    LedgerRefused."""
    return await _open(url, lease_seconds, owner, deadline, observer, None, 0.0, Keys(shard))


async def _open(
    url: str,
    lease_seconds: float,
    owner: str,
    deadline: float,
    observer: LedgerObserver | None,
    embedded: EmbeddedServer | None,
    patience: float,
    keys: Keys = WHOLE,
) -> RedisLedger:
    watcher = observer or Unobserved()
    keeper = TaskKeeper()
    before = None if embedded is None else embedded.ensure_running
    endpoint = Endpoint(url, timeout=max(deadline, OPEN_SECONDS), before_connect=before, keys=keys)
    link = Link(endpoint, deadline=deadline, keeper=keeper, observer=watcher)
    outbox = Outbox(link, watcher)
    requests = Requests(link, watcher)
    membership = Membership(
        requests,
        owner,
        keeper,
        keys,
        repeat=outbox.repeat,
        confirmed=outbox.confirmed,
        forget=outbox.forget,
    )

    def up() -> None:
        membership.suspect()
        outbox.pump()

    link.on_up = up
    try:
        await link.open(patience)
    except BaseException:
        link.close()
        await keeper.stop()
        if embedded is not None:
            await embedded.stop()
        raise
    return RedisLedger(
        link,
        outbox,
        HangupBus(endpoint.topology, deadline=deadline, keeper=keeper),
        requests,
        membership,
        lease_seconds=lease_seconds,
        owner=owner,
        keeper=keeper,
        observer=watcher,
        at_close=None if embedded is None else embedded.stop,
        keys=keys,
    )


__all__ = [
    "HangupRequest",
    "HangupResult",
    "LedgerRefused",
    "LedgerUnavailable",
    "RedisLedger",
    "connect_ledger",
    "open_ledger",
]
