"""Telnyx' fields ↔ the spec of our profile."""

from __future__ import annotations

from typing import Any

import pytest

from config.model import ProfileConfig
from proxy.admin.facades.telnyx.fields import ProfileFields
from proxy.admin.facades.telnyx.profile import FieldError, changed, new_profile, resource

# The body of the example of the API's own description.
EXAMPLE: dict[str, Any] = {
    "billing_group_id": "6a09cdc3-8948-47f0-aa62-74ac943d6c58",
    "concurrent_call_limit": 10,
    "daily_spend_limit": "100.00",
    "daily_spend_limit_enabled": True,
    "enabled": True,
    "max_destination_rate": 10,
    "name": "office",
    "service_plan": "global",
    "tags": ["office-profile"],
    "traffic_type": "conversational",
    "usage_payment_method": "rate-deck",
    "whitelisted_destinations": ["US", "BR", "AU"],
}

Profile = tuple[dict[str, Any], dict[str, Any]]


def say(said: dict[str, Any], before: Profile | None = None) -> Profile:
    spec, beside = before or (new_profile(None), {})
    return changed(spec, beside, ProfileFields.model_validate(said))


def read(profile: Profile) -> dict[str, Any]:
    spec, beside = profile
    full = ProfileConfig(name="ours", **spec).model_dump(mode="json")
    return resource(
        full, beside, id="1", name="ours", created_at="2026-01-01", updated_at="2026-01-02", connections=12
    )


def test_the_example_of_the_description() -> None:
    spec, beside = say(EXAMPLE)
    config = ProfileConfig(name="a", **spec)
    assert config.model_dump(mode="json", exclude_defaults=True) == {
        "name": "a",
        "destination_whitelist": ["US", "BR", "AU"],
        "concurrent_call_limit": 10,
        "daily_spend_limit": "100.00",
        "daily_spend_limit_enabled": True,
        "max_destination_rate": "10",
    }
    assert read((spec, beside)) == {
        **EXAMPLE,
        "id": "1",
        "record_type": "outbound_voice_profile",
        "connections_count": 12,
        "created_at": "2026-01-01",
        "updated_at": "2026-01-02",
        "calling_window": None,
        "call_recording": {
            "call_recording_type": "none",
            "call_recording_caller_phone_numbers": [],
            "call_recording_channels": "single",
            "call_recording_format": "wav",
        },
    }


def test_what_a_profile_is_when_only_its_name_is_said() -> None:
    profile = say({"name": "office"})
    config = ProfileConfig(name="a", **profile[0])
    assert config.destination_whitelist == ("US", "CA")
    assert (config.threshold_window, config.enabled) == ("utc_day", True)
    shown = read(profile)
    assert shown["whitelisted_destinations"] == ["US", "CA"]
    assert (shown["daily_spend_limit"], shown["daily_spend_limit_enabled"]) == (None, False)


def test_no_countries_are_none() -> None:
    assert say({"whitelisted_destinations": []})[0]["destination_whitelist"] == []
    assert read(({}, {}))["whitelisted_destinations"] is None  # somebody else's, without a country rule
    assert read(({}, {}))["name"] == "ours"


def test_what_is_not_said_stays_and_null_is_no_limit() -> None:
    before = say(
        {**EXAMPLE, "calling_window": {"start_time": "08:00Z", "end_time": "20:30", "calls_per_cld": 5}}
    )
    assert read(before)["calling_window"] == {"start_time": "08:00", "end_time": "20:30", "calls_per_cld": 5}
    after = say({"concurrent_call_limit": None, "max_destination_rate": None, "calling_window": None}, before)
    said = {"concurrent_call_limit", "max_destination_rate", "calling_window"}
    assert {field for field in said if read(after)[field] is not None} == set()
    assert {field for field in EXAMPLE if read(after)[field] != EXAMPLE[field]} == said - {"calling_window"}


@pytest.mark.parametrize(
    ("window", "spec"),
    [
        ({"calls_per_cld": 3}, {"calls_per_cld": 3}),
        ({"start_time": "22:00", "end_time": "06:00"}, {"start_time": "22:00", "end_time": "06:00"}),
        ({"start_time": None, "end_time": None, "calls_per_cld": None}, None),
        ({}, None),
    ],
)
def test_calling_windows(window: dict[str, Any], spec: dict[str, Any] | None) -> None:
    profile = say({"name": "office", "calling_window": window})
    assert profile[0].get("calling_window") == spec
    ProfileConfig(name="a", **profile[0])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1, "0.1"), (10, "10"), (0.0042, "0.0042"), (1e-9, "0.000000001"), ("0.50", "0.50")],
)
def test_prices_are_exact(number: float | str, text: str) -> None:
    profile = say({"max_destination_rate": number})
    assert profile[0]["max_destination_rate"] == text
    assert read((profile[0], {}))["max_destination_rate"] == float(number)


def test_a_limit_that_is_enabled_has_to_be_there() -> None:
    with pytest.raises(FieldError, match="daily_spend_limit_enabled"):
        say({"daily_spend_limit_enabled": True})
    before = say({"daily_spend_limit": "5.00"})
    assert say({"daily_spend_limit_enabled": True}, before)[0]["daily_spend_limit"] == "5.00"
    with pytest.raises(FieldError):
        say({"daily_spend_limit": None}, say({"daily_spend_limit_enabled": True}, before))
