from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.rating.rate import MICRO, NANO, Rate

RATES = st.builds(
    Rate,
    prefix=st.just("44"),
    destination=st.just("GB"),
    currency=st.just("EUR"),
    per_minute_nano=st.integers(0, 10 * NANO),
    connect_fee_nano=st.integers(0, NANO),
    initial_increment=st.integers(1, 90),
    subsequent_increment=st.integers(1, 90),
    exchange_numerator=st.integers(1, 10**6),
    exchange_denominator=st.integers(1, 10**6),
)


def rate(per_minute: str, initial: int, subsequent: int, fee: str = "0") -> Rate:
    return Rate(
        "44", "GB", "USD", int(Fraction(per_minute) * NANO), int(Fraction(fee) * NANO), initial, subsequent
    )


@pytest.mark.parametrize(
    ("increments", "milliseconds", "billed"),
    [
        ((60, 60), 0, 60),
        ((60, 60), 1, 60),
        ((60, 60), 60_000, 60),
        ((60, 60), 60_001, 120),
        ((60, 60), 120_000, 120),
        ((30, 6), 0, 30),
        ((30, 6), 29_999, 30),
        ((30, 6), 30_001, 36),
        ((30, 6), 36_000, 36),
        ((30, 6), 36_001, 42),
        ((30, 6), 61_000, 66),
        ((1, 1), 0, 1),
        ((1, 1), 999, 1),
        ((1, 1), 1_001, 2),
        ((1, 1), 61_500, 62),
        ((60, 1), 59_000, 60),
        ((60, 1), 60_001, 61),
    ],
)
def test_billed_seconds(increments: tuple[int, int], milliseconds: int, billed: int) -> None:
    assert rate("0.01", *increments).billed_seconds(milliseconds) == billed


@pytest.mark.parametrize(
    ("priced", "milliseconds", "micro"),
    [
        (rate("0.01", 60, 60), 1, 10_000),
        (rate("0.01", 60, 60), 61_000, 20_000),
        (rate("0.60", 30, 6), 31_000, 360_000),
        (rate("0.60", 30, 6, "0.05"), 31_000, 410_000),
        (rate("0.01", 1, 1), 1_000, 167),  # 166.67 micro-units
        (rate("0.01", 1, 1, "0.02"), 0, 20_167),
        (rate("0.000000001", 1, 1), 1_000, 1),  # anything above nothing is rounded up
        (rate("0", 60, 60, "0.1"), 3_600_000, 100_000),
        (rate("0", 1, 1), 3_600_000, 0),
        (rate("0.015", 1, 1), 3_661_000, 915_250),
    ],
)
def test_cost(priced: Rate, milliseconds: int, micro: int) -> None:
    assert priced.cost(milliseconds) == micro


@given(RATES, st.integers(0, 10**8))
def test_cost_is_the_exact_price_rounded_up_once(priced: Rate, milliseconds: int) -> None:
    billed = priced.billed_seconds(milliseconds)
    exact = Fraction(priced.connect_fee_nano, NANO) + Fraction(priced.per_minute_nano * billed, NANO * 60)
    exact *= Fraction(priced.exchange_numerator, priced.exchange_denominator)
    assert priced.cost(milliseconds) == math.ceil(exact * MICRO)


@given(RATES, st.integers(0, 10**8))
def test_billed_seconds_are_the_fewest_whole_increments(priced: Rate, milliseconds: int) -> None:
    billed = priced.billed_seconds(milliseconds)
    assert billed * 1000 >= milliseconds
    steps, rest = divmod(billed - priced.initial_increment, priced.subsequent_increment)
    assert rest == 0
    assert steps >= 0
    assert steps == 0 or (billed - priced.subsequent_increment) * 1000 < milliseconds


@given(RATES, st.integers(0, 7200), st.integers(0, 10**7))
def test_a_block_pays_what_it_promises(priced: Rate, seconds: int, elapsed_ms: int) -> None:
    block = priced.block(seconds, elapsed_ms)
    assert block >= priced.cost(elapsed_ms + seconds * 1000)
    assert block >= priced.cost(0)
    paid = priced.paid_seconds(block)
    assert paid is None or paid * 1000 >= elapsed_ms + seconds * 1000


@given(RATES, st.integers(0, 10**9))
def test_paid_seconds_are_the_most_that_an_amount_buys(priced: Rate, amount: int) -> None:
    paid = priced.paid_seconds(amount)
    if paid is None:
        assert priced.cost(10**9) <= amount
    elif paid == 0:
        assert priced.cost(0) > amount
    else:
        assert priced.cost_of_seconds(paid) <= amount
        assert priced.cost_of_seconds(paid + priced.subsequent_increment) > amount


@given(RATES, st.integers(0, 10 * NANO))
def test_exceeds_compares_exactly(priced: Rate, limit: int) -> None:
    assert priced.exceeds(limit) == (priced.per_minute > Fraction(limit, NANO))


def test_a_price_at_the_limit_keeps_to_it() -> None:
    assert not rate("0.5", 60, 60).exceeds(500_000_000)
    assert rate("0.500000001", 60, 60).exceeds(500_000_000)


@pytest.mark.parametrize(
    ("nano", "numerator", "denominator", "text"),
    [
        (500_000_000, 1, 1, "0.5"),
        (0, 1, 1, "0"),
        (1, 1, 1, "0.000000001"),
        (100_000_000, 27, 25, "0.108"),
        (10 * NANO, 1, 1, "10"),
        (1, 123_456_789, 10**9, "0.000000000123456789"),
    ],
)
def test_price_as_text(nano: int, numerator: int, denominator: int, text: str) -> None:
    priced = Rate("44", "", "EUR", nano, exchange_numerator=numerator, exchange_denominator=denominator)
    assert priced.per_minute_text == text


def test_an_answered_call_costs_at_least_the_minimum() -> None:
    rate = Rate(
        "44", "", "USD", 60_000_000, initial_increment=1, subsequent_increment=1, minimum_nano=50_000_000
    )
    assert rate.cost(1_000) == 50_000
    assert rate.cost(50_000) == 50_000
    assert rate.cost(51_000) == 51_000
    assert rate.paid_seconds(49_999) == 0
    assert rate.paid_seconds(50_000) == 50
    assert rate.paid_seconds(51_000) == 51


def test_a_call_within_the_grace_costs_nothing_and_one_beyond_it_everything() -> None:
    rate = Rate("44", "", "USD", 60_000_000, initial_increment=1, subsequent_increment=1, grace_seconds=3)
    assert rate.cost(3_000) == 0
    assert rate.cost(3_001) == 4_000
    assert rate.cost_of_seconds(1) == 1_000  # what is reserved knows no grace
    assert Rate("44", "", "USD", 60_000_000).cost(0) > 0
