"""What a client may say: VoIPBIN's fields, with their limits."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from config.outplan import Milliseconds, OutplanSource, Tries
from config.values import Country, ProviderAffix, one_of
from proxy.admin.facades.bodies import Part

NOBODY: Final = UUID(int=0)
"""No number, no customer."""
_LONGEST: Final = 255
_MOST_COUNTRIES: Final = 300
_MOST_DESTINATIONS: Final = 100
_CODECS = re.compile(r"[A-Za-z0-9_.-]+(?:,[A-Za-z0-9_.-]+)*", re.ASCII)


def _codecs(value: Any) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST or _CODECS.fullmatch(value) is None:
        raise ValueError(
            f"must be codecs with commas between, such as `PCMU,PCMA`, at most {_LONGEST} characters"
        )
    return value


def _headers(value: Any) -> Any:
    return {} if value is None else value


def _or_nobody(value: Any) -> Any:
    return NOBODY if value is None else value


Text = Annotated[str, Field(max_length=_LONGEST)]
NumberId = Annotated[UUID, BeforeValidator(_or_nobody)]
Codecs = Annotated[str, BeforeValidator(_codecs)]


class OutboundConfigFields(Part):
    """An outbound config, in part."""

    name: Text = ""
    detail: Text = ""
    destination_whitelist: Annotated[tuple[Country, ...], Field(max_length=_MOST_COUNTRIES)] = ()
    codecs: Codecs = ""
    default_outgoing_source_number_id: NumberId = NOBODY


class NewOutboundConfig(OutboundConfigFields):
    """One for a customer that has none."""

    customer_id: UUID


class CustomerFields(Part):
    """A customer, in part."""

    name: Text = ""
    detail: Text = ""


class ProviderFields(Part):
    """A provider, in part."""

    type: Annotated[Literal["sip"], one_of("sip")] = "sip"
    hostname: Text = ""
    tech_prefix: ProviderAffix = ""
    tech_postfix: ProviderAffix = ""
    tech_headers: Annotated[dict[str, str], BeforeValidator(_headers)] = Field(default={})
    name: Text = ""
    detail: Text = ""
    codecs: Annotated[Literal[""], one_of("")] = ""


class OutplanBasics(Part):
    """What an outplan is called."""

    name: Text = ""
    detail: Text = ""


class DialInfo(Part):
    """How an outplan dials."""

    source: OutplanSource | None = None
    dial_timeout: Milliseconds = 30_000
    try_interval: Milliseconds = 60_000
    max_try_count_0: Tries = 0
    max_try_count_1: Tries = 0
    max_try_count_2: Tries = 0
    max_try_count_3: Tries = 0
    max_try_count_4: Tries = 0


class NewOutplan(OutplanBasics, DialInfo):
    """A whole outplan."""


class ProviderCallFields(Part):
    """A call over one provider."""

    provider_id: UUID
    destinations: Annotated[tuple[dict[str, Any], ...], Field(min_length=1, max_length=_MOST_DESTINATIONS)]
    source: dict[str, Any] | None = None
    flow_id: UUID | None = None
    actions: tuple[dict[str, Any], ...] = ()
    anonymous: Text = ""
