from __future__ import annotations

from datetime import UTC, datetime

import pytest

from proxy.ledger.versions import Head, StoredVersion, Versions
from proxy.objects.document import Document
from proxy.objects.store import NOTHING, Decks, entry_of, etag_of, read_version

ROWS = b"prefix,rate_per_minute\n1,1\n"


async def test_what_was_committed_comes_back() -> None:
    document = Document().create("accounts", "a", {}, id="1")
    stored = StoredVersion(
        3, "t", "2026-01-01T00:00:00+00:00", "ops", "why", b'[{"id":"1"}]', document.to_json()
    )
    version = await read_version(stored)
    assert (version.number, version.etag) == (3, "3-t")
    assert version.at == datetime(2026, 1, 1, tzinfo=UTC)
    assert list(version.document) == list(document)
    entry = entry_of(stored)
    assert entry == version.entry
    assert entry.to_json() == {
        "number": 3,
        "etag": "3-t",
        "at": "2026-01-01T00:00:00+00:00",
        "author": "ops",
        "comment": "why",
        "changes": [{"id": "1"}],
    }
    assert etag_of(Head()) == NOTHING.etag
    with pytest.raises(ValueError, match="later version"):
        await read_version(StoredVersion(1, "t", "2026-01-01", "", "", b"", b'{"format": 9}'))


async def test_rows_are_read_once_while_they_are_used(versions: Versions) -> None:
    digest = await versions.put_deck(ROWS)
    decks = Decks(versions)
    document = Document().create("rate_decks", "a", {"sha256": digest}, id="1")
    document = document.create("rate_decks", "b", {"sha256": "0" * 64}, id="2")
    first = await decks.of(document)
    assert list(first) == [digest]
    assert (await decks.of(document))[digest] is first[digest]
    await decks.of(Document())
    assert (await decks.of(document))[digest] is not first[digest]
