"""When calls are shed: ladders of waits, with time in the test's hand."""

from __future__ import annotations

import itertools

from proxy.call.overload import BURST_SECONDS, INTERVAL_SECONDS, STANDING_SECONDS, Overload

STEP = 0.01


def test_nothing_waits() -> None:
    overload = Overload(0.0)
    assert not any(overload.sheds(0.0, number * STEP) for number in range(1000))


def test_short_waits_are_fine_for_ever() -> None:
    overload = Overload(0.0)
    assert not any(overload.sheds(STANDING_SECONDS, number * STEP) for number in range(1000))


def test_burst_that_passes_is_served_whole() -> None:
    """Hundreds of calls at once, and the queue is empty again before the interval is over."""
    overload = Overload(0.0)
    overload.caught_up(10.0)
    assert not overload.sheds(BURST_SECONDS, 10.0 + BURST_SECONDS)
    overload.caught_up(10.0 + BURST_SECONDS)
    assert not overload.sheds(BURST_SECONDS, 10.0 + 2 * BURST_SECONDS)


def test_who_waited_until_his_caller_sends_again_is_shed() -> None:
    overload = Overload(0.0)
    overload.caught_up(10.0)
    assert overload.sheds(BURST_SECONDS + STEP, 10.0 + BURST_SECONDS + STEP)


def test_queue_that_stands_is_shed_down_to_its_limit() -> None:
    overload = Overload(0.0)
    late = INTERVAL_SECONDS + STEP
    assert overload.sheds(STANDING_SECONDS + STEP, late)
    assert not overload.sheds(STANDING_SECONDS - STEP, late)
    # That the queue is short does not end it: it is short because calls are shed.
    assert overload.sheds(STANDING_SECONDS + STEP, late + 10.0)
    overload.caught_up(late + 10.0)
    assert not overload.sheds(STANDING_SECONDS + STEP, late + 10.0 + STEP)


def test_one_quiet_moment_after_a_long_silence_is_no_overload() -> None:
    """The last time that nothing waited may be long ago, when nothing came at all: whoever serves says so."""
    overload = Overload(0.0)
    overload.caught_up(3600.0)
    assert not overload.sheds(STANDING_SECONDS + STEP, 3600.1)


def simulate(offered: float, seconds: float = 30.0) -> tuple[float, float, float]:
    """A server that serves 1,000 calls a second, and turns one away in a twentieth of that time. What was
    served a second after the first seconds, the longest wait then, and the largest change from one second to
    the next."""
    overload = Overload(0.0)
    cost, shed_cost = 0.001, 0.00005
    now, arrived, queue = 0.0, 0, []
    served = [0] * (int(seconds) + 2)
    longest = 0.0
    while now < seconds:
        while arrived / offered <= now:
            queue.append(arrived / offered)
            arrived += 1
        if not queue:
            overload.caught_up(now)
            now = arrived / offered
            continue
        since = queue.pop(0)
        if overload.sheds(now - since, now):
            now += shed_cost
            continue
        if now > 3.0:
            longest = max(longest, now - since)
        served[int(now)] += 1
        now += cost
    steady = served[3 : int(seconds)]
    changes = [abs(a - b) for a, b in itertools.pairwise(steady)]
    return sum(steady) / len(steady), longest, max(changes) / 1000


def test_below_what_can_be_served_nothing_is_shed() -> None:
    rate, longest, _ = simulate(950)
    assert rate >= 949
    assert longest < STANDING_SECONDS


def test_in_overload_it_serves_what_it_can_without_waves() -> None:
    for times in (1.1, 1.5, 3.0, 6.0):
        rate, longest, change = simulate(1000 * times)
        possible = (1 - times * 0.05) / (1 - 0.05) * 1000
        assert rate > 0.97 * possible, times
        assert longest <= STANDING_SECONDS + 0.01, times
        assert change < 0.05, times
