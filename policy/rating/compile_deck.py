"""Rate decks as they were read become rate tables in exact integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from config.deck import Deck, DeckRow, Tariff
from config.model import Config
from policy.rating.deck import RateTable
from policy.rating.rate import MICRO, NANO, Rate

Finding = tuple[str, str]


def compile_decks(
    config: Config, decks: Mapping[str, Deck | Iterable[DeckRow]], at: datetime, problems: list[Finding]
) -> dict[str, RateTable]:
    """The tables of all `rate_decks` by name, with the prices in force at `at`; one with problems is
    empty."""
    return {name: _deck(config, name, decks.get(name), at, problems) for name in config.rate_decks}


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


def _deck(
    config: Config, name: str, rows: Deck | Iterable[DeckRow] | None, at: datetime, problems: list[Finding]
) -> RateTable:
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
    try:
        deck = rows if isinstance(rows, Deck) else Deck(rows or ())
    except ValueError as error:
        problems.append((path, str(error)))
        deck = Deck()
    tariffs: list[Rate] = []
    bad: set[int] = set()
    for number, tariff in enumerate(deck.tariffs):
        rate = _rate(tariff, currency, numerator, denominator)
        if rate is None:
            bad.add(number)
        else:
            tariffs.append(rate)
    for row in deck if bad or not isinstance(rows, Deck) else ():
        digits = row.prefix[1:]
        wrong = not (digits.isascii() and digits.isdigit())
        if wrong or _rate(row.tariff, currency, numerator, denominator) is None:
            problems.append((path, f"prefix `{row.prefix}`: a price or increment is out of range"))
    if len(problems) > found_before:
        return RateTable.of(name, (), currency=config.currency)
    table = RateTable(
        name, tariffs, deck.destinations, deck.rates, deck.dated, currency=config.currency, found=deck.found
    )
    table.prices_at(at)
    return table


def _rate(tariff: Tariff, currency: str, numerator: int, denominator: int) -> Rate | None:
    per_minute = exact(tariff.rate_per_minute, NANO)
    connect_fee = exact(tariff.connect_fee, NANO)
    minimum = exact(tariff.minimum_charge, NANO)
    if per_minute is None or connect_fee is None or minimum is None:
        return None
    if tariff.initial_increment < 1 or tariff.subsequent_increment < 1 or tariff.grace_seconds < 0:
        return None
    return Rate(
        prefix="",
        destination="",
        currency=currency,
        per_minute_nano=per_minute,
        connect_fee_nano=connect_fee,
        initial_increment=tariff.initial_increment,
        subsequent_increment=tariff.subsequent_increment,
        exchange_numerator=numerator,
        exchange_denominator=denominator,
        minimum_nano=minimum,
        grace_seconds=tariff.grace_seconds,
    )
