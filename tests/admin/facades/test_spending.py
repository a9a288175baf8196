"""Spending: the SIP process's limits, the ledger's sums."""

from __future__ import annotations

from typing import Any

import pytest

from policy.compiled import Scope
from proxy.admin.facades.spending import Spent, TrunkSpending
from proxy.ledger.ledger import ScopeUsage

ROW = {"capacity_limit": None, "cps_limit": None, "window": "rolling_24h", "shard": "", "account": None}


LIMITS = {
    name: {**ROW, "id": f"trunk:{name}", "name": name, "threshold": threshold}
    for name, threshold in (("free", None), ("near", 1_000_001), ("at", 1_000_000), ("other", 5))
}


class Control:
    async def call(self, operation: str, args: dict[str, Any] | None = None, *, within: float) -> Any:
        if operation == "trunk":
            return LIMITS.get((args or {})["name"])
        assert operation == "trunks"
        return list(LIMITS.values())


class Ledger:
    async def usage(self, scopes: list[Scope]) -> list[ScopeUsage]:
        assert {scope.id for scope in scopes} <= {"trunk:free", "trunk:near", "trunk:at"}
        return [ScopeUsage(1, 600_000, 400_000, 0) for _ in scopes]


@pytest.fixture
def spending() -> TrunkSpending:
    return TrunkSpending(Control(), Ledger())  # type: ignore[arg-type]


@pytest.mark.parametrize("more", [[], [f"unborn-{number}" for number in range(100)]])
async def test_only_what_is_asked_for(spending: TrunkSpending, more: list[str]) -> None:
    assert await spending.of(["free", "near", "at", "unborn", *more]) == {
        "free": Spent(600_000, reached=False),
        "near": Spent(600_000, reached=False),
        "at": Spent(600_000, reached=True),
    }
    assert await spending.of([]) == {}
    assert await spending.of(["unborn"]) == {}
