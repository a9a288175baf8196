from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.numbering.dial_plan import DialPlan, is_e164


@pytest.mark.parametrize("digits", ["1", "18765550100", "9" * 15])
def test_is_e164(digits: str) -> None:
    assert is_e164(digits)


@pytest.mark.parametrize("digits", ["", "0", "08765550100", "9" * 16, "+1", "1a", "١", "1²"])
def test_is_not_e164(digits: str) -> None:
    assert not is_e164(digits)


@pytest.mark.parametrize(
    ("digits", "rule"),
    [
        ("01118765550100", "international prefix 011"),
        ("18765550100", "national prefix 1, country code 1"),
        ("8765550100", "national prefix none, country code 1"),
    ],
)
def test_the_rule_that_read_it_is_named(digits: str, rule: str) -> None:
    found = DialPlan("1", ("011",), ("", "1")).international(digits)
    assert found == ("+18765550100", rule)


def test_the_longest_prefix_decides_alone() -> None:
    plan = DialPlan("44", ("00",), ("0",))
    # "00" is international and what follows is no number; that "0" also matches does not make it national.
    assert plan.international("000441234567") is None
    assert plan.international("00") is None


@pytest.mark.parametrize("prefixes", [("00", "0011"), ("0011", "00")])
def test_the_longest_international_prefix_decides(prefixes: tuple[str, ...]) -> None:
    plan = DialPlan("61", prefixes, ("0",))
    assert plan.international("001118765550100") == ("+18765550100", "international prefix 0011")
    assert plan.international("0018765550100") == ("+18765550100", "international prefix 00")


def test_without_a_country_code_there_are_no_national_numbers() -> None:
    assert DialPlan(None, (), ("0",)).international("02079460018") is None


def test_no_plan_reads_nothing() -> None:
    assert DialPlan().international("18765550100") is None


@given(st.text("0123456789", min_size=1, max_size=17))
def test_two_readings_that_differ_are_no_reading(digits: str) -> None:
    by_prefix = DialPlan("7", ("810",), ("8",)).international(digits)
    bare = DialPlan(bare_e164=True).international(digits)
    both = DialPlan("7", ("810",), ("8",), bare_e164=True).international(digits)
    if digits.startswith("8") and bare is not None:
        assert both == (by_prefix if by_prefix is not None and by_prefix[0] == bare[0] else None)
    elif by_prefix is None:
        assert both == bare
