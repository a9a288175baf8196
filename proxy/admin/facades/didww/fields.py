"""What a client may say of a voice OUT trunk: DIDWW's attributes, with their limits."""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field

from config.values import Capacity, SourceNetwork, TrunkTechPrefix, one_of, read_decimal, show
from config.web_address import WebUrl
from proxy.admin.facades.bodies import Flag, Part
from proxy.admin.facades.plain_text import plain_text

MOST_ADDRESSES: Final = 60
MOST_PREFIXES: Final = 5_000
MOST_DIDS: Final = 1_000
_HIGHEST_THRESHOLD: Final = 100_000
_LONGEST_NAME: Final = 255

FLAT: Final = frozenset({"2021-12-15", "2022-05-10"})
"""API versions in which addresses and credentials stand among the attributes."""
NESTED: Final = "2026-04-16"
"""The API version in which they stand in `authentication_method`."""
VERSIONS: Final = FLAT | {NESTED}

NESTED_ONLY: Final = frozenset(
    {"authentication_method", "external_reference_id", "emergency_enable_all", "rtp_timeout"}
)
FLAT_ONLY: Final = frozenset({"allowed_sip_ips"})


def _threshold(value: Any) -> Decimal:
    if isinstance(value, float):
        value = repr(value)
    return read_decimal(value, decimals=6, highest=_HIGHEST_THRESHOLD)


def _prefix(value: Any) -> str:
    """Digits of an E.164 number; DIDWW takes a leading `00` or `+` off, and so do we."""
    text = value.strip() if isinstance(value, str) else ""
    digits = text.removeprefix("+") if text.startswith("+") else text.removeprefix("00")
    if re.fullmatch(r"[1-9][0-9]{0,14}", digits, re.ASCII) is None:
        raise ValueError(f"{show(value)} is not 1 to 15 digits of an international number, such as `44`")
    return digits


def _seconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 86_400:
        raise ValueError(f"must be a whole number of seconds from 0 to 86400, not {show(value)}")
    return value


def _or_none(value: Any) -> Any:
    return None if value == "" else value


def _or_active(value: Any) -> Any:
    return "active" if value is None else value


def _or_empty(value: Any) -> Any:
    return [] if value is None else value


Text = Annotated[str, plain_text(1, _LONGEST_NAME)]
Seconds = Annotated[int, BeforeValidator(_seconds)]
Threshold = Annotated[Decimal, BeforeValidator(_threshold)]
Network = SourceNetwork
Networks = Annotated[tuple[Network, ...], Field(max_length=MOST_ADDRESSES)]
Prefixes = Annotated[
    tuple[Annotated[str, BeforeValidator(_prefix)], ...],
    Field(max_length=MOST_PREFIXES),
    BeforeValidator(_or_empty),
]
CLI_ACTIONS: Final = ("send_original_cli", "reject_call", "replace_cli", "randomize_cli")
ENCRYPTION_MODES: Final = ("disabled", "srtp_sdes", "srtp_dtls", "zrtp")


class Addresses(Part):
    """Where calls come from, and the prefix that they dial before the number."""

    allowed_sip_ips: Networks = ()
    tech_prefix: Annotated[TrunkTechPrefix | None, BeforeValidator(_or_none)] = None


class AddressesAndLogin(Addresses):
    """`username` and `password` are generated here: what a client sends back of what it has read is not
    looked at."""

    username: Any = None
    password: Any = None


class TwilioAccount(Part):
    twilio_account_sid: str = Field(max_length=64)


class IpOnly(Part):
    type: Literal["ip_only"]
    attributes: Addresses


class CredentialsAndIp(Part):
    type: Literal["credentials_and_ip"]
    attributes: AddressesAndLogin


class Twilio(Part):
    type: Literal["twilio"]
    attributes: TwilioAccount


AuthenticationMethod = Annotated[IpOnly | CredentialsAndIp | Twilio, Field(discriminator="type")]


class TrunkAttributes(Part):
    """All of them may be absent: what a new trunk must have is judged where it is made."""

    name: Text = ""
    status: Annotated[
        Literal["active", "blocked"], one_of("active", "blocked"), BeforeValidator(_or_active)
    ] = "active"
    on_cli_mismatch_action: Annotated[
        Literal["send_original_cli", "reject_call", "replace_cli", "randomize_cli"], one_of(*CLI_ACTIONS)
    ] = "send_original_cli"
    allow_any_did_as_cli: Flag = False
    capacity_limit: Capacity | None = None
    threshold_amount: Threshold | None = None
    default_dst_action: Annotated[Literal["allow_all", "reject_all"], one_of("allow_all", "reject_all")] = (
        "allow_all"
    )
    dst_prefixes: Prefixes = ()
    media_encryption_mode: Annotated[
        Literal["disabled", "srtp_sdes", "srtp_dtls", "zrtp"], one_of(*ENCRYPTION_MODES)
    ] = "disabled"
    allowed_rtp_ips: Networks | None = None
    force_symmetric_rtp: Flag = False
    rtp_ping: Flag = False
    rtp_timeout: Seconds | None = 30
    callback_url: Annotated[WebUrl | None, BeforeValidator(_or_none)] = None
    external_reference_id: Annotated[Text | None, BeforeValidator(_or_none)] = None
    emergency_enable_all: Flag = False
    allowed_sip_ips: Networks = ()
    authentication_method: AuthenticationMethod | None = None


class Envelope(Part):
    """Around what is said, JSON:API may have members of its own (`jsonapi`, `links`, `meta`): not looked
    at."""

    model_config = ConfigDict(extra="ignore")


class Identifier(Part):
    """A JSON:API resource identifier."""

    type: str
    id: str = Field(max_length=64)


class ToOne(Envelope):
    data: Identifier | None


class ToMany(Envelope):
    data: tuple[Identifier, ...] = Field(max_length=MOST_DIDS)


class TrunkRelationships(Part):
    default_did: ToOne | None = None
    dids: ToMany | None = None
    emergency_dids: ToMany | None = None


class NewTrunk(Part):
    type: Literal["voice_out_trunks"]
    attributes: TrunkAttributes
    relationships: TrunkRelationships = TrunkRelationships()


class NewTrunkDocument(Envelope):
    data: NewTrunk


class ChangedTrunk(Part):
    id: UUID
    type: Literal["voice_out_trunks"]
    attributes: TrunkAttributes = TrunkAttributes()
    relationships: TrunkRelationships = TrunkRelationships()


class ChangedTrunkDocument(Envelope):
    data: ChangedTrunk


class TrunkToRotate(Part):
    voice_out_trunk: ToOne


class Rotation(Part):
    type: Literal["voice_out_trunk_regenerate_credentials"]
    attributes: dict[str, Any] = Field(default={}, max_length=0)
    relationships: TrunkToRotate


class RotationDocument(Envelope):
    data: Rotation


def open_to_all(networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether one of them is every address."""
    return any(network.prefixlen == 0 for network in networks)
