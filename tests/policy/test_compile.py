from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from policy.compile import CompileResult
from policy.compiled import Policy
from policy.reasons import REFUSALS, ReasonCode, Refusal

Compile = Callable[..., CompileResult]
NewTrunk = Callable[..., dict[str, Any]]


def test_a_policy_knows_its_version_and_parts(policy_of: Callable[..., Policy]) -> None:
    policy = policy_of()
    assert policy.version == "v1"
    assert policy.loaded_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert policy.currency == "USD"
    assert list(policy.trunks) == ["office-pbx"]
    assert list(policy.providers) == ["carrier-a"]
    assert policy.emergency_numbers == {"112", "911"}
    assert policy.emergency_called == "112"
    assert policy.refusals == REFUSALS


def test_all_problems_at_once(compile_sections: Compile, new_trunk: NewTrunk) -> None:
    result = compile_sections(
        default_provider=None,
        emergency={"numbers": ["112"], "providers": ["carrier-x"]},
        refusals={"AUTH": 403, "COUNTRY": 407},
        providers=[{"name": "a", "hostname": "192.0.2.1"}, {"name": "a", "hostname": "192.0.2.2"}],
        trunks=[
            new_trunk(account="nobody", profile="none", provider="carrier-y", rate_deck="wholesale"),
            new_trunk(name="second", provider="a", destination_whitelist=None),
        ],
    )
    assert result.policy is None
    assert [path for path, _ in result.problems] == [
        "trunks[0].account",
        "trunks[0].profile",
        "trunks[0].rate_deck",
        "trunks[0].provider",
        "trunks[1].destination_whitelist",
        "providers[1].name",
        "trunks[1].allowed_sip_ips",
        "emergency.providers[0]",
        "refusals.AUTH",
        "refusals.COUNTRY",
    ]
    assert dict(result.problems)["trunks[0].provider"] == "there is no provider `carrier-y`"


@pytest.mark.parametrize(
    ("first", "second", "told_apart"),
    [
        ({"allowed_sip_ips": ["192.0.2.0/24"]}, {"allowed_sip_ips": ["192.0.2.0/24"]}, False),
        ({"allowed_sip_ips": ["192.0.2.1"]}, {"allowed_sip_ips": ["::ffff:192.0.2.1"]}, False),
        ({"tech_prefix": "7"}, {"tech_prefix": "7"}, False),
        ({"allowed_sip_ips": ["192.0.2.0/24"]}, {"allowed_sip_ips": ["192.0.2.0/25"]}, True),
        ({"tech_prefix": "7"}, {"tech_prefix": "71"}, True),
        ({"tech_prefix": "7"}, {}, True),
        ({"allowed_sip_ips": ["192.0.2.1", "192.0.2.1"]}, {"allowed_sip_ips": ["192.0.2.2"]}, True),
    ],
)
def test_trunks_that_cannot_be_told_apart(
    compile_sections: Compile,
    new_trunk: NewTrunk,
    first: dict[str, Any],
    second: dict[str, Any],
    told_apart: bool,
) -> None:
    result = compile_sections(trunks=[new_trunk(**first), new_trunk(**second, name="other")])
    assert (result.policy is not None) == told_apart
    if not told_apart:
        path, message = result.problems[0]
        assert path == "trunks[1].allowed_sip_ips"
        assert message.startswith("cannot be told from trunk `office-pbx`")


def test_refusals_keep_phrase_and_cause(policy_of: Callable[..., Policy]) -> None:
    policy = policy_of(refusals={"COUNTRY": 603, "AUTH": 401})
    assert policy.refusals[ReasonCode.COUNTRY] == Refusal(603, "Destination Country Not Whitelisted", 21)
    assert policy.refusals[ReasonCode.AUTH] == Refusal(401, "Unauthorized", None)
    assert policy.refusals[ReasonCode.PREFIX] == REFUSALS[ReasonCode.PREFIX]


def test_without_emergency_nothing_is_an_emergency(policy_of: Callable[..., Policy]) -> None:
    for emergency in (None, "none"):
        policy = policy_of(emergency=emergency)
        assert policy.emergency_numbers == frozenset()
        assert policy.emergency_called is None
        assert policy.emergency_providers == ()
