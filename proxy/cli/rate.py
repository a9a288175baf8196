"""The `rate` command: what calls to a number cost by a rate deck."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from policy.compiled import Policy
from policy.numbering.country import country_of
from policy.numbering.dial_plan import is_e164
from policy.numbering.kind import kinds_of
from policy.rating.money import amount
from policy.rating.rate import NANO


def quote(policy: Policy, deck: str, number: str, seconds: int) -> dict[str, Any] | None:
    """The row of `deck` that prices `number` (E.164, with or without plus) now, and what an answered call of
    `seconds` costs; None when no row does. Raises ValueError for what cannot be asked."""
    table = policy.decks.get(deck)
    if table is None:
        known = ", ".join(f"`{name}`" for name in policy.decks) or "none"
        raise ValueError(f"there is no rate deck `{deck}`; there are: {known}")
    digits = number.removeprefix("+")
    if not is_e164(digits):
        raise ValueError(f"`{number}` is no international number: `+` and up to 15 digits")
    rate = table.lookup(digits)
    if rate is None:
        return None
    own = rate.per_minute_nano, rate.connect_fee_nano, rate.minimum_nano
    per_minute, connect_fee, minimum = (_decimal(nano) for nano in own)
    duration = seconds * 1000
    return {
        "deck": deck,
        "number": f"+{digits}",
        "country": country_of(f"+{digits}"),
        "kinds": sorted(kinds_of(f"+{digits}")),
        "prefix": f"+{rate.prefix}",
        "destination": rate.destination or None,
        "currency": rate.currency,
        "rate_per_minute": per_minute,
        "connect_fee": connect_fee,
        "minimum_charge": minimum,
        "grace_seconds": rate.grace_seconds,
        "initial_increment": rate.initial_increment,
        "subsequent_increment": rate.subsequent_increment,
        "accounting_currency": policy.currency,
        "accounting_rate_per_minute": rate.per_minute_text,
        "seconds": seconds,
        "billed_seconds": 0 if rate.spares(duration) else rate.billed_seconds(duration),
        "cost": amount(rate.cost(duration)),
    }


def render(fields: dict[str, Any]) -> None:
    """One fact a line."""
    console = Console()
    for name, value in fields.items():
        if value is not None and value != []:
            text = ", ".join(value) if isinstance(value, list) else str(value)
            console.print(Text(f"{name}: {text}"), soft_wrap=True)


def _decimal(nano: int) -> str:
    units, fraction = divmod(nano, NANO)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{units}.{decimals}"
