"""DIDWW's attributes ↔ the spec of our trunk."""

from __future__ import annotations

from typing import Any

import pytest

from config.model import TrunkConfig
from policy.prefix_table import PrefixRules
from proxy.admin.facades.didww.credentials import MASKED_PASSWORD, Credentials
from proxy.admin.facades.didww.fields import TrunkAttributes
from proxy.admin.facades.didww.trunk import (
    FieldError,
    Spent,
    attributes,
    changed,
    new_trunk,
    spent_amount,
    wants_credentials,
    with_credentials,
)

# The body of the first example of the API's own description.
EXAMPLE = {
    "name": "Outbound trunk 11",
    "allowed_sip_ips": ["192.168.1.1"],
    "on_cli_mismatch_action": "send_original_cli",
    "capacity_limit": 100,
    "allow_any_did_as_cli": True,
    "status": "active",
    "threshold_amount": "9999.0",
    "default_dst_action": "allow_all",
    "dst_prefixes": ["23"],
    "media_encryption_mode": "disabled",
    "allowed_rtp_ips": ["192.168.1.1"],
    "force_symmetric_rtp": False,
    "rtp_ping": False,
}
LOGIN = Credentials("euc4fh2k1a", "6fw-canary")
IP_ONLY = {"type": "ip_only", "attributes": {"allowed_sip_ips": ["203.0.113.7"], "tech_prefix": "12#"}}
BOTH = {"type": "credentials_and_ip", "attributes": {"allowed_sip_ips": ["203.0.113.0/24"]}}

Said = dict[str, Any]
Trunk = tuple[dict[str, Any], dict[str, Any]]


def say(said: Said, before: Trunk | None = None, numbers: Said | None = None) -> Trunk:
    spec, beside = before or (new_trunk(None), {})
    return changed(spec, beside, TrunkAttributes.model_validate(said), numbers or {})


def read(trunk: Trunk, version: str = "2026-04-16", shown: Credentials | None = None) -> dict[str, Any]:
    spec, beside = trunk
    full = TrunkConfig(name="a", **spec).model_dump(mode="json")
    spent = Spent(1_250_000, reached=True)
    return attributes(full, beside, created_at="2026-01-01", spent=spent, shown=shown, version=version)


def test_the_example_of_the_description() -> None:
    spec, beside = say(EXAMPLE)
    assert TrunkConfig(name="a", **spec).model_dump(mode="json", exclude_defaults=True) == {
        "name": "a",
        "allow_any_country": True,
        "dial_plan": {"international_prefixes": ["00"], "bare_e164": True},
        "auth": "ip_and_digest",
        "allowed_sip_ips": ["192.168.1.1/32"],
        "capacity_limit": 100,
        "allow_any_did_as_cli": True,
        "threshold_amount": "9999.0",
        "dst_prefixes": {"deny": ["+23"]},
        "allowed_rtp_ips": ["192.168.1.1/32"],
    }
    shown = read((spec, beside), "2021-12-15", LOGIN)
    assert shown == {
        **EXAMPLE,
        "allowed_sip_ips": ["192.168.1.1/32"],
        "allowed_rtp_ips": ["192.168.1.1/32"],
        "username": "euc4fh2k1a",
        "password": "6fw-canary",
        "created_at": "2026-01-01",
        "threshold_reached": True,
        "callback_url": None,
    }


def test_both_shapes() -> None:
    spec, beside = say({"name": "a", "authentication_method": BOTH, "external_reference_id": "r-1"})
    trunk = with_credentials(spec, LOGIN), beside
    flat, nested = read(trunk, "2022-05-10"), read(trunk, shown=LOGIN)
    assert flat["allowed_sip_ips"] == ["203.0.113.0/24"]
    assert (flat["username"], flat["password"]) == ("euc*******", MASKED_PASSWORD)
    assert flat.keys().isdisjoint({"authentication_method", "external_reference_id", "rtp_timeout"})
    assert nested.keys().isdisjoint({"allowed_sip_ips", "username", "password"})
    assert nested["authentication_method"] == {
        "type": "credentials_and_ip",
        "attributes": {
            "allowed_sip_ips": ["203.0.113.0/24"],
            "tech_prefix": "",
            "username": "euc4fh2k1a",
            "password": "6fw-canary",
        },
    }
    assert (nested["external_reference_id"], nested["emergency_enable_all"]) == ("r-1", False)


INVERSION = [
    ("allow_all", [], {"+2301": True, "+4420": True}),
    ("allow_all", ["23"], {"+2301": False, "+4420": True}),
    ("reject_all", ["23", "0044", "+1"], {"+2301": True, "+4420": True, "+1202": True, "+3531": False}),
    ("reject_all", [], {"+2301": False}),
]


@pytest.mark.parametrize(("action", "prefixes", "calls"), INVERSION)
def test_prefixes_invert_the_default_action(action: str, prefixes: list[str], calls: dict[str, bool]) -> None:
    spec, beside = say({"default_dst_action": action, "dst_prefixes": prefixes})
    assert allowed(spec, calls) == calls
    turned = {"allow_all": "reject_all", "reject_all": "allow_all"}[action]
    other, _ = say({"default_dst_action": turned}, (spec, beside))
    assert allowed(other, calls) == {number: not passes for number, passes in calls.items()}


def allowed(spec: dict[str, Any], numbers: dict[str, bool]) -> dict[str, bool]:
    trunk = TrunkConfig(name="a", **spec)
    lists = trunk.dst_prefixes
    rules = PrefixRules(lists.allow, lists.deny, allow_by_default=trunk.default_dst_action == "allow_all")
    return {number: rules.decide(number).allowed for number in numbers}


def test_a_rule_that_somebody_else_added_stays() -> None:
    spec, beside = say({"name": "a", "default_dst_action": "reject_all", "dst_prefixes": ["1", "44"]})
    spec["dst_prefixes"]["deny"].append("+1900")
    assert read((spec, beside))["dst_prefixes"] == ["1", "44"]
    spec, beside = say({"dst_prefixes": ["1"]}, (spec, beside))
    assert spec["dst_prefixes"] == {"allow": ["+1"], "deny": ["+1900"]}
    spec, _ = say({"default_dst_action": "allow_all", "dst_prefixes": []}, (spec, beside))
    assert spec["dst_prefixes"] == {"allow": [], "deny": ["+1900"]}


def test_what_is_not_said_stays() -> None:
    before = say({**EXAMPLE, "callback_url": "https://example.com/a", "rtp_ping": True})
    spec, beside = say({"capacity_limit": None, "threshold_amount": None, "allowed_rtp_ips": None}, before)
    after = read((spec, beside), "2021-12-15")
    assert (after["capacity_limit"], after["threshold_amount"], after["allowed_rtp_ips"]) == (
        None,
        None,
        None,
    )
    same = read(before, "2021-12-15")
    unsaid = same.keys() - {"capacity_limit", "threshold_amount", "allowed_rtp_ips"}
    assert {field: after[field] for field in unsaid} == {field: same[field] for field in unsaid}


def test_credentials_come_and_go_with_the_method() -> None:
    spec, beside = say({"name": "a", "authentication_method": IP_ONLY})
    assert (spec["auth"], spec["tech_prefix"], wants_credentials(spec)) == ("ip", "12#", False)
    spec, beside = say({"authentication_method": BOTH}, (spec, beside))
    assert wants_credentials(spec)
    assert "tech_prefix" not in spec  # the whole method is replaced
    spec = with_credentials(spec, LOGIN)
    assert not wants_credentials(spec)
    kept, _ = say({"authentication_method": BOTH}, (spec, beside))
    assert kept["password"] == "6fw-canary"
    gone, _ = say({"authentication_method": IP_ONLY}, (spec, beside))
    assert gone.keys().isdisjoint({"username", "password", "ha1"})


def test_a_new_login_takes_the_place_of_the_stored_one() -> None:
    spec = with_credentials({"auth": "ip_and_digest", "username": "old", "ha1": "0" * 64}, LOGIN)
    assert spec == {"auth": "ip_and_digest", "username": "euc4fh2k1a", "password": "6fw-canary"}


def test_every_address_needs_a_login() -> None:
    everywhere = {"allowed_sip_ips": ["0.0.0.0/0"]}
    spec, _ = say({"authentication_method": {"type": "credentials_and_ip", "attributes": everywhere}})
    assert spec["allow_any_source"]
    narrowed, _ = say({"authentication_method": BOTH}, (spec, {}))
    assert "allow_any_source" not in narrowed
    with pytest.raises(FieldError, match="without credentials"):
        say({"authentication_method": {"type": "ip_only", "attributes": everywhere}}, (spec, {}))


REFUSED: list[tuple[Said, Said, str]] = [
    ({"allowed_sip_ips": []}, {}, "allowed_sip_ips"),
    ({"authentication_method": {"type": "ip_only", "attributes": {}}}, {}, "authentication_method"),
    ({"authentication_method": {"type": "twilio", "attributes": {"twilio_account_sid": "AC3"}}}, {},
     "authentication_method"),
    ({"on_cli_mismatch_action": "replace_cli"}, {}, "on_cli_mismatch_action"),
    ({"on_cli_mismatch_action": "randomize_cli"}, {}, "on_cli_mismatch_action"),
    ({"allow_any_did_as_cli": True}, {"dids": ["+442071838750"]}, "dids"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "numbers", "attribute"), REFUSED)
def test_what_cannot_be(said: Said, numbers: Said, attribute: str) -> None:
    with pytest.raises(FieldError) as error:
        say(said, None, numbers)
    assert error.value.attribute == attribute


def test_any_did_takes_the_place_of_some() -> None:
    dids = {"dids": ["+442071838750"]}
    before = say({"name": "a", "on_cli_mismatch_action": "randomize_cli"}, None, dids)
    assert before[0]["dids"] == ["+442071838750"]
    spec, _ = say({"allow_any_did_as_cli": True}, before)
    assert "dids" not in spec


@pytest.mark.parametrize(
    ("micro", "text"), [(0, "0.0"), (1_250_000, "1.25"), (20_000_000, "20.0"), (1, "0.000001")]
)
def test_amounts(micro: int, text: str) -> None:
    assert spent_amount(Spent(micro)) == text
