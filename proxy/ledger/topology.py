"""Which server has the ledger now: one that is named, the primary that Sentinel names, or the primary of our
slot in a Cluster."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

import redis.exceptions
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from proxy.ledger.keys import WHOLE
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable, reason_of

SENTINEL_PORT: Final = 26379
SERVER_PORT: Final = 6379
ASK_SECONDS: Final = 0.5  # a sentinel or node that is slower is passed over
_SENTINEL: Final = "redis+sentinel"
_CLUSTER: Final = "redis+cluster"


class Topology(Protocol):
    """`moves`: the ledger may come to be on another server, so that one which refuses writes is left."""

    moves: bool

    async def locate(self) -> str:
        """The URL of the server to use now: redis://, rediss:// or unix://. Raises LedgerUnavailable."""
        ...


def topology_of(url: str, key: bytes = WHOLE.clock) -> Topology:
    """What a ledger's URL names; in a Cluster it is the server that has the slot of `key`. Raises
    LedgerRefused."""
    scheme = url.partition("://")[0]
    if scheme not in (_SENTINEL, _CLUSTER):
        return Fixed(url)
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    default = SENTINEL_PORT if scheme == _SENTINEL else SERVER_PORT
    try:
        places = [_place(place, default) for place in hosts.split(",")]
    except ValueError:
        raise LedgerRefused(
            "the ledger's address cannot be used: after `://` come `host:port`, with commas between"
        ) from None
    if scheme == _CLUSTER:
        if parts.path.strip("/") not in ("", "0"):
            raise LedgerRefused("the ledger's address cannot be used: a Cluster has database 0 only")
        return Cluster(places, parts, credentials + at, key_slot(key))
    service, _, database = parts.path.strip("/").partition("/")
    if not service or (database and not database.isdigit()):
        raise LedgerRefused(
            "the ledger's address cannot be used: write it as"
            " `redis+sentinel://host:port,host:port/service` or `…/service/database`"
        )
    return Sentinel(places, parts, credentials + at, service, database or "0")


class Fixed:
    """One server."""

    moves = False

    def __init__(self, url: str) -> None:
        self._url = url

    async def locate(self) -> str:
        return self._url


class Sentinel:
    """The primary of a service, as the first sentinel that answers names it. `sentinel_username` and
    `sentinel_password` in the query are for the sentinels, user and password before the hosts for the
    servers."""

    moves = True

    def __init__(
        self,
        places: list[tuple[str, int]],
        parts: SplitResult,
        credentials: str,
        service: str,
        database: str,
    ) -> None:
        self._places = places
        self._service = service
        query = dict(parse_qsl(parts.query))
        self._access = (query.pop("sentinel_username", None), query.pop("sentinel_password", None))
        self._suffix = urlunsplit(("", "", f"/{database}", urlencode(query), ""))
        self._credentials = credentials

    async def locate(self) -> str:
        why = "none is named"
        for place in list(self._places):
            try:
                found = await _ask(place, self._access, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
                why = f"{_name(place)}: {reason_of(error)}"
                continue
            if found:
                self._places.remove(place)
                self._places.insert(0, place)  # the next time it is asked first
                host, port = cast("list[bytes]", found)
                address = _name((host.decode(), int(port)))
                return f"redis://{self._credentials}{address}{self._suffix}"
            why = f"{_name(place)} knows no service `{self._service}`"
        raise LedgerUnavailable("connection", f"no sentinel names the ledger's primary; {why}", sent=False)


class Cluster:
    """The primary of the slot in which all keys of the ledger, or of one shard of it, are."""

    moves = True

    def __init__(
        self, places: list[tuple[str, int]], parts: SplitResult, credentials: str, slot: int
    ) -> None:
        self._slot = slot
        self._seeds = places
        self._places = list(places)
        self._credentials = credentials
        user, _, password = credentials.rstrip("@").partition(":")
        self._access = (user or None, password or None)
        self._suffix = urlunsplit(("", "", "/0", parts.query, ""))

    async def locate(self) -> str:
        slot = self._slot
        why = "none is named"
        for place in self._places:
            try:
                rows = cast("list[list[object]]", await _ask(place, self._access, "CLUSTER", "SLOTS"))
            except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
                why = f"{_name(place)}: {reason_of(error)}"
                continue
            nodes = [
                [_node(node, place) for node in cast("list[list[object]]", row[2:])]
                for row in rows
                if cast("int", row[0]) <= slot <= cast("int", row[1])
            ]
            if nodes:
                known = [_node(cast("list[object]", node), place) for row in rows for node in row[2:]]
                # What is known now, and what the operator wrote, should all of that be gone.
                self._places = list(dict.fromkeys([*known, *self._seeds]))
                return f"redis://{self._credentials}{_name(nodes[0][0])}{self._suffix}"
            why = f"{_name(place)} knows nobody who serves slot {slot}"
        raise LedgerUnavailable("connection", f"no node of the Cluster has the ledger; {why}", sent=False)


async def _ask(place: tuple[str, int], access: tuple[str | None, str | None], *command: str) -> object:
    """One command on a connection of its own. Raises redis-py's errors, OSError and TimeoutError."""
    connection = Connection(
        host=place[0],
        port=place[1],
        username=access[0],
        password=access[1],
        protocol=2,
        socket_timeout=ASK_SECONDS,
        socket_connect_timeout=ASK_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command(*command, check_health=False)
            return await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)


def _node(node: list[object], asked: tuple[str, int]) -> tuple[str, int]:
    """A node of CLUSTER SLOTS; one that does not know its own address is the one that was asked."""
    host = node[0].decode() if isinstance(node[0], bytes) else ""
    return (asked[0] if host in ("", "?") else host, cast("int", node[1]))


def _place(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or parts.username:
        raise ValueError(text)
    return parts.hostname, parts.port or default


def _name(place: tuple[str, int]) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
