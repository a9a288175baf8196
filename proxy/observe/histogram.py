"""Histogram: durations counted into fixed buckets, cheap enough for every call."""

from __future__ import annotations

from bisect import bisect_left

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds, each inclusive; what is above the last counts towards +Inf only."""


class Histogram:
    """`counts[i]` is how many values fell into bucket i alone (not cumulated); the last one is +Inf's."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count `value`, in seconds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
