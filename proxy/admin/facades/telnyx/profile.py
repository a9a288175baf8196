"""Telnyx' outbound voice profile ↔ our profile: its spec, and what the facade keeps beside it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any, Final

from proxy.admin.facades.specs import put, shown_number
from proxy.admin.facades.telnyx.fields import CallingWindow, CallRecording, ProfileFields

Fields = dict[str, Any]

_SAME: Final = ("enabled", "concurrent_call_limit", "daily_spend_limit_enabled")
_BESIDE: Final = (
    "name", "billing_group_id", "call_recording", "tags", "service_plan", "traffic_type",
    "usage_payment_method",
)  # fmt: skip
"""What our profile has no field for: given back as it was said."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    "billing_group_id": None,
    "call_recording": CallRecording().model_dump(mode="json"),
    "tags": [],
    "service_plan": "global",
    "traffic_type": "conversational",
    "usage_payment_method": "rate-deck",
}
_HOME: Final = ("US", "CA")
"""The countries of a profile that names none."""


class FieldError(Exception):
    """A field that cannot be as it was said."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def new_profile(account: str | None) -> Fields:
    """The spec of a profile of which nothing was said yet: the United States and Canada, spending looked at
    by the UTC day."""
    spec: Fields = {"destination_whitelist": list(_HOME), "threshold_window": "utc_day"}
    if account is not None:
        spec["account"] = account
    return spec


def changed(spec: Mapping[str, Any], beside: Mapping[str, Any], said: ProfileFields) -> tuple[Fields, Fields]:
    """Spec and facade's part of a profile after a client said `said`. Raises FieldError."""
    new, new_beside = deepcopy(dict(spec)), dict(beside)
    plain = said.model_dump(mode="json")
    for field in said.given.intersection(_SAME):
        put(new, field, plain[field])
    for field in said.given.intersection(_BESIDE):
        new_beside[field] = _DEFAULTS[field] if plain[field] is None else plain[field]
    if "whitelisted_destinations" in said.given:
        new["destination_whitelist"] = list(dict.fromkeys(said.whitelisted_destinations))
    for field in said.given.intersection(("daily_spend_limit", "max_destination_rate")):
        number = getattr(said, field)
        put(new, field, None if number is None else format(number, "f"))
    if "calling_window" in said.given:
        put(new, "calling_window", _window(said.calling_window))
    if new.get("daily_spend_limit_enabled") is True and "daily_spend_limit" not in new:
        raise FieldError("daily_spend_limit", "is needed while daily_spend_limit_enabled is true")
    return new, new_beside


def resource(
    profile: Mapping[str, Any],
    beside: Mapping[str, Any],
    *,
    id: str,  # noqa: A002  as Telnyx says
    name: str,
    created_at: str,
    updated_at: str,
    connections: int,
) -> Fields:
    """What a client reads of a profile, given with the defaults of its fields. `name` is ours, shown where no
    client gave another; `connections`: the trunks that refer to it. No country rule is null."""
    extra = {**_DEFAULTS, "name": name, **beside}
    return {
        "id": id,
        "record_type": "outbound_voice_profile",
        "name": extra["name"],
        "connections_count": connections,
        "traffic_type": extra["traffic_type"],
        "service_plan": extra["service_plan"],
        "concurrent_call_limit": profile["concurrent_call_limit"],
        "enabled": profile["enabled"],
        "tags": extra["tags"],
        "usage_payment_method": extra["usage_payment_method"],
        "whitelisted_destinations": profile["destination_whitelist"],
        "max_destination_rate": shown_number(profile["max_destination_rate"], _json_number),
        "daily_spend_limit": shown_number(profile["daily_spend_limit"], _amount),
        "daily_spend_limit_enabled": profile["daily_spend_limit_enabled"],
        "call_recording": extra["call_recording"],
        "billing_group_id": extra["billing_group_id"],
        "calling_window": _shown_window(profile["calling_window"]),
        "created_at": created_at,
        "updated_at": updated_at,
    }


def _window(said: CallingWindow | None) -> Fields | None:
    """A window that says nothing restricts nothing. Telnyx' times are UTC."""
    return None if said is None else said.model_dump(mode="json", exclude_none=True) or None


def _shown_window(window: Mapping[str, Any] | None) -> Fields | None:
    if window is None:
        return None
    return {field: window.get(field) for field in ("start_time", "end_time", "calls_per_cld")}


def _amount(value: Decimal) -> str:
    """With at least two decimals, as Telnyx writes money: `100.00`."""
    text = format(value.normalize(), "f")
    return text if len(text.partition(".")[2]) >= 2 else format(value, ".2f")


def _json_number(value: Decimal) -> int | float:
    """Prices have at most 15 digits, which a JSON number gives back as they are."""
    return int(value) if value == int(value) else float(value)
