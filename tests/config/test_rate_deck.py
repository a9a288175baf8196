"""Rate decks from CSV; the messages are in tests/bad_config."""

from __future__ import annotations

from decimal import Decimal

from config.deck import DeckRow
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
