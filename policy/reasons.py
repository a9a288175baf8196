"""The closed set of reasons for which a call is refused, and what the caller is told for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """Why a call was refused. The names are part of the public contract."""

    SOURCE = "SOURCE"
    AUTH = "AUTH"
    DISABLED = "DISABLED"
    NUMBER = "NUMBER"
    COUNTRY = "COUNTRY"
    COUNTRY_UNKNOWN = "COUNTRY_UNKNOWN"
    PREFIX = "PREFIX"
    CLI = "CLI"
    RATE = "RATE"
    NO_RATE = "NO_RATE"
    WINDOW = "WINDOW"
    SPEND = "SPEND"
    CAPACITY = "CAPACITY"
    CPS = "CPS"
    MEDIA = "MEDIA"
    ROUTE = "ROUTE"
    LEDGER = "LEDGER"
    DRAINING = "DRAINING"
    OVERLOAD = "OVERLOAD"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refused caller sees.

    `status` and `phrase` make the SIP status line, `cause` is the Q.850 cause of the Reason header (RFC 3326;
    None: no Reason header), `retry_after` is in seconds (None: no Retry-After header).
    """

    status: int
    phrase: str
    cause: int | None
    retry_after: int | None = None


REFUSALS: dict[ReasonCode, Refusal] = {
    ReasonCode.SOURCE: Refusal(403, "Source Not Authorized", 21),
    ReasonCode.AUTH: Refusal(407, "Proxy Authentication Required", None),
    ReasonCode.DISABLED: Refusal(403, "Outbound Calling Is Disabled", 21),
    ReasonCode.NUMBER: Refusal(484, "Address Incomplete", 28),
    ReasonCode.COUNTRY: Refusal(403, "Destination Country Not Whitelisted", 21),
    ReasonCode.COUNTRY_UNKNOWN: Refusal(403, "Destination Country Unknown", 21),
    ReasonCode.PREFIX: Refusal(403, "Destination Prefix Rejected", 21),
    ReasonCode.CLI: Refusal(403, "Caller Identity Not Allowed", 21),
    ReasonCode.RATE: Refusal(403, "Maximum Destination Rate Exceeded", 21),
    ReasonCode.NO_RATE: Refusal(403, "No Rate Found", 21),
    ReasonCode.WINDOW: Refusal(403, "Outside Calling Window", 21),
    ReasonCode.SPEND: Refusal(403, "Spend Limit Reached", 21),
    ReasonCode.CAPACITY: Refusal(403, "Channel Limit Exceeded", 34),
    ReasonCode.CPS: Refusal(503, "Calls Per Second Exceeded", 42, retry_after=1),
    ReasonCode.MEDIA: Refusal(488, "Not Acceptable Here", 88),
    ReasonCode.ROUTE: Refusal(404, "No Route", 3),
    ReasonCode.LEDGER: Refusal(503, "Ledger Unavailable", 41, retry_after=2),
    ReasonCode.DRAINING: Refusal(503, "Service Unavailable", 42, retry_after=5),
    ReasonCode.OVERLOAD: Refusal(503, "Service Unavailable", 42, retry_after=5),
}
