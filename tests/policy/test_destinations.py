from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policy.compiled import Policy, Scope
from policy.destinations import DestinationLimit, Destinations
from policy.reasons import ReasonCode
from policy.verdict import Verdict

TRUNK = Scope("trunk:t", "trunk", "t")


def limit(name: str, *prefixes: str, countries: tuple[str, ...] = ()) -> DestinationLimit:
    return DestinationLimit(
        Scope(f"destination:t/{name}", "destination", name), frozenset(countries), prefixes
    )


def test_every_limit_that_matches_counts_the_call() -> None:
    limits = Destinations(
        (TRUNK,), [limit("gb", countries=("GB",)), limit("mobile", "447"), limit("us", "1")]
    )

    def ids(called: str, country: str | None) -> list[str]:
        return [scope.id for scope in limits.scopes_of(called, country)]

    assert ids("+447700900123", "GB") == ["trunk:t", "destination:t/gb", "destination:t/mobile"]
    assert ids("+442079460018", "GB") == ["trunk:t", "destination:t/gb"]
    assert ids("+12125550100", "US") == ["trunk:t", "destination:t/us"]
    assert ids("+33142685300", "FR") == ["trunk:t"]
    assert ids("+870773111632", None) == ["trunk:t"]


def test_the_same_scopes_are_the_same_object() -> None:
    limits = Destinations((TRUNK,), [limit("gb", "44")])
    assert limits.scopes_of("+441", "GB") is limits.scopes_of("+442", "GB")
    assert limits.scopes_of("+331", "FR") == (TRUNK,)


def test_counts_survive_another_order_of_the_file(
    policy_of: Callable[..., Policy], new_trunk: Callable[..., dict[str, Any]]
) -> None:
    entries: list[dict[str, Any]] = [
        {"prefixes": ["+447", "+4470"], "countries": ["us"], "capacity_limit": 1},
        {"name": "landline", "prefixes": ["+442"], "cps_limit": 1},
    ]
    turned = [entries[1], {**entries[0], "prefixes": ["+4470", "+447"]}]

    def ids(limits: list[dict[str, Any]]) -> set[str]:
        trunk = policy_of(trunks=[new_trunk(destination_limits=limits)]).trunks["office-pbx"]
        return {scope.id for scope in trunk.all_scopes}

    assert ids(entries) == ids(turned)
    assert "destination:office-pbx/landline" in ids(entries)
    assert "destination:office-pbx/+447,+4470,us" in ids(entries)


def test_money_for_a_destination_needs_a_price_there_only(judge: Callable[..., Verdict]) -> None:
    limits = [{"countries": ["gb"], "threshold_amount": "5.00"}]
    assert judge("+442079460018", destination_limits=limits).reason is ReasonCode.NO_RATE
    assert judge("+12125550100", destination_limits=limits).reason is None
    assert judge("+442079460018", destination_limits=limits, rate_deck="retail").reason is None
