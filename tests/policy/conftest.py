"""Small configurations for the policy's tests, written as the YAML file would have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from config.model import Config, DeckRow
from policy.attempt import CallAttempt
from policy.compile import CompileResult, compile_policy
from policy.compiled import Policy
from policy.evaluate import evaluate
from policy.verdict import Verdict

Compile = Callable[..., CompileResult]
Judge = Callable[..., Verdict]

ROWS = (
    DeckRow("+1", "United States", Decimal("0.005")),
    DeckRow("+44", "United Kingdom", Decimal("0.01")),
    DeckRow("+447", "United Kingdom mobile", Decimal("0.60"), Decimal("0.05"), 30, 6),
)


def trunk(**changes: Any) -> dict[str, Any]:
    """A trunk at 192.0.2.10 that may call US and GB through carrier-a."""
    return {
        "name": "office-pbx",
        "provider": "carrier-a",
        "allowed_sip_ips": ["192.0.2.10"],
        "destination_whitelist": ["us", "gb"],
    } | changes


def sections(**changes: Any) -> dict[str, Any]:
    """A whole configuration with one trunk; `trunks` may be given as changes of that trunk."""
    whole: dict[str, Any] = {
        "emergency": {"numbers": ["112", "911"], "providers": ["carrier-a"]},
        "rate_decks": {"retail": {"file": "retail.csv"}},
        "providers": [{"name": "carrier-a", "hostname": "sip.carrier-a.example"}],
        "trunks": [trunk()],
    }
    return whole | changes


@pytest.fixture
def compile_sections() -> Compile:
    def run(decks: Mapping[str, Sequence[DeckRow]] | None = None, **changes: Any) -> CompileResult:
        config = Config.model_validate(sections(**changes))
        at = datetime(2026, 1, 2, tzinfo=UTC)
        return compile_policy(
            config, {"retail": ROWS} if decks is None else decks, version="v1", loaded_at=at
        )

    return run


@pytest.fixture
def policy_of(compile_sections: Compile) -> Callable[..., Policy]:
    def run(**changes: Any) -> Policy:
        result = compile_sections(**changes)
        assert result.problems == []
        assert result.policy is not None
        return result.policy

    return run


@pytest.fixture
def new_trunk() -> Callable[..., dict[str, Any]]:
    return trunk


@pytest.fixture
def judge(policy_of: Callable[..., Policy]) -> Judge:
    """Judge a dialled user part by a policy whose one trunk has the given changes."""

    def run(user: str, *, source: str = "192.0.2.10", scheme: str = "sip", **changes: Any) -> Verdict:
        params = changes.pop("params", ())
        gate, at_ms = changes.pop("gate", None), changes.pop("at_ms", 0)
        whole = changes.pop("whole", {})
        policy = policy_of(**({"trunks": [trunk(**changes)]} | whole))
        return evaluate(policy, CallAttempt(source, "udp", scheme, user, params, gate=gate, at_ms=at_ms))

    return run
