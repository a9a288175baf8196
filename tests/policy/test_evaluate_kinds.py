"""What is denied within countries that are allowed: numbers of dear kinds, and ranges known for fraud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policy.reasons import ReasonCode
from policy.verdict import Verdict

Judge = Callable[..., Verdict]

LONDON = "+442079460018"


def test_premium_and_satellite_numbers_are_denied_unless_the_trunk_says_otherwise(judge: Judge) -> None:
    refused = judge("+19005551234")
    assert refused.reason is ReasonCode.PREFIX
    assert refused.checks[-1].name == "kind"
    assert refused.checks[-1].detail == "+19005551234 is of a kind that deny_kinds names: premium"
    assert judge("+19005551234", deny_kinds=[]).reason is None
    assert judge("+447012345678").reason is None
    assert judge("+447012345678", deny_kinds=["personal"]).reason is ReasonCode.PREFIX


def test_a_satellite_code_that_is_allowed_by_name_is_denied_only_by_name(judge: Judge) -> None:
    allowed = {"allow_non_geographic": ["+870"]}
    assert judge("+870773111632", **allowed).reason is None
    assert judge("+870773111632", **allowed, deny_kinds=["satellite"]).reason is ReasonCode.PREFIX
    assert judge("+881612345678", **allowed).reason is ReasonCode.COUNTRY_UNKNOWN


@pytest.mark.parametrize("scope", ["account", "profile"])
def test_every_scope_denies_kinds_of_its_own(judge: Judge, scope: str) -> None:
    whole = {f"{scope}s": [{"name": "acme", "deny_kinds": ["toll_free"]}]}
    verdict = judge("+18005551234", whole=whole, **{scope: "acme"})
    assert verdict.reason is ReasonCode.PREFIX
    assert verdict.checks[-1].scope == f"{scope}:acme"
    assert judge("+19005551234", whole=whole, **{scope: "acme"}).reason is ReasonCode.PREFIX
    assert judge("+19005551234", whole=whole, deny_kinds=[], **{scope: "acme"}).reason is None


def test_a_premium_prefix_that_is_allowed_by_name_is_denied_only_by_name(judge: Judge) -> None:
    rules = {"dst_prefixes": {"deny": ["+1900"], "allow": ["+1900555"]}}
    assert judge("+19005551234", **rules).reason is None
    assert judge("+19002341234", **rules).reason is ReasonCode.PREFIX
    assert judge("+19005551234", **rules, deny_kinds=["premium"]).reason is ReasonCode.PREFIX
    assert judge("+19005551234", dst_prefixes={"allow": ["+1900"]}).reason is None
    # Who allows a country does not mean what is dear in it.
    only = {"default_dst_action": "reject_all", "dst_prefixes": {"allow": ["+44", "+1"]}}
    assert judge("+449098790000", **only).reason is ReasonCode.PREFIX
    assert judge("+19005551234", **only).reason is ReasonCode.PREFIX
    assert judge(LONDON, **only).reason is None


# --- ranges known for fraud


def test_high_risk_ranges_are_refused_inside_allowed_countries(judge: Judge) -> None:
    refused = judge("+18095550123", destination_whitelist=["us", "do"], high_risk=["one_ring"])
    assert refused.reason is ReasonCode.PREFIX
    check = refused.checks[-1]
    assert (check.name, check.scope, check.outcome) == ("high_risk", "trunk:office-pbx", "refuse")
    assert "+1809 is in the list one_ring" in check.detail
    passed = judge("+12025550123", destination_whitelist=["us", "do"], high_risk=["one_ring"])
    assert passed.reason is None
    assert "high_risk" in [check.name for check in passed.checks]


def test_high_risk_is_off_unless_named(judge: Judge) -> None:
    assert judge("+18095550123", destination_whitelist=["do"]).reason is None
    assert judge("+18095550123", destination_whitelist=["do"], high_risk=["diallers"]).reason is None


@pytest.mark.parametrize("scope", ["account", "profile"])
def test_high_risk_of_another_scope(judge: Judge, new_trunk: Any, scope: str) -> None:
    whole = {
        "trunks": [new_trunk(**{scope: "x", "destination_whitelist": None, "allow_any_country": True})],
        f"{scope}s": [{"name": "x", "high_risk": ["carrier_blocked"]}],
    }
    refused = judge("+25261234567", whole=whole)
    assert (refused.reason, refused.checks[-1].scope) == (ReasonCode.PREFIX, f"{scope}:x")


def test_no_allow_widens_what_high_risk_leaves(judge: Judge) -> None:
    prefixes = {"allow": ["+18095550123"]}
    refused = judge(
        "+18095550123", destination_whitelist=["do"], high_risk=["one_ring"], dst_prefixes=prefixes
    )
    assert refused.reason is ReasonCode.PREFIX
