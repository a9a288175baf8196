"""Numbers said in `dids` are the trunk's or the account's; what is refused is in tests/bad_config."""

from __future__ import annotations

from typing import Any

import pytest

from config.did_rules import place_dids
from config.model import Config
from config.references import check_references
from config.scopes import Report
from config.structure import read_structure

A, B, C = "+442071838750", "+442071838751", "+442071838752"
TRUNK = {"allowed_sip_ips": ["192.0.2.1"], "destination_whitelist": ["us"], "provider": "p"}


def read(entries: list[dict[str, Any]], **trunk: Any) -> tuple[Config | None, Report]:
    tree: dict[str, Any] = {
        "providers": [{"name": "p", "hostname": "b.example"}],
        "emergency": "none",
        "accounts": [{"name": "acme", "dids": [C]}, {"name": "zenith"}],
        "trunks": [
            {"name": "desk", "account": "acme", **TRUNK, **trunk},
            {"name": "hall", **TRUNK, "allowed_sip_ips": ["192.0.2.2"]},
        ],
        "dids": entries,
    }
    draft, findings = read_structure(tree)
    place_dids(draft)
    report = check_references(draft)
    report.problems[:0] = findings
    return None if report.problems else draft.config(), report


@pytest.mark.parametrize(
    ("entry", "desk", "acme"),
    [
        ({"trunk": "desk"}, (B, A), (C,)),
        ({"trunk": "desk", "account": "acme"}, (B, A), (C,)),
        ({"account": "acme"}, (B,), (C, A)),
        ({}, (B,), (C,)),
        ({"trunk": "hall"}, (B,), (C,)),
        ({"account": "zenith"}, (B,), (C,)),
        # said twice is said once
        ({"number": B, "trunk": "desk"}, (B,), (C,)),
        ({"number": C, "account": "acme"}, (B,), (C,)),
        ({"number": C, "trunk": "desk"}, (B, C), (C,)),
    ],
)
def test_where_a_number_goes(entry: dict[str, Any], desk: tuple[str, ...], acme: tuple[str, ...]) -> None:
    config, report = read([{"number": A, **entry}], dids=[B])
    assert config is not None, report.problems
    assert (config.trunks[0].dids, config.accounts[0].dids) == (desk, acme)
    assert report.warnings == []


def test_rules_on_lists_of_numbers_look_at_all_of_them() -> None:
    for dids, wrong in ([{"number": A, "trunk": "desk"}], False), ([{"number": A, "account": "acme"}], True):
        config, _ = read(dids, on_cli_mismatch_action="randomize_cli")
        assert (config is None) == wrong
    _, report = read([{"number": A, "trunk": "desk"}], on_cli_mismatch_action="reject_call")
    assert report.warnings == []


@pytest.mark.parametrize(
    ("entry", "trunk", "path"),
    [
        ({"trunk": "dask"}, {}, "dids[0].trunk"),
        ({"account": "acne"}, {}, "dids[0].account"),
        ({"trunk": "desk", "account": "zenith"}, {}, "dids[0].account"),
        ({"trunk": "hall", "account": "zenith"}, {}, "dids[0].account"),
        ({"trunk": "desk"}, {"allow_any_did_as_cli": True}, "dids[0].trunk"),
        ({"account": "zenith"}, {"dids": [B, A]}, "trunks[0].dids[1]"),
        ({"account": "zenith"}, {"default_did": A}, "trunks[0].default_did"),
        ({"account": "zenith", "number": C}, {}, "accounts[0].dids[0]"),
    ],
)
def test_one_problem_each(entry: dict[str, Any], trunk: dict[str, Any], path: str) -> None:
    _, report = read([{"number": A, **entry}], **trunk)
    assert [found.path for found in report.problems] == [path]


def test_a_faulty_entry_brings_no_other_fault() -> None:
    _, report = read(
        [
            {"number": "12", "trunk": "desk"},
            {"number": "13", "trunk": "desk"},
            {"number": A, "tronk": "desk"},
        ],
        on_cli_mismatch_action="randomize_cli",
    )
    assert [found.path for found in report.problems] == ["dids[0].number", "dids[1].number", "dids[2].tronk"]


def test_numbers_are_there_once() -> None:
    _, report = read([{"number": A}, {"number": A, "name": "x"}, {"number": B, "name": "442071838750"}])
    assert [tuple(found) for found in report.problems] == [
        ("dids[1].number", f"`{A}` is the number of did `442071838750` too"),
        ("dids[2].name", "`442071838750` is the name of dids[0] too"),
    ]
