from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from config.model import DeckRow
from policy.compile import CompileResult
from policy.rating.compile_deck import exact, micro, nano
from policy.rating.rate import Rate

Compile = Callable[..., CompileResult]

EUROS = {"rate_decks": {"retail": {"file": "retail.csv", "currency": "EUR"}}}


def row(prefix: str = "+44", price: str = "0.01", **changes: Any) -> DeckRow:
    return DeckRow(prefix, "GB", Decimal(price))._replace(**changes)


def compiled_rate(compile_sections: Compile, new_trunk: Any, rows: Sequence[DeckRow], **changes: Any) -> Rate:
    trunks = [new_trunk(rate_deck="retail")]
    result = compile_sections({"retail": rows}, trunks=trunks, **changes)
    assert result.problems == []
    assert result.policy is not None
    rates = result.policy.trunks["office-pbx"].rates
    assert rates is not None
    rate = rates.lookup("+442079460018")
    assert rate is not None
    return rate


def test_prices_are_exact(compile_sections: Compile, new_trunk: Any) -> None:
    rows = [
        row(
            price="0.012345678",
            connect_fee=Decimal("0.000000001"),
            initial_increment=30,
            subsequent_increment=6,
        )
    ]
    rate = compiled_rate(compile_sections, new_trunk, rows)
    assert rate == Rate("44", "GB", "USD", 12_345_678, 1, 30, 6, 1, 1)


def test_foreign_prices_are_exchanged_exactly(compile_sections: Compile, new_trunk: Any) -> None:
    rate = compiled_rate(
        compile_sections, new_trunk, [row(price="0.1")], **EUROS, exchange_rates={"EUR": "1.08"}
    )
    assert rate.per_minute == Fraction(108, 1000)
    assert rate.per_minute_text == "0.108"
    assert rate.cost(1) == 108_000


PROBLEMS: list[tuple[Mapping[str, Sequence[DeckRow]], dict[str, Any], list[tuple[str, str]]]] = [
    ({"retail": []}, EUROS,
     [("rate_decks.retail.currency",
       "`EUR` is not the accounting currency and has no entry in exchange_rates")]),
    ({}, {}, [("rate_decks.retail", "its rows were not loaded")]),
    ({"retail": [row(), row("44")]}, {}, [("rate_decks.retail", "prefix `44` stands twice")]),
    ({"retail": [row(price="0.0000000001")]}, {},
     [("rate_decks.retail", "prefix `+44`: a price or increment is out of range")]),
    ({"retail": [row(price="-1"), row("+45", initial_increment=0), row("+46", subsequent_increment=-1),
                 row("+44x")]}, {},
     [("rate_decks.retail", f"prefix `{prefix}`: a price or increment is out of range")
      for prefix in ("+44", "+45", "+46", "+44x")]),
]  # fmt: skip


@pytest.mark.parametrize(("decks", "changes", "problems"), PROBLEMS)
def test_problems(
    compile_sections: Compile,
    decks: Mapping[str, Sequence[DeckRow]],
    changes: dict[str, Any],
    problems: list[tuple[str, str]],
) -> None:
    result = compile_sections(decks, **changes)
    assert result.problems == problems
    assert result.policy is None


def test_amounts_in_units() -> None:
    assert micro(Decimal("100.5")) == 100_500_000
    assert nano(Decimal("0.5")) == 500_000_000
    assert exact(Decimal("0.1"), 10) == 1
    assert exact(Decimal("0.01"), 10) is None
    assert exact(Decimal(-1), 10) is None
