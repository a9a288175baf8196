"""RateTable: the rate of the longest prefix of a deck that a number begins with."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from policy.rating.rate import Rate


class DeckRow(Protocol):
    """A row of a rate deck as it was read: prices per minute and per call in the deck's currency, increments in seconds."""

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
    """An immutable rate deck. Numbers and prefixes are digits; one leading plus of a number is ignored."""

    __slots__ = ("_lengths", "_rates", "name")

    def __init__(self, name: str, rates: Iterable[Rate]) -> None:
        self.name = name
        self._rates: dict[str, Rate] = {rate.prefix: rate for rate in rates}
        self._lengths = tuple(sorted({len(prefix) for prefix in self._rates}, reverse=True))

    def lookup(self, number: str) -> Rate | None:
        """The rate of the longest prefix; None when the deck knows none."""
        digits = number[1:] if number.startswith("+") else number
        rates = self._rates
        for length in self._lengths:
            rate = rates.get(digits[:length])
            if rate is not None:
                return rate
        return None

    def __len__(self) -> int:
        return len(self._rates)
