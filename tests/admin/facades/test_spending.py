"""Spending: the SIP process's limits, the ledger's sums."""

from __future__ import annotations

from typing import Any

import pytest

from policy.compiled import Scope
from proxy.admin.facades.spending import Spent, TrunkSpending
from proxy.ledger.ledger import ScopeUsage

ROW = {"capacity_limit": None, "cps_limit": None, "window": "rolling_24h", "shard": "", "account": None}


class Control:
    async def call(self, operation: str, *, within: float) -> list[dict[str, Any]]:
        assert operation == "trunks"
        return [
            {**ROW, "id": f"trunk:{name}", "name": name, "threshold": threshold}
            for name, threshold in (("free", None), ("near", 1_000_001), ("at", 1_000_000), ("other", 5))
        ]


class Ledger:
    async def usage(self, scopes: list[Scope]) -> list[ScopeUsage]:
        assert {scope.id for scope in scopes} <= {"trunk:free", "trunk:near", "trunk:at"}
        return [ScopeUsage(1, 600_000, 400_000, 0) for _ in scopes]


@pytest.fixture
def spending() -> TrunkSpending:
    return TrunkSpending(Control(), Ledger())  # type: ignore[arg-type]


async def test_only_what_is_asked_for(spending: TrunkSpending) -> None:
    assert await spending.of(["free", "near", "at", "unborn"]) == {
        "free": Spent(600_000, reached=False),
        "near": Spent(600_000, reached=False),
        "at": Spent(600_000, reached=True),
    }
    assert await spending.of([]) == {}
    assert await spending.of(["unborn"]) == {}
