from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from proxy.observe.tasks import TaskKeeper


async def test_a_task_is_kept_until_it_ends() -> None:
    keeper = TaskKeeper()
    gate = asyncio.Event()
    done: list[int] = []

    async def work() -> None:
        await gate.wait()
        done.append(1)

    keeper.start(work(), name="work")
    await asyncio.sleep(0)
    gc.collect()
    assert len(keeper) == 1
    gate.set()
    async with asyncio.timeout(30):
        while len(keeper):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert done == [1]


async def test_a_failure_is_logged_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[tuple[str, str]] = []
    keeper = TaskKeeper(lambda name, error: failures.append((name, str(error))))

    async def work() -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR):
        task = keeper.start(work(), name="breaks")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert failures == [("breaks", "broken")]
    assert "task breaks failed" in caplog.text
    assert "ValueError: broken" in caplog.text


async def test_stop_cancels_and_waits_for_the_cleaning_up() -> None:
    keeper = TaskKeeper()
    order: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            order.append("cleaned")

    keeper.start(work(), name="work")
    await asyncio.sleep(0)
    await keeper.stop()
    order.append("stopped")
    assert order == ["cleaned", "stopped"]
    assert len(keeper) == 0


async def test_a_task_that_stops_its_own_keeper_does_not_wait_for_itself() -> None:
    keeper = TaskKeeper()

    async def work() -> str:
        await keeper.stop()
        return "done"

    async with asyncio.timeout(30):
        assert await keeper.start(work(), name="suicide") == "done"


async def test_nothing_starts_once_it_stops() -> None:
    keeper = TaskKeeper()
    await keeper.stop()
    with pytest.raises(RuntimeError, match="'late'"):
        keeper.start(asyncio.sleep(0), name="late")


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.observe.tasks._ASK_AGAIN_SECONDS", 0.01)
    keeper = TaskKeeper()
    lost = 0

    async def forgetful() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    keeper.start(forgetful(), name="forgetful")
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await keeper.stop()
    assert lost == 3
    assert len(keeper) == 0
