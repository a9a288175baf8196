from __future__ import annotations

from collections import Counter

from proxy.demo.provider import BUSY, SHORT, SILENT
from proxy.demo.traffic import MEAN_PAUSE_SECONDS, RING_SECONDS, Traffic


def test_the_same_seed_gives_the_same_calls() -> None:
    first, second, other = Traffic(1), Traffic(1), Traffic(2)
    calls = [first.next() for _ in range(50)]
    assert calls == [second.next() for _ in range(50)]
    assert calls != [other.next() for _ in range(50)]


def test_everybody_calls_and_the_office_most() -> None:
    traffic = Traffic(3)
    callers = Counter(traffic.next().caller for _ in range(2000))
    assert callers.keys() == {"office", "shop", "stranger"}
    assert callers.most_common(1)[0][0] == "office"


def test_random_digits_mean_nothing_to_the_provider() -> None:
    traffic = Traffic(4)
    numbers = [traffic.next().number for _ in range(2000)]
    endings = (BUSY, SILENT, SHORT)
    special = {number for number in numbers if number.endswith(endings)}
    assert special == {"+442079460" + ending for ending in endings}
    assert not any("." in number for number in numbers)


def test_pauses_and_rings_have_bounds() -> None:
    traffic = Traffic(5)
    pauses = [traffic.pause() for _ in range(2000)]
    assert min(pauses) >= 0
    assert max(pauses) <= 3 * MEAN_PAUSE_SECONDS
    rings = [traffic.ring_seconds() for _ in range(200)]
    assert RING_SECONDS[0] <= min(rings)
    assert max(rings) <= RING_SECONDS[1]
