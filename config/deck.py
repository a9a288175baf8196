"""Deck: the rows of a rate deck as its CSV file gives them, kept small: a deck may have a million."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

DEFAULT_INITIAL_INCREMENT = 60
DEFAULT_SUBSEQUENT_INCREMENT = 60
ZERO = Decimal(0)


class Tariff(NamedTuple):
    """What a row costs: many rows say the same.

    rate_per_minute, connect_fee, minimum_charge: exact, in the deck's currency, 0 or more, at most nine
        decimals; an answered call costs at least minimum_charge.
    initial_increment, subsequent_increment: seconds, 1 or more.
    grace_seconds: a call that lasts no longer costs nothing.
    """

    rate_per_minute: Decimal
    connect_fee: Decimal = ZERO
    initial_increment: int = DEFAULT_INITIAL_INCREMENT
    subsequent_increment: int = DEFAULT_SUBSEQUENT_INCREMENT
    minimum_charge: Decimal = ZERO
    grace_seconds: int = 0


class Period(NamedTuple):
    """From when and until when a row is in force, both aware; None: without a beginning, without an end."""

    begin: datetime | None = None
    end: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether the row is in force at `at`: from its beginning on, and no more at its end."""
        return (self.begin is None or self.begin <= at) and (self.end is None or at < self.end)

    def meets(self, other: Period) -> bool:
        """Whether both are in force at some moment."""
        return (self.begin is None or other.end is None or self.begin < other.end) and (
            other.begin is None or self.end is None or other.begin < self.end
        )


ALWAYS = Period()


class DeckRow(NamedTuple):
    """The price of calls to one prefix: `+` and digits; the longest prefix of the called number decides.

    destination: the name of what is called, for records; may be empty. Then the fields of Tariff, and `line`:
    where it stands in its file, from 1; 0 when it comes from no file. Then when it is in force.
    """

    prefix: str
    destination: str
    rate_per_minute: Decimal
    connect_fee: Decimal = ZERO
    initial_increment: int = DEFAULT_INITIAL_INCREMENT
    subsequent_increment: int = DEFAULT_SUBSEQUENT_INCREMENT
    line: int = 0
    minimum_charge: Decimal = ZERO
    grace_seconds: int = 0
    period: Period = ALWAYS

    @property
    def tariff(self) -> Tariff:
        """What it costs."""
        return Tariff(*self[2:6], self.minimum_charge, self.grace_seconds)


class Dated(NamedTuple):
    """A row that is in force for a time: its period, its terms, its line."""

    period: Period
    terms: int
    line: int


_TARIFF_BITS = 32
_TARIFF_MASK = (1 << _TARIFF_BITS) - 1


class Deck:
    """Rows by prefix (digits without plus), each with its terms: a number that stands for a destination and a
    tariff (see `destination`, `tariff`). `rates` holds the rows that are always in force, `lines` their lines
    in the same order, `dated` the others. `found` is for what was worked out from all rows and is the same
    for every copy."""

    __slots__ = (
        "_destination_numbers", "_lines_by_prefix", "_tariff_numbers", "dated", "destinations", "found",
        "lines", "rates", "tariffs",
    )  # fmt: skip

    def __init__(self, rows: Iterable[DeckRow] = ()) -> None:
        """Raises ValueError when two rows of a prefix are in force at once."""
        self.tariffs: list[Tariff] = []
        self.destinations: list[str] = []
        self.rates: dict[str, int] = {}
        self.lines = array("L")
        self.dated: dict[str, list[Dated]] = {}
        self._tariff_numbers: dict[Tariff, int] = {}
        self._destination_numbers: dict[str, int] = {}
        self._lines_by_prefix: dict[str, int] | None = None
        self.found: dict[str, Any] = {}
        for row in rows:
            terms = self.terms(row.destination, self.number(row.tariff))
            if self.add(row.prefix.removeprefix("+"), terms, row.line, row.period) is not None:
                raise ValueError(f"prefix `{row.prefix}` stands twice")

    def copy(self) -> Deck:
        """One whose `rates` may be changed; the rest is shared."""
        made = Deck.__new__(Deck)
        for name in Deck.__slots__:
            setattr(made, name, getattr(self, name))
        made.rates = self.rates.copy()
        return made

    def number(self, tariff: Tariff) -> int:
        """The number of this tariff, the same for equal ones."""
        known = self._tariff_numbers.get(tariff)
        if known is None:
            known = self._tariff_numbers[tariff] = len(self.tariffs)
            self.tariffs.append(tariff)
        return known

    def terms(self, destination: str, tariff: int) -> int:
        """The terms of a row to this destination at the tariff of this number."""
        known = self._destination_numbers.get(destination)
        if known is None:
            known = self._destination_numbers[destination] = len(self.destinations)
            self.destinations.append(destination)
        return known << _TARIFF_BITS | tariff

    def add(self, prefix: str, terms: int, line: int, period: Period = ALWAYS) -> int | None:
        """Take a row; else the line of an earlier one of its prefix that is in force at the same time."""
        if prefix in self.rates:
            return self._line_of(prefix)
        if period is ALWAYS and prefix not in self.dated:
            self.rates[prefix] = terms
            self.lines.append(line)
            return None
        rows = self.dated.setdefault(prefix, [])
        for row in rows:
            if row.period.meets(period):
                return row.line
        rows.append(Dated(period, terms, line))
        return None

    def _line_of(self, prefix: str) -> int:
        if self._lines_by_prefix is None or prefix not in self._lines_by_prefix:
            self._lines_by_prefix = dict(zip(self.rates, self.lines, strict=True))
        return self._lines_by_prefix[prefix]

    def __len__(self) -> int:
        return len(self.rates) + sum(map(len, self.dated.values()))

    def __iter__(self) -> Iterator[DeckRow]:
        for (prefix, terms), line in zip(self.rates.items(), self.lines, strict=True):
            yield self._row(prefix, terms, line, ALWAYS)
        for prefix, rows in self.dated.items():
            for period, terms, line in rows:
                yield self._row(prefix, terms, line, period)

    def _row(self, prefix: str, terms: int, line: int, period: Period) -> DeckRow:
        tariff = self.tariffs[tariff_of(terms)]
        destination = self.destinations[destination_of(terms)]
        return DeckRow(f"+{prefix}", destination, *tariff[:4], line, *tariff[4:], period)


def tariff_of(terms: int) -> int:
    """The number of the tariff that `terms` stand for."""
    return terms & _TARIFF_MASK


def destination_of(terms: int) -> int:
    """The number of the destination that `terms` stand for."""
    return terms >> _TARIFF_BITS
