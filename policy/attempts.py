"""How often somebody is called, and when calls may be made: rules that look at more than one call.

The rules are judged by the ledger, in the round trip of the reservation, since only there all instances count
together; the time of day is judged by the policy, with the moment of the attempt as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from policy.verdict import PASS, REFUSE, Check

KINDS = ("calls_per_callee", "distinct_callees", "sequential_numbers")
"""What velocity counts, in the order in which the ledger judges it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class Threshold:
    """Beyond `soft` something is said, beyond `hard` the call is refused; None: never."""

    soft: int | None = None
    hard: int | None = None

    @property
    def text(self) -> str:
        """Such as `soft 3, hard 10`."""
        pairs = (("soft", self.soft), ("hard", self.hard))
        return ", ".join(f"{word} {value}" for word, value in pairs if value is not None)


@dataclass(frozen=True, slots=True)
class Velocity:
    """Thresholds of one trunk towards one country, over the last minute. Refused attempts count too.

    calls_per_callee: attempts to one number. distinct_callees: different numbers that were tried.
    sequential_numbers: how many numbers next to one another were tried, this one among them.
    """

    calls_per_callee: Threshold = Threshold()
    distinct_callees: Threshold = Threshold()
    sequential_numbers: Threshold = Threshold()

    @property
    def thresholds(self) -> tuple[Threshold, Threshold, Threshold]:
        """In the order of KINDS."""
        return self.calls_per_callee, self.distinct_callees, self.sequential_numbers


@dataclass(frozen=True, slots=True)
class VelocityRules:
    """A trunk's velocity: `everywhere`, and what replaces it towards some countries (upper case). Each with
    the check that tells of it."""

    everywhere: tuple[Velocity, Check]
    by_country: Mapping[str, tuple[Velocity, Check]]

    def towards(self, country: str | None) -> tuple[Velocity, Check]:
        return self.by_country.get(country or "", self.everywhere)


@dataclass(frozen=True, slots=True)
class CallingWindow:
    """When calls may start, and how often one number may be tried within one such window.

    start, end: minutes since midnight in `zone`; where `end` is not later than `start` the window ends on the
        next day; both 0: the whole day. On a day on which clocks change the wall clock counts: what it does
        not show does not exist, what it shows twice belongs to the window twice.
    calls_per_cld: None: any number of tries.
    passed: the check of a call within the window.
    """

    scope_id: str
    start: int
    end: int
    zone: tzinfo
    calls_per_cld: int | None
    passed: Check

    def judge(self, at_ms: int) -> tuple[Check, str]:
        """The check of a call `at_ms` after 1970, and the name of the window that is open: the local date on
        which it began."""
        local = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        start, end = self.start, self.end
        inside = start <= minute < end if start < end else minute >= start or minute < end
        if not inside:
            detail = f"{local:%H:%M} is not in {self.passed.detail}"
            return Check("window", self.scope_id, REFUSE, detail), ""
        began = local - timedelta(days=1) if end <= start and minute < start else local
        return self.passed, f"{began:%Y%m%d}"


def hours(start: int, end: int, zone: str) -> str:
    """A window in words, such as `08:00 to 20:00 UTC`."""
    if start == end:
        return f"the whole day, {zone}"
    return f"{start // 60:02}:{start % 60:02} to {end // 60:02}:{end % 60:02} {zone}"


def calling_window(
    scope_id: str, times: tuple[int, int] | None, zone: tzinfo, calls_per_cld: int | None
) -> CallingWindow:
    """The window from `times` (None: the whole day)."""
    start, end = times or (0, 0)
    words = hours(start, end, str(zone))
    return CallingWindow(
        scope_id, start % _DAY_MINUTES, end % _DAY_MINUTES, zone, calls_per_cld,
        Check("window", scope_id, PASS, words),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WindowCount:
    """Tries at one callee that the ledger counts: in the calling window `opened` (a name) of a scope."""

    scope_id: str
    opened: str
    limit: int


@dataclass(frozen=True, slots=True)
class Tries:
    """What the ledger is to count of an attempt beside its scopes, refused or not.

    callee: digits, without plus. group: what its velocity is counted in, `trunk/country`; empty where
    `velocity` is None. scope_id: the trunk's. shard: the part of the ledger that counts its account.
    """

    callee: str
    group: str
    scope_id: str
    velocity: Velocity | None
    windows: tuple[WindowCount, ...] = ()
    shard: str = ""
