from __future__ import annotations

import re

import pytest

from config.values import HIGH_RISK
from policy.numbering.country import country_of
from policy.numbering.high_risk import HighRisk, load_ranges


def test_every_row_has_a_reason_and_a_public_source() -> None:
    rows = load_ranges()
    assert len(rows) > 40
    for row in rows:
        assert re.fullmatch(r"[1-9][0-9]{1,6}", row.prefix), row
        assert len(row.why) > 20, row
        assert re.fullmatch(r"https?://[a-z0-9.-]+/\S+", row.source), row


def test_the_names_are_those_of_the_configuration() -> None:
    assert sorted({row.name for row in load_ranges()}) == sorted(HIGH_RISK)


def test_a_list_has_no_range_twice_or_within_another() -> None:
    for name in HIGH_RISK:
        prefixes = [row.prefix for row in load_ranges() if row.name == name]
        assert len(prefixes) == len(set(prefixes))
        within = [(one, two) for one in prefixes for two in prefixes if one != two and one.startswith(two)]
        assert within == []


@pytest.mark.parametrize(
    ("number", "name", "country"),
    [
        ("+18095550123", "one_ring", "DO"),
        ("+447012345678", "one_ring", "GB"),
        ("+22245251234", "one_ring", "MR"),
        ("+68221234", "diallers", "CK"),
        ("+25261234567", "carrier_blocked", "SO"),
        ("+5371234567", "advertised", "CU"),
    ],
)
def test_ranges_are_found_by_the_names_that_are_on(number: str, name: str, country: str) -> None:
    found = HighRisk([name]).lookup(number)
    assert found is not None
    assert (found.name, country_of(number)) == (name, country)
    assert HighRisk([]).lookup(number) is None


@pytest.mark.parametrize("number", ["+12025550123", "+442079460123", "+33142685300", "+1", "+44"])
def test_ordinary_numbers_are_in_none(number: str) -> None:
    assert HighRisk(HIGH_RISK).lookup(number) is None
