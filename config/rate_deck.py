"""Rate decks: CSV text to rows, with every bad row reported at once."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from io import StringIO
from typing import NamedTuple

from config.deck import (
    DEFAULT_CONNECT_FEE,
    DEFAULT_INITIAL_INCREMENT,
    DEFAULT_SUBSEQUENT_INCREMENT,
    DeckRow,
)
from config.structure import nearest
from config.values import read_decimal, show

COLUMNS = DeckRow._fields[:6]
REQUIRED = ("prefix", "rate_per_minute")

_PREFIX = re.compile(r"\+?([1-9][0-9]{0,14})", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_INCREMENT = 86_400
_MAX_RATE = 1_000_000


class DeckFinding(NamedTuple):
    """What is wrong in a deck: the line from 1, the column (may be empty), and the message."""

    line: int
    column: str
    message: str


def read_deck(data: bytes) -> tuple[tuple[DeckRow, ...], list[DeckFinding]]:
    """The rows of a deck that are sound, in the order of the file, and what is wrong with the others.

    The first line names the columns, in any order: `prefix` and `rate_per_minute`; where wanted `destination`
    (default empty), `connect_fee` (0), `initial_increment` and `subsequent_increment` (60). UTF-8, commas.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return (), [DeckFinding(line, "", "is not UTF-8 text")]
    findings: list[DeckFinding] = []
    records = _records(text, findings)
    _, header = next(records, (1, []))
    if not header:
        if not findings:
            findings.append(DeckFinding(1, "", f"is empty; its first line must be `{','.join(COLUMNS)}`"))
        return (), findings
    columns = [name.strip().lower() for name in header]
    findings.extend(_header_findings(columns))
    if findings:
        return (), findings
    return _rows(records, columns, findings), findings


def _records(text: str, findings: list[DeckFinding]) -> Iterator[tuple[int, list[str]]]:
    """The records with the line that each begins on, blank lines left out."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
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
        yield DeckFinding(1, "", f"has no header: the first line must be `{','.join(COLUMNS)}`")
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
    records: Iterator[tuple[int, list[str]]], columns: Sequence[str], findings: list[DeckFinding]
) -> tuple[DeckRow, ...]:
    position: dict[str, int | None] = {
        name: columns.index(name) if name in columns else None for name in COLUMNS
    }
    order = [position[name] for name in COLUMNS]
    rows: dict[str, DeckRow] = {}
    for line, record in records:
        if len(record) > len(columns):
            findings.append(
                DeckFinding(line, "", f"has {len(record)} fields, but the header has {len(columns)}")
            )
            continue
        cells = ["" if at is None or at >= len(record) else record[at].strip() for at in order]
        row = _row(line, cells, findings)
        if row is None:
            continue
        first = rows.get(row.prefix)
        if first is not None:
            findings.append(
                DeckFinding(line, "prefix", f"`{row.prefix}` stands on line {first.line} already")
            )
            continue
        rows[row.prefix] = row
    return tuple(rows.values())


def _row(line: int, cells: Sequence[str], findings: list[DeckFinding]) -> DeckRow | None:
    """A row from its cells in the order of COLUMNS; None, and a finding for each bad cell, if it is none."""
    values: list[object] = []
    for column, cell, read in zip(COLUMNS, cells, _READERS, strict=True):
        try:
            values.append(read(cell))
        except ValueError as error:
            findings.append(DeckFinding(line, column, str(error)))
    return DeckRow._make([*values, line]) if len(values) == len(COLUMNS) else None


def _prefix(cell: str) -> str:
    match = _PREFIX.fullmatch(cell)
    if match is None:
        raise ValueError(
            f"must be 1 to 15 digits that do not begin with 0, with or without `+`, not {show(cell)}"
        )
    return f"+{match[1]}"


def _destination(cell: str) -> str:
    if len(cell) > 200 or _CONTROL.search(cell):
        raise ValueError("must be at most 200 characters on one line")
    return cell


def _rate(cell: str) -> Decimal:
    return read_decimal(cell, decimals=9, highest=_MAX_RATE)


def _fee(cell: str) -> Decimal:
    return _rate(cell) if cell else DEFAULT_CONNECT_FEE


def _increment(default: int) -> Callable[[str], int]:
    def read(cell: str) -> int:
        if not cell:
            return default
        if _SECONDS.fullmatch(cell) is None or not 1 <= int(cell) <= _MAX_INCREMENT:
            raise ValueError(f"must be whole seconds from 1 to {_MAX_INCREMENT}, not {show(cell)}")
        return int(cell)

    return read


_READERS: tuple[Callable[[str], object], ...] = (
    _prefix,
    _destination,
    _rate,
    _fee,
    _increment(DEFAULT_INITIAL_INCREMENT),
    _increment(DEFAULT_SUBSEQUENT_INCREMENT),
)
