"""Some hundred calls are held, and hung up at once: what `make soak` does with thousands."""

from __future__ import annotations

import pytest

from benchmarks.callers import Callers
from benchmarks.generator import CALLED, CALLER_HOST
from benchmarks.held_calls import Figures, Stage, stage, wait_for

pytestmark = pytest.mark.alone

CALLS, RATE = 300, 60.0
T1_MS = 50
KEYS_A_CALL = 3
FEW = 10
GONE_SECONDS = 30.0  # `make soak` asks for the five that are promised
LOOKS = 10


def steady(on: Stage, callers: Callers) -> Figures:
    """What it holds, once that is what it held a moment ago: a program that has just begun opens and starts
    something yet."""
    seen = on.figures(idle=True)
    for _ in range(LOOKS):
        callers.hold(0.3)
        before, seen = seen, on.figures(idle=True)
        if (seen.descriptors, seen.threads, seen.tasks) == (before.descriptors, before.threads, before.tasks):
            break
    return seen


@pytest.mark.timeout(240)
def test_what_was_held_comes_back(tmp_path) -> None:
    with stage(tmp_path, T1_MS) as on:
        callers = Callers(on.address, CALLER_HOST, CALLED)
        try:
            callers.place(10, RATE)
            callers.hang_up()
            wait_for(lambda: on.leases() == 0, GONE_SECONDS, "the end of the first leases")
            before = steady(on, callers)
            callers.place(CALLS, RATE)
            callers.hold(1.0)
            held = on.figures(idle=False)
            callers.hang_up()
            wait_for(lambda: on.leases() == 0, GONE_SECONDS, "the end of all leases")
            after = on.figures(idle=True)
        finally:
            callers.close()
    assert held.leases == CALLS
    # Others come and go with the minutes: who audits, buckets of the window.
    more = held.keys - held.tombstones - (before.keys - before.tombstones)
    assert abs(more - KEYS_A_CALL * CALLS) < FEW
    assert (after.descriptors, after.threads) == (before.descriptors, before.threads)
    assert (held.tasks, after.tasks) == (before.tasks, before.tasks)  # a call has none
    assert abs(after.keys - after.tombstones - (before.keys - before.tombstones)) < FEW
    assert after.tombstones - before.tombstones == CALLS
    assert after.unreachable < CALLS / 10
