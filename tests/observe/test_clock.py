from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from proxy.observe.clock import from_ms, iso, iso_ms, iso_now, utc_now


def test_now_is_aware_and_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)
    assert iso_now().endswith("Z")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2025, 3, 1, 12, 0, 0, 250_999, UTC), "2025-03-01T12:00:00.250Z"),
        (
            datetime(2025, 3, 1, 12, 0, 0, 0, timezone(timedelta(hours=5, minutes=30))),
            "2025-03-01T06:30:00.000Z",
        ),
    ],
)
def test_iso(moment: datetime, text: str) -> None:
    assert iso(moment) == text


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        iso(datetime(2025, 3, 1))  # noqa: DTZ001


def test_milliseconds_are_exact() -> None:
    assert iso_ms(1_740_830_400_001) == "2025-03-01T12:00:00.001Z"
    assert from_ms(4_102_444_800_999) == datetime(2100, 1, 1, 0, 0, 0, 999_000, UTC)
