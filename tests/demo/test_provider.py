from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.demo.provider import BUSY, SHORT, SILENT, Provider
from proxy.demo.user_agent import UserAgent
from proxy.observe.tasks import TaskKeeper
from proxy.sip.timers import Timers


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    keeper = TaskKeeper()
    agent = UserAgent("127.0.0.1")
    yield Provider(agent, keeper, lambda: 0.01)
    await keeper.stop()
    agent.close()


@pytest.fixture
async def caller() -> AsyncIterator[UserAgent]:
    """It says nothing twice, also where the machine stands still for a moment."""
    agent = UserAgent("127.0.0.1", timers=Timers(t1=5.0, t2=5.0))
    yield agent
    agent.close()


async def test_it_rings_and_answers(provider: Provider, caller: UserAgent) -> None:
    call = caller.call("+442079460123", provider.agent.address)
    async with asyncio.timeout(30):
        assert (await call.outcome()).status == 200
        assert call.provisional == [180]
        assert await call.hang_up() == 200
    assert provider.seen == 1


async def test_a_busy_number(provider: Provider, caller: UserAgent) -> None:
    call = caller.call("+442079460" + BUSY, provider.agent.address)
    async with asyncio.timeout(30):
        assert (await call.outcome()).status == 486
    assert call.provisional == []


async def test_a_number_where_nobody_answers(provider: Provider, caller: UserAgent) -> None:
    call = caller.call("+442079460" + SILENT, provider.agent.address)
    async with asyncio.timeout(30):
        await call.ringing.wait()
        call.cancel()
        assert (await call.outcome()).status == 487


async def test_a_number_that_hangs_up_first(provider: Provider, caller: UserAgent) -> None:
    call = caller.call("+442079460" + SHORT, provider.agent.address)
    async with asyncio.timeout(30):
        assert (await call.outcome()).status == 200
        await call.ended.wait()
