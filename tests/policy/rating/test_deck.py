from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from config.deck import Dated, Period
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


def test_dated_prices_come_and_go() -> None:
    first, second = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
    tariffs = [Rate("", "", "USD", price) for price in (1, 2, 3)]
    dated = {"4420": [Dated(Period(None, first), 1, 2), Dated(Period(first, second), 2, 3)]}
    table = RateTable("retail", tariffs, [""], {"44": 0}, dated)

    def price(now: datetime) -> int:
        table.prices_at(now)
        rate = table.lookup("+442071838750")
        assert rate is not None
        return rate.per_minute_nano

    moment = timedelta(microseconds=1)
    assert price(first - moment) == 2
    assert table.switches_at == first
    assert price(first) == 3
    assert table.switches_at == second
    assert price(second - moment) == 3
    assert price(second) == 1
    assert table.switches_at is None


PREFIXES = st.lists(st.text("0123456789", min_size=1, max_size=7), max_size=40)


@given(PREFIXES, st.text("0123456789", min_size=1, max_size=9))
def test_lengths_by_the_first_digits_hide_no_prefix(prefixes: list[str], number: str) -> None:
    table = RateTable.of("retail", (Rate(prefix, "", "USD", 1) for prefix in prefixes))
    wanted = max((prefix for prefix in prefixes if number.startswith(prefix)), key=len, default=None)
    found = table.lookup(number)
    assert (None if found is None else found.prefix) == wanted


def test_many_prices_come_a_few_at_a_time() -> None:
    """A switch of a whole deck may not hold calls up."""
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    dated = {str(at): [Dated(Period(moment, None), 0, at)] for at in range(100, 110)}
    table = RateTable("retail", [Rate("", "", "USD", 1)], [""], {}, dated)
    table.prices_at(moment - timedelta(seconds=1))
    assert (len(table), table.switches_at) == (0, moment)
    for done in (4, 8, 10):
        assert table.switches_at is not None
        table.prices_at(moment, 4)
        assert len(table) == done
    assert table.switches_at is None
    assert all(table.lookup(prefix) for prefix in dated)
