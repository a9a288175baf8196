from __future__ import annotations

import asyncio
import time

from proxy.observe.loop_lag import LagWindow, watch_loop_lag
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import TaskKeeper


def test_a_peak_stays_for_one_to_two_windows() -> None:
    window = LagWindow(10.0)
    assert window.add(0.1, 100.0) == 0.1
    assert window.add(0.9, 105.0) == 0.9
    assert window.add(0.2, 109.9) == 0.9
    assert window.add(0.3, 110.0) == 0.9
    assert window.add(0.1, 119.9) == 0.9
    assert window.add(0.1, 120.0) == 0.3


def test_nothing_is_remembered_over_a_long_pause() -> None:
    window = LagWindow(10.0)
    window.add(5.0, 0.0)
    assert window.add(0.1, 1000.0) == 0.1


async def test_a_blocked_loop_shows() -> None:
    metrics = Metrics()
    keeper = TaskKeeper()
    keeper.start(watch_loop_lag(metrics, period=0.01), name="lag")
    await asyncio.sleep(0.03)
    before = metrics.event_loop_lag
    time.sleep(before + 0.15)  # noqa: ASYNC251
    async with asyncio.timeout(30):
        while metrics.event_loop_lag < before + 0.1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await keeper.stop()
