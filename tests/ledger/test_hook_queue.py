"""The queue of events on real servers: each event once, each delivery at least once, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.ledger import lua
from proxy.ledger.hook_queue import MOST_DEAD, MOST_WAITING, Guard, HookQueue, open_hook_queue
from proxy.ledger.ledger import LedgerUnavailable
from tests.ledger.servers import PATIENT, Server

# Milliseconds that pass where it is said, and that a busy machine does not let pass elsewhere; a claim that
# stands as long as the test.
SPAN, LONG = 60_000, 3_600_000
EVENT = b'{"type":"a"}'
Open = Callable[..., Awaitable[HookQueue]]


@asynccontextmanager
async def queues_of(server: Server) -> AsyncIterator[Open]:
    queues: list[HookQueue] = []

    async def one(instance: str = "one") -> HookQueue:
        queues.append(await open_hook_queue(server.url, server.folder, instance, deadline=PATIENT))
        return queues[-1]

    yield one
    for queue in queues:
        await queue.close()


@pytest.fixture
async def opened(server: Server) -> AsyncIterator[Open]:
    async with queues_of(server) as opener:
        yield opener


@pytest.fixture
async def queue(opened: Open) -> HookQueue:
    return await opened()


@pytest.fixture
async def timed(timed_server: Server) -> AsyncIterator[Open]:
    """For tests in which time passes."""
    async with queues_of(timed_server) as opener:
        yield opener


def pass_by(server: Server) -> None:
    """A span passes, once in a test."""
    server.move_clock(SPAN / 1000 + 1)


@pytest.mark.parametrize("verb", lua.HOOK_VERBS)
def test_the_flags_stay_the_first_line(verb: str) -> None:
    source = lua.script(verb).source
    assert source.startswith(b"#!lua")
    assert b"tostring(" not in source.replace(b"call[tostring(i)]", b"").split(b"-- KEYS clock")[-1]


async def test_event_is_told_to_each_endpoint_under_one_id(queue: HookQueue) -> None:
    put = await queue.put(EVENT, ["a", "b"])
    assert put is not None
    claimed = await queue.claim(10, LONG)
    assert [(one.id, one.endpoint, one.event, one.attempt) for one in claimed] == [
        (put[0], "a", EVENT, 1),
        (put[0], "b", EVENT, 1),
    ]
    assert await queue.claim(10, LONG) == []
    for one in claimed:
        await queue.done(one)
    assert await queue.sizes() == (0, 0)


async def test_ids_are_in_order(queue: HookQueue) -> None:
    ids = [put[0] for _ in range(20) if (put := await queue.put(EVENT, ["a"])) is not None]
    assert ids == sorted(ids)
    assert len(set(ids)) == 20
    assert all(one.startswith("msg_") and "." not in one for one in ids)


async def test_event_of_a_state_is_told_once_over_all_instances(opened: Open) -> None:
    queues = [await opened(name) for name in ("one", "two", "three")]
    for value, told in (("reached", 1), ("reached", 0), ("free", 1), ("reached", 1)):
        puts = await asyncio.gather(
            *(
                one.put(EVENT, ["a"], Guard("state", "threshold:t", value, quiet=value == "free"))
                for one in queues
            )
        )
        assert sum(put is not None for put in puts) == told, value
    assert await queues[0].states() == {"threshold:t": "reached"}
    await queues[0].forget(["threshold:t"])
    assert await queues[0].states() == {}


async def test_state_that_nobody_knew_better_is_taken_in_silence(queue: HookQueue) -> None:
    assert await queue.put(EVENT, ["a"], Guard("state", "status:t", "active", quiet=True)) is None
    assert await queue.put(EVENT, ["a"], Guard("state", "status:t", "blocked", quiet=True)) is not None


async def test_once_in_so_long(timed: Open, timed_server: Server) -> None:
    queue = await timed()
    guard = Guard("once", "rejected:t", str(SPAN))
    assert await queue.put(EVENT, ["a"], guard) is not None
    assert await queue.put(EVENT, ["a"], guard) is None
    pass_by(timed_server)
    assert await queue.put(EVENT, ["a"], guard) is not None


async def test_claim_that_is_not_settled_is_due_again(timed: Open, timed_server: Server) -> None:
    one, two = await timed("one"), await timed("two")
    await one.put(EVENT, ["a"])
    (lost,) = await one.claim(1, SPAN)
    assert await two.claim(1, LONG) == []
    pass_by(timed_server)
    (again,) = await two.claim(1, LONG)
    assert (again.id, again.attempt) == (lost.id, 2)
    await one.again(lost, 0, "too late")  # whose claim it is no more
    await one.bury(lost, "too late")
    assert await one.claim(1, LONG) == []
    assert await one.sizes() == (1, 0)
    await one.done(lost)  # it was told, all the same
    assert await one.sizes() == (0, 0)
    await two.done(again)


async def test_one_of_each_endpoint_and_none_of_those_that_are_left_alone(queue: HookQueue) -> None:
    for _ in range(3):
        await queue.put(EVENT, ["a", "b", "c"])
    assert [one.endpoint for one in await queue.claim(10, LONG)] == ["a", "b", "c"]
    assert sorted(one.endpoint for one in await queue.claim(10, LONG, ["b"])) == ["a", "c"]
    assert len(await queue.claim(1, LONG)) == 1


async def test_pause_between_tries(timed: Open, timed_server: Server) -> None:
    queue = await timed()
    await queue.put(EVENT, ["a"])
    (one,) = await queue.claim(1, LONG)
    await queue.again(one, SPAN, "answered with 500")
    assert await queue.claim(1, LONG) == []
    pass_by(timed_server)
    assert [found.attempt for found in await queue.claim(1, LONG)] == [2]


async def test_dead_letters_are_kept_and_can_be_told_again(queue: HookQueue) -> None:
    put = await queue.put(EVENT, ["a", "b"])
    assert put is not None
    for one in await queue.claim(2, LONG):
        await queue.bury(one, f"{one.endpoint} is gone")
    assert await queue.sizes() == (0, 2)
    letters = await queue.dead()
    assert sorted((one.id, one.endpoint, one.event, one.attempts, one.why) for one in letters) == [
        (put[0], "a", EVENT, 1, "a is gone"),
        (put[0], "b", EVENT, 1, "b is gone"),
    ]
    assert await queue.replay("msg_other") == 0
    assert await queue.replay(put[0]) == 2
    assert await queue.dead() == []
    assert sorted((one.endpoint, one.attempt) for one in await queue.claim(2, LONG)) == [("a", 1), ("b", 1)]


async def test_queue_of_an_endpoint_is_bounded(queue: HookQueue) -> None:
    first = await queue.put(EVENT, ["a"])
    assert first is not None
    for _ in range(MOST_WAITING - 1):
        await queue.put(EVENT, ["a"])
    last = await queue.put(EVENT, ["a", "b"])
    assert last is not None
    assert last[1] == 1
    assert await queue.sizes() == (MOST_WAITING + 1, 1)
    (letter,) = await queue.dead()
    assert (letter.id, letter.why) == (first[0], "too many wait for this endpoint")


async def test_dead_letters_are_bounded(queue: HookQueue, server: Server) -> None:
    for _ in range(MOST_DEAD + 3):
        await queue.put(EVENT, ["a"])
        (one,) = await queue.claim(1, LONG)
        await queue.bury(one, "x")
    assert await queue.sizes() == (0, MOST_DEAD)
    assert len(list(server.client().scan_iter("{tw}:hooks:d:*", 5000))) == MOST_DEAD


async def test_one_instance_watches(timed: Open, timed_server: Server) -> None:
    one, two = await timed("one"), await timed("two")
    assert (await one.watch([], [], {}, SPAN)).leads
    assert not (await two.watch([], [], {}, SPAN)).leads
    assert await two.put(EVENT, ["a"], led=True) is None
    assert await one.put(EVENT, ["a"], led=True) is not None
    pass_by(timed_server)
    assert (await two.watch([], [], {}, LONG)).leads
    assert await one.put(EVENT, ["a"], led=True) is None


async def test_what_all_instances_saw(timed: Open, timed_server: Server) -> None:
    one, two = await timed("one"), await timed("two")
    await one.watch(["p"], ["p", "q"], {"t": 500}, LONG)
    pass_by(timed_server)
    await two.watch(["q"], ["p", "q"], {"t": 300, "u": 7}, LONG)
    watch = await one.watch([], ["p", "q"], {"t": 400}, LONG)
    assert watch.idle_ms["p"] >= SPAN > watch.idle_ms["q"]
    assert watch.short == {"t": 300, "u": 7}
    await one.forget((), ["t"])
    assert (await one.watch([], [], {}, LONG)).short == {"u": 7}


async def test_ledger_that_is_away(opened: Open, server: Server) -> None:
    queue = await opened()
    server.kill()
    with pytest.raises(LedgerUnavailable):
        await queue.put(EVENT, ["a"])


async def test_it_outlives_the_server(opened: Open, server: Server) -> None:
    queue = await opened()
    await queue.put(EVENT, ["a"])
    server.kill()
    server.start()
    async with asyncio.timeout(20):
        while True:
            try:
                (one,) = await queue.claim(1, LONG)
                break
            except LedgerUnavailable:
                await asyncio.sleep(0.05)
    assert one.event == EVENT
