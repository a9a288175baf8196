from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from policy.attempts import CallingWindow, Threshold, Velocity, calling_window
from policy.reasons import ReasonCode
from policy.verdict import Verdict

Judge = Callable[..., Verdict]
NewTrunk = Callable[..., dict[str, Any]]

LONDON = "+442079460018"
NEW_YORK = "+12125550100"
ZONE = ZoneInfo("Europe/London")


def window(start: int, end: int, zone: Any = UTC) -> CallingWindow:
    return calling_window("trunk:t", (start * 60, end * 60), zone, None)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("start", "end", "moment", "opened"),
    [
        (8, 20, "2026-06-01T07:59:59", None),
        (8, 20, "2026-06-01T08:00:00", "20260601"),
        (8, 20, "2026-06-01T19:59:59", "20260601"),
        (8, 20, "2026-06-01T20:00:00", None),
        (22, 6, "2026-06-01T21:59:59", None),
        (22, 6, "2026-06-01T22:00:00", "20260601"),
        (22, 6, "2026-06-02T05:59:59", "20260601"),
        (22, 6, "2026-06-02T06:00:00", None),
        (22, 0, "2026-06-01T23:59:59", "20260601"),
        (22, 0, "2026-06-02T00:00:00", None),
    ],
)
def test_a_window_and_its_name(start: int, end: int, moment: str, opened: str | None) -> None:
    check, name = window(start, end).judge(at(moment))
    assert (check.outcome, name) == (("refuse", "") if opened is None else ("pass", opened))


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-03-28T08:30:00", True),  # 08:30 GMT
        ("2026-03-28T07:30:00", False),
        ("2026-03-29T07:30:00", True),  # clocks went forward that night: 08:30 BST
        ("2026-03-29T06:59:00", False),
        ("2026-10-24T07:30:00", True),
        ("2026-10-25T07:30:00", False),  # and back: 07:30 GMT
        ("2026-10-25T08:00:00", True),
    ],
)
def test_the_wall_clock_of_the_zone_counts(moment: str, inside: bool) -> None:
    check, _ = window(8, 20, ZONE).judge(at(moment))
    assert (check.outcome == "pass") is inside


def test_an_hour_that_comes_twice_is_in_the_window_twice() -> None:
    early = window(1, 2, ZONE)
    for moment in ("2026-10-25T00:30:00", "2026-10-25T01:30:00"):
        assert early.judge(at(moment))[1] == "20261025"
    assert early.judge(at("2026-10-25T02:00:00"))[0].outcome == "refuse"


def test_without_times_the_window_is_the_day_of_the_zone() -> None:
    whole = calling_window("trunk:t", None, ZoneInfo("Asia/Tokyo"), 3)
    assert whole.judge(at("2026-06-01T14:59:59"))[1] == "20260601"
    assert whole.judge(at("2026-06-01T15:00:00"))[1] == "20260602"
    assert whole.passed.detail == "the whole day, Asia/Tokyo"


def test_outside_the_window_a_call_is_refused_after_its_rate(judge: Judge) -> None:
    hours = {"start_time": "08:00", "end_time": "20:00"}
    verdict = judge(LONDON, calling_window=hours, at_ms=at("2026-06-01T20:00:00"))
    assert verdict.reason is ReasonCode.WINDOW
    assert [check.name for check in verdict.checks][-2:] == ["rate", "window"]
    assert verdict.checks[-1].detail == "20:00 is not in 08:00 to 20:00 UTC"
    assert judge(LONDON, calling_window=hours, at_ms=at("2026-06-01T19:59:00")).reason is None
    assert judge(LONDON, calling_window=hours).reason is ReasonCode.WINDOW  # no time: nothing is known
    other = judge("+33142685300", calling_window=hours, at_ms=at("2026-06-01T20:00:00"))
    assert other.reason is ReasonCode.COUNTRY


def test_an_emergency_call_has_no_window_and_is_not_counted(judge: Judge) -> None:
    limits = {
        "calling_window": {"start_time": "08:00", "end_time": "20:00", "calls_per_cld": 0},
        "velocity": {"calls_per_callee": {"hard": 1}},
    }
    verdict = judge("112", at_ms=at("2026-06-01T23:00:00"), **limits)
    assert verdict.emergency
    assert (verdict.reason, verdict.tries) == (None, None)


def test_what_the_ledger_is_to_count(judge: Judge) -> None:
    verdict = judge(
        LONDON,
        calling_window={"calls_per_cld": 2},
        velocity={
            "calls_per_callee": {"soft": 2, "hard": 4},
            "sequential_numbers": {"hard": 5},
            "by_country": {"us": {"sequential_numbers": {"hard": 3}}},
        },
        at_ms=at("2026-06-01T12:00:00"),
    )
    assert verdict.reason is None
    tries = verdict.tries
    assert tries is not None
    assert (tries.callee, tries.group, tries.scope_id) == (
        "442079460018",
        "office-pbx/GB",
        "trunk:office-pbx",
    )
    assert tries.velocity == Velocity(Threshold(2, 4), Threshold(), Threshold(None, 5))
    assert [(one.scope_id, one.opened, one.limit) for one in tries.windows] == [
        ("trunk:office-pbx", "20260601", 2)
    ]
    told = [check for check in verdict.checks if check.name == "velocity"]
    assert [check.detail for check in told] == [
        "the ledger counts a minute: calls_per_callee soft 2, hard 4; sequential_numbers hard 5"
    ]


def test_thresholds_of_a_country_replace_those_of_all(judge: Judge) -> None:
    verdict = judge(
        NEW_YORK,
        velocity={
            "calls_per_callee": {"hard": 4},
            "distinct_callees": {"hard": 50},
            "by_country": {"us": {"distinct_callees": {"soft": 3}}},
        },
    )
    assert verdict.tries is not None
    assert verdict.tries.group == "office-pbx/US"
    assert verdict.tries.velocity == Velocity(Threshold(None, 4), Threshold(3, None), Threshold())


def test_windows_of_profile_and_trunk_must_both_be_open(judge: Judge) -> None:
    whole = {"profiles": [{"name": "day", "calling_window": {"start_time": "08:00", "end_time": "18:00"}}]}
    own = {"start_time": "12:00", "end_time": "20:00", "calls_per_cld": 1}
    for moment, scope in (("11:00", "trunk:office-pbx"), ("19:00", "profile:day"), ("13:00", None)):
        verdict = judge(
            LONDON, profile="day", calling_window=own, whole=whole, at_ms=at(f"2026-06-01T{moment}:00")
        )
        assert (verdict.reason is None) is (scope is None)
        if scope is not None:
            assert verdict.checks[-1].scope == scope


def test_a_trunk_without_such_limits_counts_nothing(judge: Judge) -> None:
    assert judge(LONDON).tries is None
