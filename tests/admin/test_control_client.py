from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.admin.control_client import ControlClient, Shared
from proxy.admin.control_protocol import ControlError, ControlLost
from proxy.admin.control_server import ControlServer
from proxy.observe.tasks import TaskKeeper
from tests.admin.stage import Target


class Pair:
    def __init__(self, target: Target, server: ControlServer, client: ControlClient) -> None:
        self.target = target
        self.server = server
        self.client = client


@pytest.fixture
async def tasks() -> AsyncIterator[TaskKeeper]:
    keeper = TaskKeeper()
    yield keeper
    await keeper.stop()


@pytest.fixture
async def pair(tmp_path: Path, tasks: TaskKeeper) -> AsyncIterator[Pair]:
    target = Target()
    server, client = ControlServer(target), ControlClient(tasks)
    await server.start(tmp_path / "control")
    await client.connect(tmp_path / "control")
    yield Pair(target, server, client)
    client.close()
    await server.stop()


async def test_a_call(pair: Pair) -> None:
    assert (await pair.client.call("policy", within=30))["version"] == "v1"
    assert await pair.client.call("explain", {"to": "+44"}, within=30) == {
        "decision": "refused",
        "reason": "COUNTRY",
    }
    assert pair.target.explained == [{"to": "+44"}]


async def test_a_large_answer(pair: Pair) -> None:
    for number in range(5000):
        pair.target.numbers.decision(f"trunk-{number}", "refused", "CAPACITY")
    snapshot = await pair.client.call("metrics", within=30)
    assert len(snapshot["samples"]["trunkwarden_admission_decisions_total"]) > 5000


async def test_an_error_keeps_its_kind(pair: Pair) -> None:
    pair.target.failure = ValueError("bad source")
    with pytest.raises(ControlError, match="bad source") as raised:
        await pair.client.call("explain", within=30)
    assert raised.value.kind == "invalid"


async def test_no_answer_in_time(pair: Pair) -> None:
    pair.target.gate = asyncio.Event()
    with pytest.raises(ControlLost, match=r"within 0\.05 s"):
        await pair.client.call("heartbeat", within=0.05)
    pair.target.gate.set()
    # The late answer disturbs nobody.
    assert (await pair.client.call("policy", within=30))["version"] == "v1"


async def test_the_sip_process_goes_while_it_is_asked(pair: Pair) -> None:
    pair.target.gate = asyncio.Event()
    asking = asyncio.gather(pair.client.call("heartbeat", within=30), return_exceptions=True)
    while not pair.target.heartbeats:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await pair.server.stop()
    (outcome,) = await asking
    assert isinstance(outcome, ControlLost)
    assert pair.client.closed.is_set()
    with pytest.raises(ControlLost, match="gone"):
        await pair.client.call("policy", within=30)


async def test_nobody_listens(tmp_path: Path, tasks: TaskKeeper) -> None:
    with pytest.raises(FileNotFoundError):
        await ControlClient(tasks).connect(tmp_path / "nothing")


async def test_many_askers_share_one_question(tasks: TaskKeeper) -> None:
    asked = 0
    gate = asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await gate.wait()
        return asked

    shared: Shared[int] = Shared(ask, tasks, max_age=0.05)
    waiting = asyncio.gather(*(shared.get() for _ in range(20)))
    await asyncio.sleep(0)
    gate.set()
    assert await waiting == [1] * 20
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 30
    while await shared.get() == 1:
        assert loop.time() < deadline
        await asyncio.sleep(0.01)
    assert asked == 2


async def test_a_failure_is_shared_and_then_forgotten(
    tasks: TaskKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    failing = True

    async def ask() -> str:
        if failing:
            raise ControlLost("away")
        return "back"

    shared: Shared[str] = Shared(ask, tasks, max_age=0.0)
    outcomes = await asyncio.gather(shared.get(), shared.get(), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["away", "away"]
    failing = False
    assert await shared.get() == "back"
    assert "away" not in caplog.text  # nor by asyncio, of an outcome that nobody took


async def test_an_asker_who_leaves_does_not_spoil_it_for_others(tasks: TaskKeeper) -> None:
    gate = asyncio.Event()

    async def ask() -> str:
        await gate.wait()
        return "answer"

    shared: Shared[str] = Shared(ask, tasks)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(shared.get(), 0.01)
    gate.set()
    assert await shared.get() == "answer"
