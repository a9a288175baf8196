"""How late the event loop is: the earliest sign that an instance has more work than it can do."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from proxy.observe.metrics import Metrics

PERIOD = 0.1
WINDOW = 10.0


class LagWindow:
    """The greatest value of the last one to two windows: a peak stays visible until the next scrape."""

    __slots__ = ("_before", "_now", "_window", "_window_ends")

    def __init__(self, window: float = WINDOW) -> None:
        """`window` in seconds."""
        self._window = window
        self._window_ends = 0.0
        self._now = 0.0
        self._before = 0.0

    def add(self, lag: float, now: float) -> float:
        """Take one value in; the greatest one as of `now` (monotonic seconds)."""
        if now >= self._window_ends:
            stale = now >= self._window_ends + self._window
            self._before = 0.0 if stale else self._now
            self._now = 0.0
            self._window_ends = now + self._window
        self._now = max(self._now, lag)
        return max(self._now, self._before)


async def watch_loop_lag(metrics: Metrics, period: float = PERIOD) -> NoReturn:
    """Keep `metrics.event_loop_lag` up to date until cancelled: how late a timer of `period` seconds is."""
    loop = asyncio.get_running_loop()
    window = LagWindow()
    while True:
        due = loop.time() + period
        await asyncio.sleep(period)
        now = loop.time()
        metrics.event_loop_lag = window.add(max(0.0, now - due), now)
