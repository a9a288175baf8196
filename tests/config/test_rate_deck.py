"""Rate decks from CSV; the messages are in tests/bad_config."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from config.deck import DeckRow, Period, Tariff
from config.rate_deck import COLUMNS, read_deck

HEADER = ",".join(COLUMNS)


def test_rows_in_the_order_of_the_file() -> None:
    text = f'{HEADER}\n+44,"Kingdom, United",0.0120,0.10,30,6\n1876, Jamaica ,0.245,0,60,60\n'
    rows, findings = read_deck(text.encode())
    assert findings == []
    assert tuple(rows) == (
        DeckRow("+44", "Kingdom, United", Decimal("0.0120"), Decimal("0.10"), 30, 6, 2),
        DeckRow("+1876", "Jamaica", Decimal("0.245"), Decimal(0), 60, 60, 3),
    )


def test_columns_may_be_fewer_and_in_any_order() -> None:
    rows, findings = read_deck(b"\xef\xbb\xbfRate_Per_Minute,prefix\r\n0.5,1\r\n")
    assert findings == []
    assert tuple(rows) == (DeckRow("+1", "", Decimal("0.5"), Decimal(0), 60, 60, 2),)


def test_a_cell_may_be_empty_where_there_is_a_default() -> None:
    rows, findings = read_deck(f"{HEADER}\n1,,0.5,,,6\n2,x,0.5\n".encode())
    assert findings == []
    assert [row[3:6] for row in rows] == [(Decimal(0), 60, 6), (Decimal(0), 60, 60)]


def test_lines_are_counted_through_quoted_line_breaks_and_blank_lines() -> None:
    text = f'{HEADER}\n\n1,"a",0.5\n2,"a\nb",0.5\nx,c,0.5\n'
    _, findings = read_deck(text.encode())
    assert [(finding.line, finding.column) for finding in findings] == [(4, "destination"), (6, "prefix")]


def test_sound_rows_are_kept_beside_bad_ones() -> None:
    rows, findings = read_deck(b"prefix,rate_per_minute\n1,0.1\nx,y\n2,0.2\n")
    assert [row.prefix for row in rows] == ["+1", "+2"]
    assert [(finding.line, finding.column) for finding in findings] == [(3, "prefix"), (3, "rate_per_minute")]


def test_a_rate_is_exact() -> None:
    rows, _ = read_deck(b"prefix,rate_per_minute\n1,0.123456789\n2,0.100000000000\n")
    assert [row.rate_per_minute for row in rows] == [Decimal("0.123456789"), Decimal("0.1")]


def test_rows_may_be_in_force_for_a_time() -> None:
    rows = "44,0.1,,2027-01-01\n44,0.2,2027-01-01T01:00:00+01:00,\n"
    deck, findings = read_deck(f"prefix,rate_per_minute,effective_date,end_date\n{rows}".encode())
    assert findings == []
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    assert [(row.rate_per_minute, row.period) for row in deck] == [
        (Decimal("0.1"), Period(None, new_year)),
        (Decimal("0.2"), Period(new_year, None)),
    ]


def test_minimum_charge_and_grace() -> None:
    deck, findings = read_deck(b"prefix,rate_per_minute,minimum_charge,grace_seconds\n44,0.1,0.05,3\n")
    assert findings == []
    assert deck.tariffs == [Tariff(Decimal("0.1"), minimum_charge=Decimal("0.05"), grace_seconds=3)]


@pytest.mark.parametrize(
    ("rows", "column", "message"),
    [
        ("44,0.1,,\n44,0.2,2027-01-01,\n", "prefix", "`+44` is in force at the same time by line 2"),
        ("44,0.1,2026-01-01,\n44,0.2,2027-01-01,\n", "prefix",
         "`+44` is in force at the same time by line 2"),
        ("44,0.1,,2027-01-01\n44,0.2,,\n", "prefix", "`+44` stands on line 2 already"),
        ("44,0.1,2027-01-01,2026-01-01\n", "end_date", "must be later than effective_date"),
        ("44,0.1,tomorrow,\n", "effective_date",
         "must be a date such as `2027-01-01` or `2027-01-01T06:00:00+01:00`, not `tomorrow`"),
        ("44,0.1,0001-01-01T00:00:00+01:00,\n", "effective_date",
         "must be a date such as `2027-01-01` or `2027-01-01T06:00:00+01:00`, "
         "not `0001-01-01T00:00:00+01:00`"),
        ("44,0.1,,9999-12-31T23:59:59-05:00\n", "end_date",
         "must be a date such as `2027-01-01` or `2027-01-01T06:00:00+01:00`, "
         "not `9999-12-31T23:59:59-05:00`"),
    ],
)  # fmt: skip
def test_periods_that_cannot_be(rows: str, column: str, message: str) -> None:
    _, findings = read_deck(f"prefix,rate_per_minute,effective_date,end_date\n{rows}".encode())
    assert [(finding.column, finding.message) for finding in findings] == [(column, message)]


def test_every_bad_row_of_a_large_deck_is_reported_at_once() -> None:
    rows = "".join(f"{at},{'x' if at % 3 else '0.1'}\n" for at in range(100, 30_100))
    deck, findings = read_deck(f"prefix,rate_per_minute\n{rows}{rows}".encode())
    assert len(deck) == 10_000
    assert len(findings) == 20_000 * 2 + 10_000
    assert findings[-1].message == f"`+30099` stands on line {29_999 + 2} already"
