"""The scalars of the configuration: each takes the text of the file or the Python value.

Pydantic's own conversions are not used: they would take `1_000`, `30.0` or `t`, which no reader expects.
"""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from config.address import parse_network
from config.countries import COUNTRIES, OFTEN_MEANT

NON_GEOGRAPHIC = ("+800", "+808", "+870", "+878", "+881", "+882", "+883", "+888", "+979")
"""Calling codes that the ITU gave to no country."""

KINDS = ("premium", "shared_cost", "personal", "satellite", "pager", "toll_free")
"""Kinds of numbers that a scope may deny."""

HIGH_RISK = ("advertised", "carrier_blocked", "diallers", "one_ring")
"""The lists of policy/numbering/high_risk.csv, which stands above this package; a test keeps both equal."""

REASON_CODES = (
    "SOURCE", "AUTH", "DISABLED", "NUMBER", "COUNTRY", "COUNTRY_UNKNOWN", "PREFIX", "CLI", "RATE", "NO_RATE",
    "WINDOW", "SPEND", "CAPACITY", "CPS", "MEDIA", "ROUTE", "LEDGER", "DRAINING", "OVERLOAD",
)  # fmt: skip
"""The names of policy.reasons.ReasonCode, which stands above this package; a test keeps the two equal."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}", re.ASCII)
_TRUNK_TECH_PREFIX = re.compile(r"[0-9#]{1,8}", re.ASCII)
_PROVIDER_AFFIX = re.compile(r"[0-9A-Za-z*#+_.!~'()-]{0,32}", re.ASCII)
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})


def show(value: Any) -> str:
    """`value` as it may stand in a message: short, on one line, with a word for what is not text."""
    if value is None:
        return "null"
    if value == "":
        return "empty text"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = ascii(value)[1:-1] if isinstance(value, str) else str(value)
    return f"`{text[:57]}...`" if len(text) > 60 else f"`{text}`"


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be {what}, not {show(value)}")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word not in _TRUE | _FALSE:
        raise ValueError(f"must be true or false, not {show(value)}")
    return word in _TRUE


def integer(low: int, high: int, unit: str = "") -> BeforeValidator:
    """A whole number from `low` to `high`; `unit` is said in messages, such as ` seconds`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(f"must be a whole number from {low} to {high}{unit}, not {show(value)}")
        if isinstance(value, str) and _INTEGER.fullmatch(value) is None:
            raise ValueError(f"must be a whole number from {low} to {high}{unit}, not {show(value)}")
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high}{unit}, not {show(value)}")
        return number

    return BeforeValidator(read)


def read_decimal(value: Any, *, decimals: int, highest: int) -> Decimal:
    """An exact decimal from 0 to `highest`, at most `decimals` digits after the point; raises ValueError."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        value = format(value, "f") if isinstance(value, Decimal) else str(value)
    if not isinstance(value, str) or _DECIMAL.fullmatch(value) is None:
        raise ValueError(f'must be a decimal number of 0 or more, such as "100.00", not {show(value)}')
    number = Decimal(value)
    if len(value.partition(".")[2].rstrip("0")) > decimals:
        raise ValueError(f"must have at most {decimals} decimals, not {show(value)}")
    if number > highest:
        raise ValueError(f"must be at most {highest}, not {show(value)}")
    return number


def decimal(*, decimals: int, highest: int, positive: bool = False) -> BeforeValidator:
    """See read_decimal; `positive` refuses zero as well."""

    def read(value: Any) -> Decimal:
        number = read_decimal(value, decimals=decimals, highest=highest)
        if positive and number == 0:
            raise ValueError("must be more than 0")
        return number

    return BeforeValidator(read)


def _country(value: Any) -> str:
    code = _text(value, "a country code").upper()
    if value.isascii() and code in COUNTRIES:
        return code
    meant = OFTEN_MEANT.get(code)
    hint = f"; did you mean `{meant.lower()}`?" if meant else ""
    raise ValueError(
        f"{show(value)} is not a country code of two letters (ISO 3166 alpha-2), such as `us`{hint}"
    )


def _network(value: Any) -> IPv4Network | IPv6Network:
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    return parse_network(_text(value, "an address or network"))


def _pattern(pattern: re.Pattern[str], what: str) -> BeforeValidator:
    def read(value: Any) -> str:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise ValueError(f"must be {what}, not {show(value)}")
        return value

    return BeforeValidator(read)


def _prefix(value: Any) -> str:
    if isinstance(value, str) and _PREFIX.fullmatch(value):
        return value
    digits = _text(value, "a number prefix").lstrip("+")
    if value == "+":
        raise ValueError("`+` alone means every number: use `default_dst_action` for that")
    if digits.isascii() and digits.isdigit() and not digits.startswith("0") and not value.startswith("+"):
        raise ValueError(f"{show(value)} lacks its plus: prefixes are international, write `+{digits[:15]}`")
    raise ValueError(
        f"{show(value)} is not an international prefix: `+`, then 1 to 15 digits that do not begin with 0"
    )


def _non_geographic(value: Any) -> str:
    if value not in NON_GEOGRAPHIC:
        raise ValueError(
            f"{show(value)} is not a calling code without a country: one of {', '.join(NON_GEOGRAPHIC)}"
        )
    return str(value)


def one_of(*choices: str) -> BeforeValidator:
    """One of a few words, for a Literal; says all of them."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be {_either(choices)}, not {show(value)}")
        return value

    return BeforeValidator(read)


def not_empty(value: Any) -> Any:
    """An empty path would be the folder of the configuration file itself."""
    if value == "":
        raise ValueError("must not be empty")
    return value


def _either(choices: tuple[str, ...]) -> str:
    quoted = [f"`{choice}`" for choice in choices]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


Flag = Annotated[bool, BeforeValidator(_flag)]
Name = Annotated[str, _pattern(_NAME, "a name of letters, digits, `-`, `_` and `.`, at most 64")]
Country = Annotated[str, BeforeValidator(_country)]
Currency = Annotated[
    str, _pattern(_CURRENCY, "a currency code of three capital letters (ISO 4217), such as `USD`")
]
Amount = Annotated[Decimal, decimal(decimals=6, highest=1_000_000_000)]
Price = Annotated[Decimal, decimal(decimals=9, highest=1_000_000)]
ExchangeRate = Annotated[Decimal, decimal(decimals=9, highest=1_000_000_000, positive=True)]
SourceNetwork = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network), PlainSerializer(str)]
NumberPrefix = Annotated[str, BeforeValidator(_prefix)]
NonGeographicCode = Annotated[str, BeforeValidator(_non_geographic)]
TrunkTechPrefix = Annotated[str, _pattern(_TRUNK_TECH_PREFIX, "1 to 8 digits and `#` (null: none)")]
ProviderAffix = Annotated[
    str, _pattern(_PROVIDER_AFFIX, "at most 32 characters that may stand before `@` in a SIP URI")
]
Kind = Annotated[str, one_of(*KINDS)]
HighRiskList = Annotated[str, one_of(*HIGH_RISK)]
Capacity = Annotated[int, integer(0, 32767)]
CallsPerSecond = Annotated[int, integer(1, 10000)]


def _https(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if re.fullmatch(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[!#$%&'()*+,./:=?@A-Z_a-z0-9~-]*", text) is None:
        raise ValueError("must be an address such as `https://cert.example.org/shaken.pem`")
    return text


HttpsAddress = Annotated[str, BeforeValidator(_https)]
