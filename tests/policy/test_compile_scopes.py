from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policy.compile import CompileResult
from policy.compiled import Policy, Scope, Window

PolicyOf = Callable[..., Policy]
NewTrunk = Callable[..., dict[str, Any]]
Compile = Callable[..., CompileResult]


def test_scopes_carry_their_limits_in_the_order_of_a_claim(policy_of: PolicyOf, new_trunk: NewTrunk) -> None:
    policy = policy_of(
        providers=[{"name": "carrier-a", "hostname": "192.0.2.1", "capacity_limit": 400, "cps_limit": 9}],
        accounts=[{"name": "acme", "capacity_limit": 50, "threshold_amount": "100000"}],
        profiles=[
            {
                "name": "office",
                "concurrent_call_limit": 10,
                "daily_spend_limit": "0.000001",
                "daily_spend_limit_enabled": True,
            }
        ],
        trunks=[
            new_trunk(
                account="acme",
                profile="office",
                capacity_limit=30,
                cps_limit=5,
                threshold_amount="100.5",
                threshold_window="utc_day",
            )
        ],
    )
    trunk = policy.trunks["office-pbx"]
    assert trunk.scopes == (
        Scope("account:acme", "account", "acme", 50, None, 100_000_000_000, Window.ROLLING_24H),
        Scope("profile:office", "profile", "office", 10, None, 1, Window.UTC_DAY),
        Scope("trunk:office-pbx", "trunk", "office-pbx", 30, 5, 100_500_000, Window.UTC_DAY),
        Scope("provider:carrier-a", "provider", "carrier-a", 400, 9),
    )
    assert trunk.scope is trunk.scopes[2]
    assert trunk.scopes[3] is policy.providers["carrier-a"].scope
    assert trunk.needs_rate


def test_parts_of_a_ledger_that_is_sharded_by_account(policy_of: PolicyOf, new_trunk: NewTrunk) -> None:
    policy = policy_of(
        ledger={"shard_by": "account"},
        accounts=[{"name": "acme"}],
        profiles=[{"name": "office", "destination_whitelist": ["us"]}],
        trunks=[
            new_trunk(account="acme", profile="office"),
            new_trunk(name="alone", allowed_sip_ips=["192.0.2.99"]),
        ],
    )
    assert [scope.shard for scope in policy.trunks["office-pbx"].scopes] == [
        "account:acme",
        "account:acme",
        "account:acme",
        "provider:carrier-a",
    ]
    assert [scope.shard for scope in policy.trunks["alone"].scopes] == ["trunk:alone", "provider:carrier-a"]


def test_a_profile_of_several_parts_is_refused(compile_sections: Compile, new_trunk: NewTrunk) -> None:
    result = compile_sections(
        ledger={"shard_by": "account"},
        profiles=[{"name": "office", "destination_whitelist": ["us"]}],
        trunks=[
            new_trunk(name=name, profile="office", allowed_sip_ips=[f"192.0.2.{n}"])
            for n, name in enumerate(("one", "two"), 1)
        ],
    )
    ((path, _),) = result.problems
    assert path == "trunks[1].profile"


def test_a_daily_spend_limit_that_is_not_enabled_limits_nothing(
    policy_of: PolicyOf, new_trunk: NewTrunk
) -> None:
    profile = {"name": "office", "daily_spend_limit": "1", "daily_spend_limit_enabled": False}
    trunk = policy_of(profiles=[profile], trunks=[new_trunk(profile="office")]).trunks["office-pbx"]
    assert trunk.scopes[0].threshold is None
    assert not trunk.needs_rate


def test_a_rate_is_needed_for_the_spend_limit_of_any_scope(policy_of: PolicyOf, new_trunk: NewTrunk) -> None:
    account = {"name": "acme", "threshold_amount": "1"}
    policy = policy_of(accounts=[account], trunks=[new_trunk(account="acme")])
    assert policy.trunks["office-pbx"].needs_rate


def test_country_rules_of_the_scopes_that_have_a_whitelist(policy_of: PolicyOf, new_trunk: NewTrunk) -> None:
    policy = policy_of(
        accounts=[{"name": "acme", "destination_whitelist": []}],
        profiles=[{"name": "office", "destination_whitelist": ["Us", "CA"]}],
        trunks=[new_trunk(account="acme", profile="office", destination_whitelist=None)],
    )
    rules = policy.trunks["office-pbx"].country_rules
    assert [(rule.scope_id, rule.countries) for rule in rules] == [
        ("account:acme", frozenset()),
        ("profile:office", frozenset({"US", "CA"})),
    ]


def test_highest_rates_in_nano_units(policy_of: PolicyOf, new_trunk: NewTrunk) -> None:
    policy = policy_of(
        profiles=[{"name": "office", "max_destination_rate": "0.50"}],
        trunks=[new_trunk(profile="office", max_destination_rate="0.000000001")],
    )
    limits = policy.trunks["office-pbx"].rate_limits
    assert [(limit.scope_id, limit.per_minute_nano) for limit in limits] == [
        ("profile:office", 500_000_000),
        ("trunk:office-pbx", 1),
    ]
