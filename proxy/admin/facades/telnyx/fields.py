"""What a client may say of an outbound voice profile: Telnyx' fields, with their limits."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, model_validator

from config.values import Amount, Capacity, Country, integer, one_of, read_decimal, show
from proxy.admin.facades.bodies import Flag, Part
from proxy.admin.facades.plain_text import plain_text

_SHORTEST_NAME: Final = 3
_LONGEST_NAME: Final = 255
_MOST_COUNTRIES: Final = 300
_MOST_TAGS: Final = 100
_MOST_NUMBERS: Final = 1_000
# HH:MM say the descriptions, `08:00:00.00Z` their examples.
_TIME = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])(?::00(?:\.0{1,9})?)?Z?", re.ASCII)


def _rate(value: Any) -> Decimal:
    # A JSON number: its shortest text is what was written.
    text = format(Decimal(repr(value)), "f") if isinstance(value, float) else value
    return read_decimal(text, decimals=9, highest=1_000_000)


def _time(value: Any) -> str:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"must be a UTC time of day such as `08:30`, not {show(value)}")
    return found[1]


def _e164(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"\+[1-9][0-9]{1,14}", value, re.ASCII) is None:
        raise ValueError(f"must be a number such as `+19705555098`, not {show(value)}")
    return value


ProfileName = Annotated[str, plain_text(_SHORTEST_NAME, _LONGEST_NAME)]
Rate = Annotated[Decimal, BeforeValidator(_rate)]
TimeOfDay = Annotated[str, BeforeValidator(_time)]
Tag = Annotated[str, plain_text(1, _LONGEST_NAME)]
PhoneNumber = Annotated[str, BeforeValidator(_e164)]


class CallingWindow(Part):
    """When calls may start, in UTC, and how often one number may be tried in a window."""

    start_time: TimeOfDay | None = None
    end_time: TimeOfDay | None = None
    calls_per_cld: Annotated[int, integer(0, 32767)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> CallingWindow:
        if (self.start_time is None) != (self.end_time is None):
            raise ValueError("needs start_time and end_time, or neither")
        if self.start_time is not None and self.start_time == self.end_time:
            raise ValueError("start_time and end_time are the same: leave both out for the whole day")
        return self


class CallRecording(Part):
    call_recording_type: Annotated[
        Literal["all", "none", "by_caller_phone_number"], one_of("all", "none", "by_caller_phone_number")
    ] = "none"
    call_recording_caller_phone_numbers: Annotated[
        tuple[PhoneNumber, ...], Field(max_length=_MOST_NUMBERS)
    ] = ()
    call_recording_channels: Annotated[Literal["single", "dual"], one_of("single", "dual")] = "single"
    call_recording_format: Annotated[Literal["wav", "mp3"], one_of("wav", "mp3")] = "wav"


class ProfileFields(Part):
    """All of them may be absent; what a new profile must have is judged where it is made."""

    name: ProfileName = ""
    enabled: Flag = True
    whitelisted_destinations: Annotated[tuple[Country, ...], Field(max_length=_MOST_COUNTRIES)] = ("US", "CA")
    concurrent_call_limit: Capacity | None = None
    daily_spend_limit: Amount | None = None
    daily_spend_limit_enabled: Flag = False
    max_destination_rate: Rate | None = None
    calling_window: CallingWindow | None = None
    billing_group_id: UUID | None = None
    call_recording: CallRecording | None = None
    tags: Annotated[tuple[Tag, ...], Field(max_length=_MOST_TAGS)] = ()
    service_plan: Annotated[Literal["global"], one_of("global")] = "global"
    traffic_type: Annotated[Literal["conversational"], one_of("conversational")] = "conversational"
    usage_payment_method: Annotated[Literal["rate-deck"], one_of("rate-deck")] = "rate-deck"
