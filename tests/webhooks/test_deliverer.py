"""What is due is told, on a real queue and to real receivers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from config.web_address import Reach
from proxy.ledger.hook_queue import HookQueue, open_hook_queue
from proxy.observe.tasks import TaskKeeper
from proxy.routing.names import Names
from proxy.webhooks.counts import Counts
from proxy.webhooks.deliverer import AT_ONCE_EACH, Deliverer
from proxy.webhooks.sender import Sender
from proxy.webhooks.settings import HookSettings, Recipient
from tests.ledger.servers import PATIENT, Server, until
from tests.webhooks.receiver import Answer, Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = b'{"type":"policy.changed","timestamp":"2025-03-01T12:00:00.000Z","data":{}}'
REACH = Reach((ip_network("127.0.0.0/8"),))


class Stage:
    def __init__(self, queue: HookQueue) -> None:
        self.queue = queue
        self.keeper = TaskKeeper()
        self.counts = Counts()
        self.deliverer = Deliverer(queue, self.keeper, self.counts)
        self.deliverer.sender = Sender(Names(), reach=REACH, callback_reach=Reach(), timeout=PATIENT)

    def tell(self, *retries: int, **urls: str) -> None:
        """Who is told, and the pauses between tries."""
        recipients = {name: Recipient(name, url, SECRET, ("policy.changed",)) for name, url in urls.items()}
        self.deliverer.settings = HookSettings(recipients, {}, "USD", REACH, Reach(), PATIENT, retries, None)

    async def all_told(self) -> None:
        while await self.deliverer.look():
            pass
        await until(lambda: len(self.keeper) == 0)


@pytest.fixture
async def stage(server: Server) -> AsyncIterator[Stage]:
    server.client().flushall()
    made = Stage(await open_hook_queue(server.url, Path(), "one", deadline=PATIENT))
    yield made
    await made.keeper.stop()
    await made.queue.close()


async def test_what_is_due_is_told(stage: Stage, receiver: Receiver) -> None:
    stage.tell(60, ops=receiver.url())
    put = await stage.queue.put(EVENT, ["ops"])
    await stage.all_told()
    assert put is not None
    assert [(one.id, one.body) for one in receiver.received] == [(put[0], EVENT)]
    assert await stage.queue.sizes() == (0, 0)
    assert stage.counts.deliveries["delivered"] == 1


async def test_tries_follow_the_schedule_and_end(stage: Stage, receiver: Receiver, server: Server) -> None:
    receiver.answer = lambda _: Answer(500)
    stage.tell(10, 1000, ops=receiver.url())
    await stage.queue.put(EVENT, ["ops"])
    for pause in (10_000, 1_000_000):
        await stage.all_told()
        ((_, due),) = server.client().zrange("{tw}:hooks:q:ops", 0, -1, withscores=True)
        now = int(server.client().get("{tw}:clock") or 0) // 1000
        assert 0.85 * pause < due - now <= 1.1 * pause
        server.client().zadd("{tw}:hooks:q:ops", {_: 0})  # its time has come
        server.client().zadd("{tw}:hooks:due", {"ops": 0})
    await stage.all_told()
    (letter,) = await stage.queue.dead()
    assert (letter.attempts, letter.why) == (3, "answered with 500")
    assert len(receiver.received) == 3
    assert (stage.counts.deliveries["failed"], stage.counts.deliveries["dead"]) == (3, 1)


async def test_who_asks_for_more_time_gets_it(stage: Stage, receiver: Receiver, server: Server) -> None:
    receiver.answer = lambda _: Answer(503, {"Retry-After": "500"})
    stage.tell(1, ops=receiver.url())
    await stage.queue.put(EVENT, ["ops"])
    await stage.all_told()
    ((_, due),) = server.client().zrange("{tw}:hooks:q:ops", 0, -1, withscores=True)
    assert due - int(server.client().get("{tw}:clock") or 0) // 1000 > 490_000


async def test_who_is_gone_is_not_asked_again(stage: Stage, receiver: Receiver) -> None:
    receiver.answer = lambda _: Answer(410)
    stage.tell(60, 60, ops=receiver.url())
    await stage.queue.put(EVENT, ["ops"])
    await stage.all_told()
    assert [letter.attempts for letter in await stage.queue.dead()] == [1]


async def test_slow_endpoint_holds_nobody_up(stage: Stage, receiver: Receiver) -> None:
    gate, slow = threading.Event(), Receiver()
    slow.answer = lambda _: Answer(gate=gate)
    stage.tell(60, slow=slow.url(), quick=receiver.url())
    for _ in range(20):
        await stage.queue.put(EVENT, ["slow", "quick"])

    async def all_quick() -> None:
        while len(receiver.received) < 20:
            await stage.deliverer.look()
            await asyncio.sleep(0.01)

    await asyncio.wait_for(all_quick(), 30)
    assert len(slow.received) <= AT_ONCE_EACH
    gate.set()
    while await stage.queue.sizes() != (0, 0):
        await stage.all_told()
    assert len({one.id for one in slow.received}) == 20
    slow.close()


async def test_endpoint_that_is_not_known_here_may_be_elsewhere(stage: Stage) -> None:
    stage.tell(60, other="http://127.0.0.1:1/")
    await stage.queue.put(EVENT, ["ops"])
    await stage.all_told()
    assert await stage.queue.sizes() == (1, 0)
    stage.tell(other="http://127.0.0.1:1/")  # what is older than all tries take is given up
    await stage.queue.put(EVENT, ["ops"])
    await asyncio.sleep(0.01)
    await stage.all_told()
    assert [letter.why for letter in await stage.queue.dead()] == ["there is no such endpoint any more"]


async def test_what_leads_inside_is_refused(stage: Stage, receiver: Receiver) -> None:
    stage.deliverer.sender = Sender(Names(), reach=Reach(), callback_reach=REACH, timeout=PATIENT)
    stage.tell(60, ops=receiver.url())
    await stage.queue.put(EVENT, ["ops"])
    await stage.all_told()
    assert stage.counts.deliveries["refused"] == 1
    assert receiver.received == []
