"""The limits of Telnyx' fields."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.admin.facades.telnyx.fields import ProfileFields

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": "ab"}, "name"),
    ({"name": None}, "name"),
    ({"name": " a "}, "name"),
    ({"enabled": "true"}, "enabled"),
    ({"enabled": None}, "enabled"),
    ({"whitelisted_destinations": ["UK"]}, "whitelisted_destinations"),
    ({"whitelisted_destinations": "US"}, "whitelisted_destinations"),
    ({"whitelisted_destinations": None}, "whitelisted_destinations"),
    ({"concurrent_call_limit": -1}, "concurrent_call_limit"),
    ({"concurrent_call_limit": 1.5}, "concurrent_call_limit"),
    ({"daily_spend_limit": "-1"}, "daily_spend_limit"),
    ({"daily_spend_limit": "a lot"}, "daily_spend_limit"),
    ({"max_destination_rate": -0.1}, "max_destination_rate"),
    ({"max_destination_rate": True}, "max_destination_rate"),
    ({"max_destination_rate": float("nan")}, "max_destination_rate"),
    ({"calling_window": {"start_time": "08:00"}}, "calling_window"),
    ({"calling_window": {"start_time": "08:00", "end_time": "08:00"}}, "calling_window"),
    ({"calling_window": {"start_time": "24:00", "end_time": "08:00"}}, "calling_window"),
    ({"calling_window": {"calls_per_cld": -1}}, "calling_window"),
    ({"billing_group_id": "mine"}, "billing_group_id"),
    ({"service_plan": "local"}, "service_plan"),
    ({"traffic_type": "short_duration"}, "traffic_type"),
    ({"usage_payment_method": "tariff"}, "usage_payment_method"),
    ({"call_recording": {"call_recording_type": "some"}}, "call_recording"),
    ({"tags": [""]}, "tags"),
    ({"connections_count": 3}, "connections_count"),
]


@pytest.mark.parametrize(("said", "field"), REFUSED)
def test_what_is_refused(said: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        ProfileFields.model_validate(said)
    assert error.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize("text", ["08:00", "08:00Z", "08:00:00", "08:00:00Z", "08:00:00.00Z"])
def test_times_as_descriptions_and_examples_write_them(text: str) -> None:
    said = ProfileFields.model_validate({"calling_window": {"start_time": text, "end_time": "20:00:00.00Z"}})
    assert said.calling_window is not None
    assert (said.calling_window.start_time, said.calling_window.end_time) == ("08:00", "20:00")


@pytest.mark.parametrize("text", ["8:00", "08:00:01", "08:00:00.01Z", "08:00:00.", "08:00+01:00", "08:60"])
def test_times_that_cannot_be_kept(text: str) -> None:
    with pytest.raises(ValidationError):
        ProfileFields.model_validate({"calling_window": {"start_time": text, "end_time": "20:00"}})


def test_countries_in_any_case() -> None:
    assert ProfileFields.model_validate(
        {"whitelisted_destinations": ["us", "Br"]}
    ).whitelisted_destinations == (
        "US",
        "BR",
    )
