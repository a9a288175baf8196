"""The store of the policy's versions on real servers: nothing is lost, nothing done twice, nothing grows."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from proxy.ledger.keys import WHOLE
from proxy.ledger.ledger import LedgerUnavailable
from proxy.ledger.versions import (
    DECKS_BYTES,
    MOST_DECK_BYTES,
    MOST_DOCUMENT_BYTES,
    DeckMissing,
    Head,
    HeadMoved,
    StoredVersion,
    StoreFull,
    Versions,
)
from tests.ledger.fleet import ClusterFleet, SentinelFleet
from tests.ledger.servers import Server, until


@pytest.fixture
async def versions(server: Server, folder: Path) -> AsyncIterator[Versions]:
    store = Versions(server.url, folder, kept=5)
    yield store
    await store.close()


def version(number: int, document: bytes = b"{}", *decks: str, author: str = "ops") -> StoredVersion:
    token = secrets.token_hex(8)
    return StoredVersion(
        number, token, f"2026-01-01T00:00:{number:02d}+00:00", author, "é", b"[]", document, decks
    )


def head_of(one: StoredVersion) -> Head:
    return Head(one.number, one.token)


async def filled(store: Versions, count: int, document: bytes = b"{}") -> list[StoredVersion]:
    made = [version(n + 1, document) for n in range(count)]
    before = Head()
    for one in made:
        await store.commit(before, one)
        before = head_of(one)
    return made


async def test_what_was_committed_is_read_back(versions: Versions) -> None:
    assert await versions.head() == Head()
    assert await versions.load(1) is None
    assert await versions.history() == []
    (one,) = await filled(versions, 1, '{"ü": 1}'.encode())
    assert await versions.head() == head_of(one)
    assert await versions.load(1) == one


async def test_only_who_knows_the_head_moves_it(versions: Versions) -> None:
    one, two = await filled(versions, 2)
    for expected in (Head(), head_of(one), Head(2, "other")):
        with pytest.raises(HeadMoved) as moved:
            await versions.commit(expected, version(3))
        assert moved.value.number == 2
    assert await versions.head() == head_of(two)


async def test_of_many_writers_one_wins(server: Server, folder: Path) -> None:
    stores = [Versions(server.url, folder) for _ in range(4)]
    outcomes = await asyncio.gather(
        *[stores[n % 4].commit(Head(), version(1, author=str(n))) for n in range(20)], return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(HeadMoved) == 19
    kept = await stores[0].load(1)
    assert kept is not None
    assert outcomes[int(kept.author)] is None
    for store in stores:
        await store.close()


async def test_a_commit_that_is_repeated_is_done_once(versions: Versions) -> None:
    """A timeout says nothing about what the server did."""
    one = version(1)
    await versions.commit(Head(), one)
    await versions.commit(Head(), one)
    assert await versions.head() == head_of(one)
    await filled_after(versions, one)
    with pytest.raises(HeadMoved):
        await versions.commit(Head(), one)


async def filled_after(store: Versions, one: StoredVersion) -> None:
    await store.commit(head_of(one), version(one.number + 1))


async def test_history_is_paged_and_bounded(versions: Versions, server: Server) -> None:
    await filled(versions, 8)
    assert [one.number for one in await versions.history()] == [8, 7, 6, 5, 4]
    assert [one.number for one in await versions.history(limit=2)] == [8, 7]
    assert [one.number for one in await versions.history(before=6, limit=50)] == [5, 4]
    assert await versions.history(before=4) == []
    assert (await versions.history(limit=1))[0].document == b""
    assert await versions.load(3) is None
    assert len(server.client().keys("{tw}:policy:v:*")) == 5


async def test_large_documents_go_before_their_number_is_up(server: Server, folder: Path) -> None:
    store = Versions(server.url, folder, kept_bytes=10_000)
    await filled(store, 4, secrets.token_hex(4000).encode())
    numbers = [one.number for one in await store.history()]
    assert numbers[0] == 4
    assert len(numbers) < 4
    await store.close()
    # The head stays, however large it is.
    store = Versions(server.url, folder, kept_bytes=1)
    await store.commit(await store.head(), version(5))
    assert [one.number for one in await store.history()] == [5]
    fields = server.client().hgetall("{tw}:policy")
    assert int(fields[b"bytes"]) == int(server.client().hget("{tw}:policy:v:5", "size"))
    await store.close()


async def test_rows_stay_as_long_as_a_version_names_them(versions: Versions) -> None:
    rows = [b"prefix,rate_per_minute\n44,0.0%d\n" % n for n in range(3)]
    digests = [await versions.put_deck(data) for data in rows]
    one = version(1, b"{}", digests[0], digests[1])
    await versions.commit(Head(), one)
    assert await versions.forget_decks() == []  # the third may be for a version to come
    assert await versions.forget_decks(0) == [digests[2]]
    assert [await versions.deck(digest) for digest in digests] == [rows[0], rows[1], None]
    before = one
    for number in range(2, 7):
        after = version(number, b"{}", digests[1])
        await versions.commit(head_of(before), after)
        before = after
    assert await versions.forget_decks(0) == [digests[0]]
    assert await versions.deck(digests[1]) == rows[1]


async def test_a_version_does_not_name_rows_that_are_not_there(versions: Versions) -> None:
    with pytest.raises(DeckMissing, match="00"):
        await versions.commit(Head(), version(1, b"{}", "0" * 64))
    assert await versions.head() == Head()


async def test_a_document_has_its_bound(versions: Versions) -> None:
    with pytest.raises(StoreFull, match="are allowed"):
        await versions.commit(Head(), version(1, b" " * (MOST_DOCUMENT_BYTES + 1)))
    assert await versions.head() == Head()


async def test_rows_have_their_room_and_no_more(versions: Versions, server: Server) -> None:
    with pytest.raises(StoreFull):
        await versions.put_deck(b"x" * (MOST_DECK_BYTES + 1))
    server.client().hset("{tw}:policy:decks", "0" * 64, f"1 {DECKS_BYTES}")
    with pytest.raises(StoreFull):
        await versions.put_deck(b"prefix,rate_per_minute\n1,1\n")


async def test_one_that_follows_misses_nothing(versions: Versions, server: Server) -> None:
    seen: list[Head] = []
    failing = True

    async def moved(head: Head) -> None:
        nonlocal failing
        if head.number == 2 and failing:
            failing = False
            raise LedgerUnavailable("other", "while it was read", sent=False)
        seen.append(head)

    task = asyncio.get_running_loop().create_task(versions.follow(moved))
    await until(lambda: seen == [Head()])
    made = await filled(versions, 2)
    await until(lambda: seen[-1] == head_of(made[1]))
    server.kill()
    await asyncio.sleep(0.5)
    server.start()
    three = version(3)
    await versions.commit(head_of(made[1]), three)
    await until(lambda: seen[-1] == head_of(three))
    # Another version of the same number is another one.
    server.client().hset("{tw}:policy", mapping={"token": "other"})
    await until(lambda: seen[-1] == Head(3, "other"))
    task.cancel()
    await asyncio.wait([task])


async def test_a_store_that_is_away_is_said(versions: Versions, server: Server) -> None:
    server.kill()
    with pytest.raises(LedgerUnavailable):
        await versions.head()
    with pytest.raises(LedgerUnavailable):
        await versions.commit(Head(), version(1))


async def test_it_lives_in_the_slot_of_the_ledger(folder: Path) -> None:
    names = [WHOLE.policy, WHOLE.decks, WHOLE.version(1), WHOLE.deck("0")]
    assert {key_slot(name) for name in names} == {key_slot(WHOLE.clock)}


async def test_in_a_cluster(folder: Path) -> None:
    fleet = ClusterFleet("valkey", folder, key_slot(WHOLE.clock))
    try:
        store = Versions(fleet.url, folder)
        (one,) = await filled(store, 1)
        assert await store.load(1) == one
        digest = await store.put_deck(b"prefix,rate_per_minute\n1,1\n")
        await store.commit(head_of(one), version(2, b"{}", digest))
        assert [entry.number for entry in await store.history()] == [2, 1]
        await store.close()
    finally:
        fleet.close()


@pytest.mark.timeout(300)
async def test_it_follows_the_primary(folder: Path) -> None:
    fleet = SentinelFleet("valkey", folder)
    try:
        store = Versions(fleet.url, folder)
        (one,) = await filled(store, 1)
        assert fleet.primary.client.execute_command("WAIT", 1, 30_000) == 1
        fleet.kill_primary()

        async def again() -> bool:
            try:
                return await store.head() == head_of(one)
            except LedgerUnavailable:
                return False

        # A sentinel that stood still for two seconds does nothing for thirty.
        async with asyncio.timeout(80):
            while not await again():  # noqa: ASYNC110 -- nobody tells when
                await asyncio.sleep(0.1)
        await store.commit(head_of(one), version(2))
        await store.close()
    finally:
        fleet.close()
