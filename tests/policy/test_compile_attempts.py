from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policy.compiled import Policy, Window


def test_money_of_a_destination_is_counted_in_the_trunks_window(
    policy_of: Callable[..., Policy], new_trunk: Callable[..., dict[str, Any]]
) -> None:
    limits = [
        {"name": "far", "countries": ["us"], "threshold_amount": "2.50", "capacity_limit": 3, "cps_limit": 2}
    ]
    entry = new_trunk(destination_limits=limits, threshold_window="utc_day", rate_deck="retail")
    trunk = policy_of(trunks=[entry]).trunks["office-pbx"]
    scope = trunk.scopes_of("+12125550100", "US")[-1]
    assert (scope.id, scope.kind) == ("destination:office-pbx/far", "destination")
    assert (scope.capacity_limit, scope.cps_limit, scope.threshold) == (3, 2, 2_500_000)
    assert scope.window is Window.UTC_DAY
    assert trunk.scopes == trunk.scopes_of("+442079460018", "GB")
