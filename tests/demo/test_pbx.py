from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.demo.pbx import Pbx
from proxy.demo.provider import BUSY, SHORT, SILENT, Provider
from proxy.demo.user_agent import UserAgent
from proxy.observe.tasks import TaskKeeper


@pytest.fixture
async def pbx() -> AsyncIterator[Pbx]:
    """A PBX that speaks with a provider directly."""
    keeper = TaskKeeper()
    agents = [UserAgent("127.0.0.1"), UserAgent("127.0.0.1")]
    Provider(agents[1], keeper, lambda: 0.01)
    yield Pbx(agents[0], agents[1].address)
    await keeper.stop()
    for agent in agents:
        agent.close()


@pytest.mark.parametrize(
    ("ending", "talk", "patience", "status"),
    [("123", 0.01, 5.0, 200), (BUSY, 0.01, 5.0, 486), (SILENT, 0.01, 0.1, 487), (SHORT, 5.0, 5.0, 200)],
)
async def test_a_call_is_seen_through(
    pbx: Pbx, ending: str, talk: float, patience: float, status: int
) -> None:
    async with asyncio.timeout(30):
        outcome = await pbx.talk(pbx.dial("+442079460" + ending), talk, patience)
    assert outcome.status == status
    assert not pbx.up


async def test_all_calls_are_hung_up(pbx: Pbx) -> None:
    answered, ringing = pbx.dial("+442079460123"), pbx.dial("+442079460" + SILENT)
    talks = asyncio.gather(pbx.talk(answered, 60.0), pbx.talk(ringing, 60.0, 60.0))
    async with asyncio.timeout(30):
        await answered.outcome()
        await ringing.ringing.wait()
        await pbx.hang_up_all()
        outcomes = await talks
    assert [outcome.status for outcome in outcomes] == [200, 487]
    assert answered.ended.is_set()
    assert not pbx.up
