"""Rules of one trunk; their messages are in tests/bad_config."""

from __future__ import annotations

from typing import Any

import pytest

from config.references import check_references
from config.structure import read_structure

TRUNK = {"name": "a", "allowed_sip_ips": ["192.0.2.1"], "destination_whitelist": ["us"], "provider": "p"}


def findings(trunk: dict[str, Any], **top: Any) -> tuple[list[str], list[str]]:
    tree = {
        "providers": [{"name": "p", "hostname": "b"}],
        "emergency": "none",
        "trunks": [{**TRUNK, **trunk}],
        **top,
    }
    draft, _ = read_structure(tree)
    report = check_references(draft)
    return [finding.path for finding in report.problems], [finding.path for finding in report.warnings]


@pytest.mark.parametrize(
    ("trunk", "top", "sound"),
    [
        ({"destination_whitelist": None}, {}, False),
        ({"destination_whitelist": None, "allow_any_country": "yes"}, {}, True),
        ({"destination_whitelist": None, "account": "x"}, {"accounts": [{"name": "x"}]}, False),
        (
            {"destination_whitelist": None, "account": "x"},
            {"accounts": [{"name": "x", "destination_whitelist": ["us"]}]},
            True,
        ),
        (
            {"destination_whitelist": None, "profile": "x"},
            {"profiles": [{"name": "x", "destination_whitelist": ["us"]}]},
            True,
        ),
        ({"allowed_sip_ips": ["0.0.0.0/0"]}, {}, False),
        ({"allowed_sip_ips": ["0.0.0.0/0"], "allow_any_source": "true"}, {}, True),
        ({"allowed_sip_ips": ["0.0.0.0/1", "128.0.0.0/1"]}, {}, False),
        ({"allowed_sip_ips": ["0.0.0.0/1", "::/1"]}, {}, True),
        ({"allowed_sip_ips": []}, {}, False),
        (
            {
                "dial_plan": {
                    "country_code": "1",
                    "international_prefixes": ["011"],
                    "national_prefixes": ["1", ""],
                }
            },
            {},
            True,
        ),
        ({"dial_plan": {"bare_e164": "true"}}, {}, True),
        ({"on_ledger_unavailable": "admit", "local_capacity_limit": "5"}, {}, True),
        ({"on_ledger_unavailable": "admit"}, {"ledger": {"local_capacity_limit": "5"}}, True),
        ({"threshold_amount": "1"}, {}, False),
        ({"threshold_amount": "1", "rate_deck": "r"}, {"rate_decks": {"r": {"file": "a.csv"}}}, True),
        (
            {"threshold_amount": "1"},
            {"default_rate_deck": "r", "rate_decks": {"r": {"file": "a.csv"}}},
            True,
        ),
        ({"provider": None}, {"default_provider": "p"}, True),
    ],
)
def test_what_is_a_problem(trunk: dict[str, Any], top: dict[str, Any], sound: bool) -> None:
    problems, warnings = findings(trunk, **top)
    assert (problems == []) is sound
    assert warnings == []


@pytest.mark.parametrize(
    "fault",
    [
        {"destination_whitelist": ["zz"]},
        {"allowed_sip_ips": ["x"]},
        {"auth": "digest", "username": "u", "ha1": "x", "accept": "x"},
        {"on_cli_mismatch_action": "replace_cli", "default_did": "x"},
        {"on_ledger_unavailable": "admit", "local_capacity_limit": "x"},
        {"threshold_amount": "1", "rate_deck": ["x"]},
        {"account": "x"},
    ],
)
def test_a_faulty_field_makes_no_second_problem(fault: dict[str, Any]) -> None:
    """The rules that read a field with a fault hold their tongue: what they would say might be wrong."""
    problems, _ = findings(fault, accounts=[{"name": "x", "destination_whitelist": ["zz"]}])
    assert problems == []
