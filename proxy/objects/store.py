"""Documents in the ledger's store of versions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from config.rate_deck import ReadDeck, read_deck
from proxy.ledger.versions import Head, StoredVersion
from proxy.objects.document import Document
from proxy.observe.clock import iso


class Versions(Protocol):
    """What is needed of `proxy.ledger.versions.Versions`."""

    async def head(self) -> Head: ...

    async def load(self, number: int) -> StoredVersion | None: ...

    async def history(self, before: int | None = None, limit: int = 50) -> list[StoredVersion]: ...

    async def commit(self, expected: Head, version: StoredVersion) -> None: ...

    async def deck(self, digest: str) -> bytes | None: ...

    async def put_deck(self, data: bytes) -> str: ...

    async def forget_decks(self) -> list[str]: ...

    def close(self) -> Awaitable[None]: ...


MOST_ROWS: Final = 2_000_000  # of rate decks that no document names yet, and those that one does


@dataclass(frozen=True, slots=True)
class Entry:
    """A version without its document. `changes`: mappings of kind, name, id, change and fields."""

    number: int
    etag: str
    at: datetime
    author: str
    comment: str
    changes: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """As a plain mapping."""
        return {
            "number": self.number,
            "etag": self.etag,
            "at": iso(self.at),
            "author": self.author,
            "comment": self.comment,
            "changes": list(self.changes),
        }


@dataclass(frozen=True, slots=True)
class Version:
    """A version with its document. Number 0: nothing was ever put into the store. `etag` is of the whole: it
    changes with every version."""

    entry: Entry
    document: Document

    @property
    def number(self) -> int:
        return self.entry.number

    @property
    def etag(self) -> str:
        return self.entry.etag

    @property
    def at(self) -> datetime:
        return self.entry.at


NOTHING = Version(Entry(0, "0", datetime(1970, 1, 1, tzinfo=UTC), "", "", ()), Document())


def etag_of(head: Head) -> str:
    """The version's etag."""
    return f"{head.number}-{head.token}" if head.number else "0"


def entry_of(stored: StoredVersion) -> Entry:
    """The entry that was committed."""
    return Entry(
        stored.number,
        etag_of(Head(stored.number, stored.token)),
        datetime.fromisoformat(stored.at),
        stored.author,
        stored.comment,
        tuple(json.loads(stored.changes or b"[]")),
    )


async def read_version(stored: StoredVersion) -> Version:
    """The version that was committed. Raises ValueError for what a later version of the program wrote."""
    document = await asyncio.to_thread(Document.from_json, stored.document)
    return Version(entry_of(stored), document)


class Decks:
    """The rows of rate decks by their digests, each read once for as long as it is kept."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._read: dict[str, ReadDeck] = {}

    def add(self, digest: str, deck: ReadDeck) -> None:
        """Rows that were read already. Those that have been kept for longest go when all are too many."""
        self._read.pop(digest, None)
        self._read[digest] = deck
        rows = sum(len(read.deck) for read in self._read.values())
        for oldest in list(self._read)[:-1]:
            if rows <= MOST_ROWS:
                return
            rows -= len(self._read.pop(oldest).deck)

    def keep_only(self, document: Document) -> None:
        """Forget the rows that the document does not name."""
        named = document.decks()
        self._read = {digest: deck for digest, deck in self._read.items() if digest in named}

    async def of(self, document: Document) -> dict[str, ReadDeck]:
        """The rows that the document names, as far as the store has them."""
        found = {}
        for digest in document.decks():
            deck = self._read.get(digest)
            if deck is None:
                data = await self._versions.deck(digest)
                if data is None:
                    continue
                deck = await asyncio.to_thread(read_deck, data)
                self.add(digest, deck)
            found[digest] = deck
        return found
