"""Rate decks as they were read become rate tables in exact integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from config.model import Config
from policy.rating.deck import DeckRow, RateTable
from policy.rating.rate import MICRO, NANO, Rate

Finding = tuple[str, str]


def compile_decks(
    config: Config, decks: Mapping[str, Sequence[DeckRow]], problems: list[Finding]
) -> dict[str, RateTable]:
    """The tables of all `rate_decks` by name; a deck with problems is empty."""
    return {name: _deck(config, name, decks.get(name), problems) for name in config.rate_decks}


def exact(amount: Decimal, unit: int) -> int | None:
    """`amount` in 1/`unit`s; None when it is no whole number of them, or below zero."""
    numerator, denominator = amount.as_integer_ratio()
    whole, rest = divmod(numerator * unit, denominator)
    return None if rest or whole < 0 else whole


def micro(amount: Decimal) -> int:
    """`amount`, which has at most six decimals, in micro-units; further decimals would be cut off."""
    numerator, denominator = amount.as_integer_ratio()
    return numerator * MICRO // denominator


def nano(price: Decimal) -> int:
    """`price`, which has at most nine decimals, in 10^-9 units; further decimals would be cut off."""
    numerator, denominator = price.as_integer_ratio()
    return numerator * NANO // denominator


def _deck(config: Config, name: str, rows: Sequence[DeckRow] | None, problems: list[Finding]) -> RateTable:
    path = f"rate_decks.{name}"
    found_before = len(problems)
    currency = config.rate_decks[name].currency
    numerator, denominator = 1, 1
    if currency != config.currency:
        exchange = config.exchange_rates.get(currency)
        if exchange is None:
            message = f"`{currency}` is not the accounting currency and has no entry in exchange_rates"
            problems.append((f"{path}.currency", message))
        else:
            numerator, denominator = exchange.as_integer_ratio()
    if rows is None:
        problems.append((path, "its rows were not loaded"))
    rates: dict[str, Rate] = {}
    for row in rows or ():
        rate = _rate(row, currency, numerator, denominator)
        if rate is None:
            problems.append((path, f"prefix `{row.prefix}`: a price or increment is out of range"))
        elif rate.prefix in rates:
            problems.append((path, f"prefix `{row.prefix}` stands twice"))
        else:
            rates[rate.prefix] = rate
    return RateTable(name, rates.values() if len(problems) == found_before else (), currency=config.currency)


def _rate(row: DeckRow, currency: str, numerator: int, denominator: int) -> Rate | None:
    per_minute = exact(row.rate_per_minute, NANO)
    connect_fee = exact(row.connect_fee, NANO)
    prefix = row.prefix.removeprefix("+")
    if per_minute is None or connect_fee is None or not (prefix.isascii() and prefix.isdigit()):
        return None
    if row.initial_increment < 1 or row.subsequent_increment < 1:
        return None
    return Rate(
        prefix=prefix,
        destination=row.destination,
        currency=currency,
        per_minute_nano=per_minute,
        connect_fee_nano=connect_fee,
        initial_increment=row.initial_increment,
        subsequent_increment=row.subsequent_increment,
        exchange_numerator=numerator,
        exchange_denominator=denominator,
    )
