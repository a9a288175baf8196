from __future__ import annotations

from datetime import UTC, datetime

import pytest

from config.rate_deck import read_deck
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
        "at": "2026-01-01T00:00:00.000Z",
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
    decks.keep_only(Document())
    assert (await decks.of(document))[digest] is not first[digest]


async def test_rows_that_nobody_needs_are_bounded(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.objects.store.MOST_ROWS", 3)
    decks = Decks(versions)
    read = [read_deck(b"prefix,rate_per_minute\n1,1\n2,%d\n" % n) for n in range(3)]
    document = Document()
    for number, deck in enumerate(read):
        decks.add(str(number) * 64, deck)
        document = document.create("rate_decks", f"d{number}", {"sha256": str(number) * 64}, id=str(number))
    assert list(await decks.of(document)) == ["2" * 64]
