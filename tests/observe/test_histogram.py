from __future__ import annotations

import pytest

from proxy.observe.histogram import Histogram


@pytest.mark.parametrize(
    ("value", "bucket"), [(0.0, 0), (0.5, 0), (1.0, 0), (1.0000001, 1), (2.0, 1), (2.5, 2), (-1.0, 0)]
)
def test_bounds_are_inclusive_upper_bounds(value: float, bucket: int) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)
    assert histogram.counts == [int(index == bucket) for index in range(3)]
    assert histogram.total == value
