"""RateTable: the rate of the longest prefix of a deck that a number begins with."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from policy.rating.rate import Rate
from policy.verdict import PASS, Check


class DeckRow(Protocol):
    """A row of a rate deck as it was read.

    Prices per minute and per call are in the deck's currency, increments in seconds; a plus before the
    prefix's digits means nothing.
    """

    @property
    def prefix(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def rate_per_minute(self) -> Decimal: ...
    @property
    def connect_fee(self) -> Decimal: ...
    @property
    def initial_increment(self) -> int: ...
    @property
    def subsequent_increment(self) -> int: ...


class RateTable:
    """An immutable rate deck. Numbers and prefixes are digits; one leading plus of a number is ignored.

    `currency` is the accounting currency, in which checks name prices.
    """

    __slots__ = ("_checks", "_lengths", "_rates", "currency", "name")

    def __init__(self, name: str, rates: Iterable[Rate], *, currency: str = "") -> None:
        self.name = name
        self.currency = currency
        self._rates: dict[str, Rate] = {rate.prefix: rate for rate in rates}
        self._lengths = tuple(sorted({len(prefix) for prefix in self._rates}, reverse=True))
        self._checks: dict[str, Check] = {}

    def lookup(self, number: str) -> Rate | None:
        """The rate of the longest prefix; None when the deck knows none."""
        digits = number[1:] if number.startswith("+") else number
        rates = self._rates
        for length in self._lengths:
            rate = rates.get(digits[:length])
            if rate is not None:
                return rate
        return None

    def check(self, rate: Rate) -> Check:
        """The check that names a rate of this deck; made when it is first wanted."""
        check = self._checks.get(rate.prefix)
        if check is None:
            price = f"{rate.per_minute_text} {self.currency} a minute".replace("  ", " ")
            increments = f"{rate.initial_increment}/{rate.subsequent_increment}"
            detail = f"prefix +{rate.prefix} costs {price}, {increments}"
            check = self._checks[rate.prefix] = Check("rate", f"deck:{self.name}", PASS, detail)
        return check

    def __len__(self) -> int:
        return len(self._rates)
