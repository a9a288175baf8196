"""The versions of the policy's objects: what was in force, who changed it, when, and what is in force now.

The head is changed by compare-and-set in one script. What the documents say is nobody's business here. Only
rare, small commands pass here, on connections of their own: nothing of it stands in the way of a call.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final, TypeVar, cast

import redis.exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.ledger.embedded import EmbeddedServer
from proxy.ledger.endpoint import connect_error_kind
from proxy.ledger.keys import WHOLE
from proxy.ledger.ledger import LedgerUnavailable, reason_of
from proxy.ledger.topology import topology_of

T = TypeVar("T")

KEPT: Final = 1000  # versions
KEPT_BYTES: Final = 128 * 1024 * 1024  # of versions and the decks that they brought; the head is always kept
MOST_DOCUMENT_BYTES: Final = 32 * 1024 * 1024  # before it is packed: about 75,000 trunks
MOST_DECK_BYTES: Final = 64 * 1024 * 1024
DECKS_BYTES: Final = 256 * 1024 * 1024  # of all decks, as they are stored
SPARE_DECK_SECONDS: Final = 600  # from the putting of a deck to the version that names it
POLL_SECONDS: Final = 0.2
HEAD_DEADLINE: Final = 1.0  # seconds; a connection that has gone without a word is noticed by then
DEADLINE: Final = 5.0  # seconds for any other command

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """The version in force: its number, and a token that no other version has. Number 0: there is none."""

    number: int = 0
    token: str = ""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version. `at` is ISO 8601; `changes` and `document` are whatever was committed; the document is
    empty where only the history was asked for. `decks`: digests of the rows that it names."""

    number: int
    token: str
    at: str
    author: str
    comment: str
    changes: bytes
    document: bytes = b""
    decks: tuple[str, ...] = ()


class HeadMoved(Exception):
    """The head is not what the writer thought."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the head is version {number} by now")
        self.number = number


class DeckMissing(Exception):
    """The version names rows that were never put there, or are there no more."""


class StoreFull(Exception):
    """It has grown as large as it may. Says what is too large."""


class Versions:
    """The store of one ledger. All verbs raise LedgerUnavailable."""

    def __init__(
        self,
        url: str,
        data_dir: Path,
        *,
        kept: int = KEPT,
        kept_bytes: int = KEPT_BYTES,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`url` and `data_dir` as `connect_ledger` takes them; an embedded server is not started here, unless
        `before`, which runs before each connection is made, does so. Raises LedgerRefused."""
        self._topology = topology_of(EmbeddedServer(data_dir).url if url == "embedded" else url)
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._before = before
        self._made: Redis | None = None

    async def close(self) -> None:
        """Disconnect."""
        made, self._made = self._made, None
        if made is not None:
            await made.aclose()

    # Reading

    async def _fields(
        self, key: bytes, names: Sequence[bytes], seconds: float = DEADLINE
    ) -> list[bytes | None]:
        async def read(client: Redis) -> list[bytes | None]:
            return cast("list[bytes | None]", await client.hmget(key, list(names)))

        return await self._run(read, seconds)

    async def head(self) -> Head:
        """What is in force now."""
        number, token = await self._fields(WHOLE.policy, (b"head", b"token"), HEAD_DEADLINE)
        return Head() if number is None or token is None else Head(int(number), token.decode())

    async def load(self, number: int) -> StoredVersion | None:
        """A version; None when there is none of that number, or none any more."""
        fields = await self._fields(WHOLE.version(number), (*_ENTRY, b"document"))
        if fields[0] is None:
            return None
        return _version(number, [value or b"" for value in fields])

    async def history(self, before: int | None = None, limit: int = 50) -> list[StoredVersion]:
        """The latest versions, newest first, without their documents; with `before` those below that
        number."""
        newest, first = await self._fields(WHOLE.policy, (b"head", b"first"))
        if newest is None:
            return []
        top = int(newest) if before is None else min(before - 1, int(newest))
        numbers = range(top, max(int(first or 1), top - limit + 1) - 1, -1)

        async def read(client: Redis) -> list[list[bytes | None]]:
            async with client.pipeline(transaction=False) as pipe:
                for number in numbers:
                    pipe.hmget(WHOLE.version(number), list(_ENTRY))
                return cast("list[list[bytes | None]]", await pipe.execute())

        rows = await self._run(read) if numbers else []
        return [
            _version(number, [*(value or b"" for value in row), b""])
            for number, row in zip(numbers, rows, strict=True)
            if row[0] is not None
        ]

    async def deck(self, digest: str) -> bytes | None:
        """The rows of that SHA-256."""

        async def read(client: Redis) -> bytes | None:
            return cast("bytes | None", await client.get(WHOLE.deck(digest)))

        found = await self._run(read, DEADLINE * 4)
        return None if found is None else await asyncio.to_thread(zlib.decompress, found)

    # Writing

    async def commit(self, expected: Head, version: StoredVersion) -> None:
        """Make `version` the head, which has to be `expected`. A commit that may have been done is asked
        again once, with the same token, which does it at most once. Raises HeadMoved, DeckMissing,
        StoreFull."""
        if len(version.document) > MOST_DOCUMENT_BYTES:
            size = len(version.document)
            raise StoreFull(f"the policy's objects take {size:,} bytes; {MOST_DOCUMENT_BYTES:,} are allowed")
        document = await asyncio.to_thread(zlib.compress, version.document, 6)
        changes = await asyncio.to_thread(zlib.compress, version.changes, 6)
        keys = [WHOLE.policy, WHOLE.version(version.number), WHOLE.decks]
        arguments: list[str | bytes] = [
            expected.token,
            str(version.number),
            version.token,
            version.at,
            version.author,
            version.comment,
            changes,
            document,
            " ".join(version.decks),
            str(self._kept),
            str(self._kept_bytes),
        ]

        async def commit(client: Redis) -> list[bytes]:
            return await _evaluate(client, "commit_policy", keys, arguments)

        try:
            outcome, detail = await self._run(commit)
        except LedgerUnavailable:
            outcome, detail = await self._run(commit)
        if int(outcome) < 0:
            raise DeckMissing(detail.decode())
        if int(outcome) == 0:
            raise HeadMoved(int(detail))

    async def put_deck(self, data: bytes) -> str:
        """Keep these rows, until a version names them for ten minutes, and then as long as one does; their
        SHA-256. Raises StoreFull."""
        if len(data) > MOST_DECK_BYTES:
            raise StoreFull(f"a rate deck may have {MOST_DECK_BYTES:,} bytes, not {len(data):,}")
        digest, packed = await asyncio.to_thread(lambda: (sha256(data).hexdigest(), zlib.compress(data, 6)))
        keys = [WHOLE.decks, WHOLE.deck(digest)]
        arguments: list[str | bytes] = [digest, packed, str(DECKS_BYTES)]

        async def put(client: Redis) -> int:
            return cast("int", await _evaluate(client, "put_deck", keys, arguments))

        if not await self._run(put, DEADLINE * 4):
            raise StoreFull("the rate decks of the kept versions take all the room that there is for them")
        return digest

    async def forget_decks(self, spare_seconds: int = SPARE_DECK_SECONDS) -> list[str]:
        """Drop the rows that no kept version names; their digests."""

        async def forget(client: Redis) -> list[bytes]:
            keys = [WHOLE.policy, WHOLE.decks]
            return await _evaluate(client, "forget_decks", keys, [str(spare_seconds)])

        return [digest.decode() for digest in await self._run(forget)]

    # Following

    async def follow(self, moved: Callable[[Head], Awaitable[None]]) -> None:
        """Call `moved` with the head, now and whenever it has changed, for ever: the head is asked for each
        fifth of a second, so that nothing is missed when a connection was lost. `moved` is called again when
        it raised LedgerUnavailable."""
        known: Head | None = None
        away = False
        while True:
            try:
                head = await self.head()
                if head != known:
                    await moved(head)
                    known = head
                away = False
            except LedgerUnavailable as error:
                if not away:
                    _log.warning("the policy's store is away: %s", error)
                away = True
            except Exception:  # who follows goes on following
                if not away:
                    _log.exception("the policy's store cannot be read")
                away = True
            await asyncio.sleep(POLL_SECONDS)

    # The connection

    async def _run(self, work: Callable[[Redis], Awaitable[T]], seconds: float = DEADLINE) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await work(await self._client())
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            await self.close()  # it may be elsewhere by now
            raise LedgerUnavailable(
                connect_error_kind(error), f"the policy's store: {reason_of(error)}"
            ) from None

    async def _client(self) -> Redis:
        if self._made is not None:
            return self._made
        if self._before is not None:
            await self._before()
        url = await self._topology.locate()
        self._made = Redis.from_url(
            url,
            protocol=2,
            socket_connect_timeout=DEADLINE,
            socket_timeout=None,  # every command has its own bound
            # A retry of redis-py would hide that a write may have been done.
            retry=Retry(NoBackoff(), 0),
            max_connections=8,
        )
        return self._made


_ENTRY: Final = (b"token", b"at", b"author", b"comment", b"changes", b"decks")


def _version(number: int, fields: Sequence[bytes]) -> StoredVersion:
    token, at, author, comment, changes, decks, document = fields
    return StoredVersion(
        number,
        token.decode(),
        at.decode(),
        author.decode(),
        comment.decode(),
        zlib.decompress(changes) if changes else b"",
        zlib.decompress(document) if document else b"",
        tuple(decks.decode().split()),
    )


@cache
def _source(name: str) -> str:
    return (files("proxy.ledger") / "scripts" / f"{name}.lua").read_text("utf-8")


async def _evaluate(
    client: Redis, name: str, keys: Sequence[bytes], arguments: Sequence[str | bytes]
) -> list[bytes]:
    return cast("list[bytes]", await client.eval(_source(name), len(keys), *keys, *arguments))
