"""Whose numbers a trunk's callers may show, and what is put in their place."""

from __future__ import annotations

from typing import Any

import pytest

from config.model import Config
from policy.cli import OnMismatch
from policy.compile_cli import CliCompiler
from policy.numbering.dial_plan import DialPlan

OWN, OTHER, DEFAULT = "+442071838750", "+442071838751", "+442071838759"


@pytest.mark.parametrize(
    ("account", "trunk", "expected"),
    [
        ({}, {}, None),
        ({"default_did": DEFAULT}, {}, (OnMismatch.REPLACE, DEFAULT, {OTHER, DEFAULT})),
        ({"default_did": DEFAULT, "dids": [OWN]}, {}, (OnMismatch.REPLACE, DEFAULT, {OWN, OTHER, DEFAULT})),
        ({"default_did": DEFAULT}, {"on_cli_mismatch_action": "reject_call", "dids": [OWN]},
         (OnMismatch.REJECT, None, {OWN})),
        ({"default_did": DEFAULT},
         {"on_cli_mismatch_action": "replace_cli", "default_did": OWN}, (OnMismatch.REPLACE, OWN, {OWN})),
    ],
)  # fmt: skip
def test_default_of_the_account(account: dict[str, Any], trunk: dict[str, Any], expected: Any) -> None:
    config = Config.model_validate(
        {
            "accounts": [{"name": "acme", **account}],
            "trunks": [
                {"name": "t", "account": "acme", **trunk},
                {"name": "u", "account": "acme", "dids": [OTHER]},
            ],
        }
    )
    rules = CliCompiler(config, None).rules(config.trunks[0], DialPlan(), None)
    found = None if rules is None else (rules.action, rules.default, set(rules.owned))
    assert found == expected


@pytest.mark.parametrize(
    ("trunk", "expected"),
    [
        ({"dids": [OWN]}, {OWN}),
        ({"dids": [OWN], "default_did": DEFAULT}, {OWN, DEFAULT}),
        ({"allow_any_did_as_cli": True}, {OTHER}),
        ({"allow_any_did_as_cli": True, "default_did": DEFAULT}, {OTHER, DEFAULT}),
        ({"allow_any_did_as_cli": True, "account": "acme"}, {OWN}),
    ],
)
def test_numbers_of_a_trunk(trunk: dict[str, Any], expected: set[str]) -> None:
    config = Config.model_validate(
        {
            "accounts": [{"name": "acme", "dids": [OWN]}],
            "trunks": [{"name": "t", **trunk}, {"name": "u", "dids": [OTHER]}],
        }
    )
    rules = CliCompiler(config, None).rules(config.trunks[0], DialPlan(), None)
    assert rules is not None
    assert rules.owned == expected
    assert rules.choices == tuple(sorted(expected))
