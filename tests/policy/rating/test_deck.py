from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policy.rating.deck import RateTable
from policy.rating.rate import Rate
from policy.verdict import Check


@given(st.lists(st.text("12", min_size=1, max_size=5), max_size=10), st.text("12", min_size=1, max_size=8))
def test_the_longest_prefix_is_found(prefixes: list[str], number: str) -> None:
    table = RateTable.of("retail", (Rate(prefix, "", "USD", 1) for prefix in prefixes))
    wanted = max((prefix for prefix in prefixes if number.startswith(prefix)), key=len, default=None)
    found = table.lookup("+" + number)
    assert (None if found is None else found.prefix) == wanted
    assert table.lookup(number) is found


def test_the_check_names_prefix_price_and_increments() -> None:
    rate = Rate("4420", "London", "EUR", 4_000_000, 0, 30, 6, 108, 100)
    table = RateTable.of("retail", [rate], currency="USD")
    wanted = Check("rate", "deck:retail", "pass", "prefix +4420 costs 0.00432 USD a minute, 30/6")
    assert table.check(rate) == wanted
    assert table.check(rate) is table.check(rate)
    assert len(table) == 1
