"""Wall time, in one place. It stamps records and log lines; the ledger's clock is the one that decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time_ns

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """The present moment, timezone-aware, in UTC."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """`moment` as RFC 3339, UTC, milliseconds: `2025-03-01T12:00:00.250Z`. A naive one is a ValueError."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be written down")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def iso_now() -> str:
    """`iso(utc_now())`."""
    return iso(utc_now())


def from_ms(milliseconds: int) -> datetime:
    """The moment that lies so many milliseconds after the epoch, exactly (no float in between)."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def now_ms() -> int:
    """The present moment in whole milliseconds since the epoch."""
    return time_ns() // 1_000_000


def iso_ms(milliseconds: int) -> str:
    """`iso(from_ms(milliseconds))`: how a ledger timestamp is shown."""
    second, rest = divmod(milliseconds, 1000)
    return f"{_second(second)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    """Up to the second: the same for all that happens in it."""
    return from_ms(second * 1000).replace(tzinfo=None).isoformat(timespec="seconds")
