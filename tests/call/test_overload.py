"""When calls are shed: ladders of turns, with time in the test's hand."""

from __future__ import annotations

import itertools
from collections import deque

from proxy.call.overload import (
    INTERVAL_SECONDS,
    LATE_SECONDS,
    MOST_NEW,
    NEW_CALLS,
    STALE_SECONDS,
    Lateness,
    Overload,
)

STEP = 0.01


def turn(overload: Overload, now: float, *, behind: bool = False, calls: int = MOST_NEW) -> int:
    """How many of so many new calls a turn sheds."""
    overload.begin_turn(behind, now)
    return sum(overload.sheds() for _ in range(calls))


def test_queue_that_is_empty_now_and_then_sheds_nothing() -> None:
    overload = Overload(0.0)
    for number in range(100):
        now = number * INTERVAL_SECONDS
        overload.caught_up(now)
        assert turn(overload, now + INTERVAL_SECONDS - STEP, behind=True, calls=1000) == 0


def test_queue_that_stands_lets_a_few_calls_in_each_turn() -> None:
    overload = Overload(0.0)
    late = INTERVAL_SECONDS + STEP
    assert overload.stands(late)
    assert turn(overload, late) == MOST_NEW - NEW_CALLS
    assert turn(overload, late) == MOST_NEW - NEW_CALLS
    assert turn(overload, late, calls=NEW_CALLS) == 0


def test_and_none_while_calls_under_way_wait() -> None:
    overload = Overload(0.0)
    assert turn(overload, INTERVAL_SECONDS + STEP, behind=True) == MOST_NEW


def test_only_an_empty_queue_ends_it() -> None:
    overload = Overload(0.0)
    assert turn(overload, 10.0, calls=1) == 0
    assert overload.stands(20.0)
    overload.caught_up(20.0)
    assert not overload.stands(20.0 + INTERVAL_SECONDS - STEP)
    assert turn(overload, 20.0 + INTERVAL_SECONDS - STEP) == 0
    assert overload.stands(20.0 + INTERVAL_SECONDS + STEP)


def test_timers_that_are_late_for_long() -> None:
    late = Lateness()
    assert not late.stands(100.0)
    late.fired(100.0 - 2 * LATE_SECONDS, 100.0)  # the first for ages
    assert not late.stands(100.0 + STEP)
    for step in range(1, 120):
        late.fired(100.0 + step * STEP - 2 * LATE_SECONDS, 100.0 + step * STEP)
        assert late.stands(100.0 + step * STEP) == (step * STEP > INTERVAL_SECONDS)
    assert not late.stands(101.2 + INTERVAL_SECONDS)  # what was long ago says nothing
    late.fired(105.0 - 2 * LATE_SECONDS, 105.0)
    assert not late.stands(105.0 + STEP)


def test_one_timer_in_time_ends_it() -> None:
    late = Lateness()
    for step in range(120):
        late.fired(step * STEP - 2 * LATE_SECONDS, step * STEP)
    assert late.stands(1.2)
    late.fired(1.2 - STEP, 1.2)
    late.fired(1.21 - 2 * LATE_SECONDS, 1.21)
    assert not late.stands(1.22)


def simulate(times: float, seconds: float = 30.0, hold: float = 0.3) -> tuple[float, float]:
    """A server that could complete 1,000 calls a second, each a new call of 300 µs and 7 messages of 100 µs
    over its `hold`; turning away costs 50 µs. What it completes a second with `times` as many, and the
    largest change from one second to the next, as a share."""
    overload = Overload(0.0)
    now, arrived = 0.0, 0
    new: deque[float] = deque()
    later: deque[float] = deque()  # messages of calls under way, by when they come
    completed = [0] * (int(seconds) + 3)
    offered = 1000 * times
    while now < seconds:
        while arrived / offered <= now:
            new.append(arrived / offered)
            arrived += 1
        waiting = 0
        while later and later[0] <= now and waiting < 44:
            later.popleft()
            waiting += 1
        behind = bool(later and later[0] <= now)
        stands = overload.stands(now)
        began = now
        now += waiting * 0.0001
        completed[int(now)] += waiting
        overload.begin_turn(behind, began)
        while new and new[0] < began - STALE_SECONDS:
            new.popleft()
            now += 0.00001
        for _ in range(min(len(new), MOST_NEW if stands else 64 - waiting)):
            new.popleft()
            if overload.sheds():
                now += 0.00005
                continue
            now += 0.0003
            # The messages of a call come evenly over its time; sorted by making all calls alike.
            for part in range(7):
                later.append(now + hold * part / 7)
        later = deque(sorted(later)) if later else later
        if not new and not behind:
            overload.caught_up(now)
            now = max(now, began + 0.0002)
    steady = [count / 7 for count in completed[3 : int(seconds)]]
    changes = [abs(a - b) for a, b in itertools.pairwise(steady)]
    return sum(steady) / len(steady), max(changes) / 1000


def test_below_what_can_be_served_nothing_is_lost() -> None:
    rate, _ = simulate(0.9, 12.0)
    assert rate > 895


def test_in_overload_most_is_left_and_nothing_swings() -> None:
    # A little above what can be served, the queue empties now and then, and needs its time to stand again.
    for times, most in ((1.2, 0.25), (3.0, 0.1), (10.0, 0.1)):
        rate, change = simulate(times, 12.0)
        assert rate > 800, times
        assert change < most, times
