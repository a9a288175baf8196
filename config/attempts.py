"""Sections of trunks and profiles about how often and when somebody may be called: calling windows, velocity,
limits of single destinations."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from config.values import Amount, CallsPerSecond, Capacity, Country, Name, NumberPrefix, integer, show

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::00)?", re.ASCII)
_LONGEST_LABEL = 64
MOST_DESTINATIONS = 32


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _time(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:
        return value
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"must be a time of day from 00:00 to 23:59, such as `08:30`, not {show(value)}")
    return int(found[1]) * 60 + int(found[2])


def _zone(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a time zone such as `UTC` or `Europe/London`, not {show(value)}")
    zone_of(value)
    return value


def zone_of(name: str) -> tzinfo:
    """The zone of that name in the system's time zone database. Raises ValueError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        text = f"{show(name)} is no time zone that this system knows (its package `tzdata`)"
        raise ValueError(f"{text}: write `UTC` or one such as `Europe/London`") from error


def _clock_time(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


TimeOfDay = Annotated[
    int, BeforeValidator(_time), PlainSerializer(_clock_time, return_type=str, when_used="json-unless-none")
]
"""Minutes since midnight."""


class CallingWindowConfig(_Section):
    """When calls may start; both times or neither (the whole day).

    `end_time` before `start_time`: the window ends on the next day. `calls_per_cld`: how often one number may
    be tried within one window.
    """

    start_time: TimeOfDay | None = None
    end_time: TimeOfDay | None = None
    timezone: Annotated[str, BeforeValidator(_zone)] = "UTC"
    calls_per_cld: Annotated[int, integer(0, 32767)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> CallingWindowConfig:
        if (self.start_time is None) != (self.end_time is None):
            raise ValueError("needs both `start_time` and `end_time`, or neither for the whole day")
        if self.start_time is not None and self.start_time == self.end_time:
            raise ValueError("`start_time` and `end_time` are the same: leave both out for the whole day")
        if self.start_time is None and self.calls_per_cld is None:
            raise ValueError("restricts nothing: give `start_time` and `end_time`, or `calls_per_cld`")
        return self

    @property
    def times(self) -> tuple[int, int] | None:
        """Start and end in minutes since midnight; None: the whole day."""
        if self.start_time is None or self.end_time is None:
            return None
        return self.start_time, self.end_time

    @property
    def zone(self) -> tzinfo:
        return zone_of(self.timezone)


_Count = Annotated[int, integer(1, 10_000)]


class ThresholdConfig(_Section):
    """Beyond `soft` an event is told, beyond `hard` calls are refused."""

    soft: _Count | None = None
    hard: _Count | None = None

    @model_validator(mode="after")
    def _ordered(self) -> ThresholdConfig:
        if self.soft is None and self.hard is None:
            raise ValueError("needs `soft`, `hard` or both")
        if self.soft is not None and self.hard is not None and self.soft >= self.hard:
            raise ValueError(f"`soft` ({self.soft}) must be less than `hard` ({self.hard})")
        return self


class RunConfig(ThresholdConfig):
    """A run is looked for number by number, so that its thresholds are low."""

    soft: Annotated[int, integer(1, 100)] | None = None
    hard: Annotated[int, integer(1, 100)] | None = None


class VelocityThresholds(_Section):
    """What may happen within a minute towards one country; see policy.attempts.Velocity."""

    calls_per_callee: ThresholdConfig | None = None
    distinct_callees: ThresholdConfig | None = None
    sequential_numbers: RunConfig | None = None


class VelocityConfig(VelocityThresholds):
    """Thresholds of a trunk; those in `by_country` replace them towards single countries."""

    by_country: dict[Country, VelocityThresholds] = {}


class DestinationLimitConfig(_Section):
    """Limits of a trunk's calls to some countries, or to numbers that begin with some prefixes."""

    name: Name | None = None
    prefixes: tuple[NumberPrefix, ...] = ()
    countries: tuple[Country, ...] = ()
    capacity_limit: Capacity | None = None
    cps_limit: CallsPerSecond | None = None
    threshold_amount: Amount | None = None

    @model_validator(mode="after")
    def _says_something(self) -> DestinationLimitConfig:
        if not self.prefixes and not self.countries:
            raise ValueError("needs `prefixes` or `countries`: the destinations that it limits")
        if self.capacity_limit is None and self.cps_limit is None and self.threshold_amount is None:
            raise ValueError("limits nothing: give `capacity_limit`, `cps_limit` or `threshold_amount`")
        return self

    @property
    def label(self) -> str:
        """What its counts are kept under: its name, or else what it covers, in whatever order that stands in
        the file; a digest of that where it is long."""
        if self.name is not None:
            return self.name
        covered = ",".join(sorted({*self.prefixes, *(country.lower() for country in self.countries)}))
        if len(covered) <= _LONGEST_LABEL:
            return covered
        return f"{covered[: _LONGEST_LABEL - 17]}.{hashlib.sha256(covered.encode()).hexdigest()[:16]}"


def _not_too_many(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) > MOST_DESTINATIONS:
        raise ValueError(f"has {len(value)} entries: a trunk has at most {MOST_DESTINATIONS}")
    return value


DestinationLimits = Annotated[tuple[DestinationLimitConfig, ...], BeforeValidator(_not_too_many)]
