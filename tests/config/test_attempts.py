"""Calling windows, velocity, destination limits; their messages are in tests/bad_config."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from pydantic import ValidationError

from config.attempts import CallingWindowConfig, DestinationLimitConfig, VelocityConfig, zone_of
from config.model import TrunkConfig


def test_a_window_as_its_carrier_writes_it() -> None:
    window = CallingWindowConfig.model_validate(
        {"start_time": "18:00", "end_time": "04:00:00", "calls_per_cld": "5"}
    )
    assert (window.times, window.zone, window.calls_per_cld) == ((1080, 240), UTC, 5)


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"start_time": "08:00"},
        {"end_time": "08:00"},
        {"start_time": "08:00", "end_time": "08:00"},
        {"start_time": "8:00", "end_time": "09:00"},
        {"start_time": "24:00", "end_time": "09:00"},
        {"start_time": "08:60", "end_time": "09:00"},
        {"calls_per_cld": "-1"},
        {"calls_per_cld": "1", "timezone": "Mars/Olympus"},
        {"calls_per_cld": "1", "timezone": "../../etc/passwd"},
        {"calls_per_cld": "1", "timezone": ""},
    ],
)
def test_no_window(window: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CallingWindowConfig.model_validate(window)


def test_thresholds_have_an_order() -> None:
    VelocityConfig.model_validate({"calls_per_callee": {"soft": "2", "hard": "3"}})
    for soft, hard in (("3", "3"), ("4", "3"), ("0", "3")):
        with pytest.raises(ValidationError):
            VelocityConfig.model_validate({"calls_per_callee": {"soft": soft, "hard": hard}})


def test_a_destination_limit_without_name_is_called_by_what_it_covers() -> None:
    one = DestinationLimitConfig.model_validate(
        {"prefixes": ["+447", "+1"], "countries": ["FR"], "cps_limit": 1}
    )
    assert one.label == "+1,+447,fr"
    long = DestinationLimitConfig.model_validate(
        {"prefixes": [f"+44{number}" for number in range(100, 200)], "cps_limit": 1}
    )
    other = DestinationLimitConfig.model_validate(
        {"prefixes": [f"+44{number}" for number in range(100, 201)], "cps_limit": 1}
    )
    assert len(long.label) == 64
    assert long.label != other.label


def test_a_trunk_has_a_bounded_number_of_destination_limits() -> None:
    entries = [{"prefixes": [f"+44{number}"], "capacity_limit": 1} for number in range(100, 133)]
    trunk = {"name": "a", "allowed_sip_ips": ["192.0.2.1"]}
    TrunkConfig.model_validate({**trunk, "destination_limits": entries[:32]})
    with pytest.raises(ValidationError, match="at most 32"):
        TrunkConfig.model_validate({**trunk, "destination_limits": entries})


def test_zones() -> None:
    assert zone_of("UTC") is UTC
    assert str(zone_of("Europe/London")) == "Europe/London"
