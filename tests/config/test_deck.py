"""The row of a rate deck."""

from __future__ import annotations

from decimal import Decimal

from config.deck import DeckRow


def test_what_a_row_has_unless_said_otherwise() -> None:
    row = DeckRow("+44", "United Kingdom", Decimal("0.01"))
    assert (row.connect_fee, row.initial_increment, row.subsequent_increment, row.line) == (0, 60, 60, 0)
