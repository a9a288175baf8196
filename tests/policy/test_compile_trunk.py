from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policy.compile import CompileResult
from policy.compiled import OnLedgerUnavailable, OnThreshold, Policy

Compile = Callable[..., CompileResult]
NewTrunk = Callable[..., dict[str, Any]]

PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"allowed_sip_ips": []}, "allowed_sip_ips", "names no address, so that no call could come"),
    (
        {"allowed_sip_ips": ["0.0.0.0/0"]},
        "allowed_sip_ips",
        "covers every address (0.0.0.0/0): if that is meant, say `allow_any_source: true`",
    ),
    (
        {"allowed_sip_ips": ["0.0.0.0/1", "128.0.0.0/1"]},
        "allowed_sip_ips",
        "covers every address (0.0.0.0/0): if that is meant, say `allow_any_source: true`",
    ),
    (
        {"allowed_sip_ips": ["::/0"]},
        "allowed_sip_ips",
        "covers every address (::/0): if that is meant, say `allow_any_source: true`",
    ),
    (
        {"destination_whitelist": None},
        "destination_whitelist",
        "no scope has a whitelist: list the countries, or say `allow_any_country: true`",
    ),
    (
        {"dial_plan": {"international_prefixes": [""]}},
        "dial_plan.international_prefixes",
        "an empty prefix reads every number as international: say `bare_e164: true` for that",
    ),
    (
        {"dial_plan": {"country_code": "44", "international_prefixes": ["0"], "national_prefixes": ["0"]}},
        "dial_plan.national_prefixes",
        "`0` is an international prefix, too: it cannot mean both",
    ),
    (
        {"dial_plan": {"national_prefixes": ["0"]}},
        "dial_plan.country_code",
        "national numbers need a country_code",
    ),
    (
        {"on_ledger_unavailable": "admit"},
        "on_ledger_unavailable",
        "`admit` needs a local_capacity_limit, here or at `ledger`",
    ),
]


@pytest.mark.parametrize(("changes", "field", "message"), PROBLEMS)
def test_problems(
    compile_sections: Compile, new_trunk: NewTrunk, changes: dict[str, Any], field: str, message: str
) -> None:
    result = compile_sections(trunks=[new_trunk(**changes)])
    assert result.policy is None
    assert result.problems == [(f"trunks[0].{field}", message)]


@pytest.mark.parametrize(
    "changes",
    [
        {"allowed_sip_ips": ["0.0.0.0/0"], "allow_any_source": True},
        {"destination_whitelist": None, "allow_any_country": True},
        {"on_ledger_unavailable": "admit", "local_capacity_limit": 5},
        {"allowed_sip_ips": [], "auth": "digest", "username": "u", "ha1": "0" * 32},
    ],
)
def test_said_to_be_meant(compile_sections: Compile, new_trunk: NewTrunk, changes: dict[str, Any]) -> None:
    assert compile_sections(trunks=[new_trunk(**changes)]).problems == []


STATUS: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, None),
    ({"status": "blocked"}, {}, "trunk:office-pbx is blocked"),
    ({"account": "acme"}, {"accounts": [{"name": "acme", "status": "blocked"}]}, "account:acme is blocked"),
    ({"profile": "p"}, {"profiles": [{"name": "p", "enabled": False}]}, "profile:p is disabled"),
    ({"auth": "digest", "username": "u", "ha1": "0" * 64}, {}, None),
    ({"account": "acme"}, {"accounts": [{"name": "acme", "codecs": ["PCMA"]}]},
     "codecs: restricts, but is not enforced yet"),
    ({"allowed_rtp_ips": []}, {}, "allowed_rtp_ips: restricts, but is not enforced yet"),
    ({"media_encryption_mode": "zrtp"}, {}, "media_encryption_mode: restricts, but is not enforced yet"),
    ({"media_encryption_mode": "zrtp"}, {"accept_unenforced": ["media_encryption_mode"]}, None),
    ({"media_encryption_mode": "disabled", "callback_url": "https://hooks.example.org/"}, {}, None),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "others", "disabled_by"), STATUS)
def test_what_switches_a_trunk_off(
    policy_of: Callable[..., Policy],
    new_trunk: NewTrunk,
    changes: dict[str, Any],
    others: dict[str, Any],
    disabled_by: str | None,
) -> None:
    policy = policy_of(trunks=[new_trunk(**changes)], **others)
    assert policy.trunks["office-pbx"].disabled_by == disabled_by


def test_fields_are_carried_over(policy_of: Callable[..., Policy], new_trunk: NewTrunk) -> None:
    changes = {
        "tech_prefix": "77#", "on_threshold": "finish", "reserve_seconds": 30, "max_call_seconds": 600,
        "call_probe_seconds": 5, "trust_identity": False, "allow_non_geographic": ["+870"],
        "dial_plan": {"country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]},
    }  # fmt: skip
    ledger = {"on_unavailable": "admit", "local_capacity_limit": 3}
    trunk = policy_of(trunks=[new_trunk(**changes)], ledger=ledger).trunks["office-pbx"]
    assert trunk.tech_prefix == "77#"
    assert trunk.on_threshold is OnThreshold.FINISH
    assert (trunk.reserve_seconds, trunk.max_call_seconds, trunk.call_probe_seconds) == (30, 600, 5)
    assert not trunk.trust_identity
    assert trunk.allow_non_geographic == {"+870"}
    assert trunk.dial_plan.international("02079460018") is not None
    assert trunk.on_ledger_unavailable is OnLedgerUnavailable.ADMIT
    assert trunk.local_capacity_limit == 3
    assert trunk.networks.lookup("192.0.2.10")
    assert trunk.networks.lookup("192.0.2.11") is None
