"""Rate decks: CSV text to rows, with every bad row reported at once."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO, TextIOWrapper
from typing import NamedTuple

from config.deck import (
    ALWAYS,
    DEFAULT_INITIAL_INCREMENT,
    DEFAULT_SUBSEQUENT_INCREMENT,
    ZERO,
    Deck,
    Period,
    Tariff,
)
from config.structure import nearest
from config.values import read_decimal, show

COLUMNS = (
    "prefix", "destination", *Tariff._fields, "effective_date", "end_date",
)  # fmt: skip
REQUIRED = ("prefix", "rate_per_minute")
_USUAL = COLUMNS[:6]

_PREFIX = re.compile(r"\+?([1-9][0-9]{0,14})", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)
_MAX_INCREMENT = 86_400
_LONGEST_DESTINATION = 200
_MAX_RATE = 1_000_000
# What a deck's rows repeat is read once; one whose rows are all different must not be kept twice.
_MOST_REMEMBERED = 65_536


class DeckFinding(NamedTuple):
    """What is wrong in a deck: the line from 1, the column (may be empty), and the message."""

    line: int
    column: str
    message: str


class ReadDeck(NamedTuple):
    """A deck that was read: its sound rows, and what is wrong with the others."""

    deck: Deck
    faults: list[DeckFinding]


def read_deck(data: bytes) -> ReadDeck:
    """The rows of a deck that are sound, and what is wrong with the others.

    The first line names the columns, in any order: `prefix` and `rate_per_minute`; where wanted `destination`
    (default empty), `connect_fee` (0), `initial_increment` and `subsequent_increment` (60), `minimum_charge`
    (0), `grace_seconds` (0), `effective_date` and `end_date` (always in force). UTF-8, commas.
    """
    findings: list[DeckFinding] = []
    deck = Deck()
    records = _records(data, findings)
    try:
        _, header = next(records, (1, []))
        if header:
            columns = [name.strip().lower() for name in header]
            findings.extend(_header_findings(columns))
            if not findings:
                _rows(records, columns, deck, findings)
        elif not findings:
            findings.append(DeckFinding(1, "", f"is empty; its first line must be `{','.join(_USUAL)}`"))
    except UnicodeDecodeError:
        return ReadDeck(Deck(), [DeckFinding(_undecodable_line(data), "", "is not UTF-8 text")])
    return ReadDeck(deck, findings)


def _undecodable_line(data: bytes) -> int:
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return data.count(b"\n", 0, error.start) + 1
    return 1


def _records(data: bytes, findings: list[DeckFinding]) -> Iterator[tuple[int, list[str]]]:
    """The records with the line that each begins on, blank lines left out."""
    reader = csv.reader(TextIOWrapper(BytesIO(data), "utf-8-sig", newline=""), strict=True)
    before = 0
    try:
        for record in reader:
            if record:
                yield before + 1, record
            before = reader.line_num
    except csv.Error as error:
        findings.append(DeckFinding(before + 1, "", f"is not CSV: {error}"))


def _header_findings(columns: Sequence[str]) -> Iterator[DeckFinding]:
    if not set(columns) & set(COLUMNS):
        yield DeckFinding(1, "", f"has no header: the first line must be `{','.join(_USUAL)}`")
        return
    for index, column in enumerate(columns):
        if column not in COLUMNS:
            yield DeckFinding(1, "", f"unknown column {show(column)}{nearest(column, COLUMNS)}")
        elif column in columns[:index]:
            yield DeckFinding(1, column, "stands in the header twice")
    for column in REQUIRED:
        if column not in columns:
            yield DeckFinding(1, column, "is missing in the header")


def _rows(
    records: Iterator[tuple[int, list[str]]],
    columns: Sequence[str],
    deck: Deck,
    findings: list[DeckFinding],
) -> None:
    wide = len(columns)
    at_prefix = columns.index("prefix")
    at_destination = columns.index("destination") if "destination" in columns else wide
    order = [columns.index(name) if name in columns else wide for name in COLUMNS[2:]]
    read: dict[tuple[str, ...], tuple[int, Period]] = {}
    for line, record in records:
        if len(record) > wide:
            findings.append(DeckFinding(line, "", f"has {len(record)} fields, but the header has {wide}"))
            continue
        # A column that is missing, in the header or at the end of the row, is empty.
        record.extend([""] * (wide + 1 - len(record)))
        prefix = record[at_prefix].strip()
        match = _PREFIX.fullmatch(prefix)
        if match is None:
            findings.append(DeckFinding(line, "prefix", _BAD_PREFIX.format(show(prefix))))
        destination = record[at_destination].strip()
        if len(destination) > _LONGEST_DESTINATION or not destination.isprintable():
            findings.append(DeckFinding(line, "destination", _BAD_DESTINATION))
        rest = tuple([record[at] for at in order])
        known = read.get(rest)
        if known is None:
            known = _tariff(line, rest, deck, findings)
            if known is None:
                continue
            if len(read) < _MOST_REMEMBERED:
                read[rest] = known
        if match is not None:
            digits = match[1]
            earlier = deck.add(digits, deck.terms(destination, known[0]), line, known[1])
            if earlier is not None:
                findings.append(DeckFinding(line, "prefix", _twice(digits, earlier, known[1])))


def _twice(digits: str, earlier: int, period: Period) -> str:
    if period == ALWAYS:
        return f"`+{digits}` stands on line {earlier} already"
    return f"`+{digits}` is in force at the same time by line {earlier}"


def _tariff(
    line: int, cells: tuple[str, ...], deck: Deck, findings: list[DeckFinding]
) -> tuple[int, Period] | None:
    """The tariff's number and the period that the cells beside prefix and destination give. None
    if they give none, and a finding for each bad cell."""
    values: list[object] = []
    for column, cell, read in zip(COLUMNS[2:], cells, _READERS, strict=True):
        try:
            values.append(read(cell.strip()))
        except ValueError as error:
            findings.append(DeckFinding(line, column, str(error)))
    if len(values) < len(cells):
        return None
    period = Period._make(values[6:])
    if period.begin is not None and period.end is not None and period.end <= period.begin:
        findings.append(DeckFinding(line, "end_date", "must be later than effective_date"))
        return None
    return deck.number(Tariff._make(values[:6])), ALWAYS if period == ALWAYS else period


_BAD_DESTINATION = f"must be at most {_LONGEST_DESTINATION} characters on one line"
_BAD_PREFIX = "must be 1 to 15 digits that do not begin with 0, with or without `+`, not {}"


def _rate(cell: str) -> Decimal:
    return read_decimal(cell, decimals=9, highest=_MAX_RATE)


def _fee(cell: str) -> Decimal:
    return _rate(cell) if cell else ZERO


def _increment(default: int) -> Callable[[str], int]:
    def read(cell: str) -> int:
        if not cell:
            return default
        if _SECONDS.fullmatch(cell) is None or not 1 <= int(cell) <= _MAX_INCREMENT:
            raise ValueError(f"must be whole seconds from 1 to {_MAX_INCREMENT}, not {show(cell)}")
        return int(cell)

    return read


def _grace(cell: str) -> int:
    if not cell:
        return 0
    if _SECONDS.fullmatch(cell) is None or int(cell) > _MAX_INCREMENT:
        raise ValueError(f"must be whole seconds from 0 to {_MAX_INCREMENT}, not {show(cell)}")
    return int(cell)


def _moment(cell: str) -> datetime | None:
    """ISO 8601; without an offset, UTC; a date alone is its first moment."""
    if not cell:
        return None
    try:
        moment = datetime.fromisoformat(cell)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the first or the last day of the calendar may be none in UTC
        raise ValueError(
            f"must be a date such as `2027-01-01` or `2027-01-01T06:00:00+01:00`, not {show(cell)}"
        ) from None


_READERS: tuple[Callable[[str], object], ...] = (
    _rate,
    _fee,
    _increment(DEFAULT_INITIAL_INCREMENT),
    _increment(DEFAULT_SUBSEQUENT_INCREMENT),
    _fee,
    _grace,
    _moment,
    _moment,
)
