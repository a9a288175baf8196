"""What `rate` asks and shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policy.compiled import Policy
from proxy.cli.rate import quote, render
from proxy.configuration import load_policy

DECK = """\
prefix,destination,rate_per_minute,connect_fee,initial_increment,subsequent_increment,minimum_charge,grace_seconds
44,United Kingdom,0.0060,0.01,1,1,,
4420,London,0.0400,0,30,6,0.03,5
"""
FILE = """\
exchange_rates: {EUR: "1.10"}
rate_decks: {retail: {file: retail.csv, currency: EUR}, empty: {file: other.csv}}
providers: [{name: carrier, hostname: 192.0.2.1}]
trunks: [{name: a, provider: carrier, allowed_sip_ips: [192.0.2.2], destination_whitelist: [gb]}]
emergency: none
"""


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    (tmp_path / "retail.csv").write_text(DECK)
    (tmp_path / "other.csv").write_text("prefix,rate_per_minute\n33,0.1\n")
    (tmp_path / "trunkwarden.yaml").write_text(FILE)
    compiled = load_policy(tmp_path / "trunkwarden.yaml")
    assert compiled.policy is not None, compiled.problems
    return compiled.policy


def asked(policy: Policy, number: str, seconds: int = 60) -> dict[str, Any]:
    fields = quote(policy, "retail", number, seconds)
    assert fields is not None
    return fields


def test_the_row_of_the_longest_prefix_with_all_its_terms(policy: Policy) -> None:
    assert asked(policy, "+442071838750", 61) == {
        "deck": "retail",
        "number": "+442071838750",
        "country": "GB",
        "kinds": [],
        "prefix": "+4420",
        "destination": "London",
        "currency": "EUR",
        "rate_per_minute": "0.04",
        "connect_fee": "0.00",
        "minimum_charge": "0.03",
        "grace_seconds": 5,
        "initial_increment": 30,
        "subsequent_increment": 6,
        "accounting_currency": "USD",
        "accounting_rate_per_minute": "0.044",
        "seconds": 61,
        "billed_seconds": 66,
        "cost": "0.0484",
    }


@pytest.mark.parametrize(
    ("number", "seconds", "billed", "cost"),
    [
        ("442071838750", 5, 0, "0.00"),  # grace
        ("442071838750", 6, 30, "0.033"),  # the minimum, 0.03 EUR
        ("+441534496123", 90, 90, "0.0209"),  # 0.01 and 0.009 EUR
        ("+449098791234", 1, 1, "0.01111"),
    ],
)
def test_what_so_many_seconds_cost(policy: Policy, number: str, seconds: int, billed: int, cost: str) -> None:
    fields = asked(policy, number, seconds)
    assert (fields["billed_seconds"], fields["cost"]) == (billed, cost)


def test_kind_of_the_number(policy: Policy) -> None:
    assert asked(policy, "+449098791234")["kinds"] == ["premium"]


def test_number_that_the_deck_does_not_know(policy: Policy) -> None:
    assert quote(policy, "retail", "+33142685300", 60) is None


@pytest.mark.parametrize(
    ("deck", "number", "message"),
    [
        ("retial", "+44", "there is no rate deck `retial`; there are: `retail`, `empty`"),
        ("retail", "020 7183", "`020 7183` is no international number"),
        ("retail", "++44", "is no international number"),
        ("retail", "", "is no international number"),
    ],
)
def test_what_cannot_be_asked(policy: Policy, deck: str, number: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        quote(policy, deck, number, 60)


def test_one_fact_a_line_and_nothing_that_is_not_there(
    policy: Policy, capsys: pytest.CaptureFixture[str]
) -> None:
    render(asked(policy, "+442071838750"))
    lines = capsys.readouterr().out.splitlines()
    assert "prefix: +4420" in lines
    assert "destination: London" in lines
    assert not any(line.startswith("kinds") for line in lines)
