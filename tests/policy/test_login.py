"""Which trunk a login, or its absence, leads to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from config.model import Config
from policy.attempt import CallAttempt
from policy.compile import compile_policy
from policy.compiled import Policy
from policy.evaluate import evaluate

HA1 = "0" * 64
LONDON = "+442079460123"


def digest(name: str, user: str, *networks: str, **more: Any) -> dict[str, Any]:
    auth = "ip_and_digest" if networks else "digest"
    return {**plain(name, *networks), "auth": auth, "username": user, "ha1": HA1, **more}


def plain(name: str, *networks: str, **more: Any) -> dict[str, Any]:
    base = {"name": name, "provider": "carrier", "destination_whitelist": ["gb"]}
    return {**base, "allowed_sip_ips": list(networks), **more}


def compiled(*trunks: dict[str, Any]) -> tuple[Policy | None, list[tuple[str, str]]]:
    config = Config.model_validate(
        {
            "providers": [{"name": "carrier", "hostname": "192.0.2.1"}],
            "trunks": trunks,
            "emergency": {"numbers": ["112"], "providers": ["carrier"]},
        }
    )
    result = compile_policy(config, {}, version="v", loaded_at=datetime(2026, 1, 1, tzinfo=UTC))
    return result.policy, result.problems


Judge = Callable[..., str]


def judge(*trunks: dict[str, Any]) -> Judge:
    policy, problems = compiled(*trunks)
    assert policy is not None, problems

    def ask(source: str, login: str | None = None, user: str = LONDON) -> str:
        verdict = evaluate(policy, CallAttempt(source, "udp", "sip", user, login=login))
        if verdict.reason is not None:
            return verdict.reason.value
        assert verdict.trunk is not None
        return verdict.trunk.name

    return ask


def test_a_trunk_without_addresses_is_reached_from_any() -> None:
    ask = judge(digest("road", "r"), plain("office", "10.0.0.1"))
    assert ask("198.51.100.9") == "AUTH"
    assert ask("198.51.100.9", "r") == "road"
    assert ask("198.51.100.9", "nobody") == "SOURCE"
    # The address comes first: who is known by it is not asked.
    assert ask("10.0.0.1") == "office"


def test_without_such_a_trunk_strangers_are_not_asked() -> None:
    ask = judge(digest("office", "o", "10.0.0.1"))
    assert ask("198.51.100.9") == "SOURCE"
    assert ask("198.51.100.9", "o") == "SOURCE"
    assert ask("10.0.0.1") == "AUTH"
    assert ask("10.0.0.1", "o") == "office"


def test_a_challenge_tells_nothing_of_the_policy() -> None:
    ask = judge(digest("a", "a", "10.0.0.1", tech_prefix="77#"), digest("b", "b", "10.0.0.1"))
    for user in (LONDON, "77#" + LONDON, "+18765550100", "nonsense", "", "+", "9" * 40):
        assert ask("10.0.0.1", user=user) == "AUTH", user
    assert ask("10.0.0.1", "a", LONDON) == "NUMBER"
    assert ask("10.0.0.1", "a", "77#" + LONDON) == "a"
    assert ask("10.0.0.1", "b", LONDON) == "b"


def test_beside_a_trunk_by_address_the_tech_prefix_decides_who_is_asked() -> None:
    ask = judge(plain("open", "10.0.0.1"), digest("closed", "c", "10.0.0.1", tech_prefix="77#"))
    assert ask("10.0.0.1") == "open"
    assert ask("10.0.0.1", user="77#" + LONDON) == "AUTH"
    assert ask("10.0.0.1", "c", "77#" + LONDON) == "closed"
    # Who logs in is of that trunk, or of none.
    assert ask("10.0.0.1", "c") == "NUMBER"


def test_many_users_behind_one_address() -> None:
    trunks = [digest(f"t{index}", f"u{index}", "10.0.0.0/8") for index in range(20)]
    ask = judge(*trunks, digest("road", "r"))
    assert [ask("10.1.2.3", f"u{index}") for index in range(20)] == [f"t{index}" for index in range(20)]
    assert ask("10.1.2.3", "r") == "road"
    assert ask("10.1.2.3") == "AUTH"


def test_one_user_with_two_trunks() -> None:
    ask = judge(digest("a", "u", tech_prefix="1#"), digest("b", "u"), digest("c", "u", "10.0.0.1"))
    assert ask("198.51.100.1", "u", "1#" + LONDON) == "a"
    assert ask("198.51.100.1", "u") == "b"
    assert ask("10.0.0.1", "u") == "c"


def test_emergency_calls() -> None:
    ask = judge(digest("office", "o", "10.0.0.1"), digest("road", "r"))
    assert ask("10.0.0.1", user="112") == "office"  # a known address is not asked
    assert ask("198.51.100.9", user="112") == "AUTH"
    assert ask("198.51.100.9", "r", user="112") == "road"


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (plain("a", "10.0.0.1"), digest("b", "u", "10.0.0.1"), "both have 10.0.0.1/32 and no tech_prefix"),
        (digest("b", "u", "10.0.0.1"), plain("a", "10.0.0.1"), "both have 10.0.0.1/32 and no tech_prefix"),
        (digest("a", "u"), digest("b", "u"), "both have any address, user name `u` and no tech_prefix"),
        (digest("a", "u"), digest("b", "v"), None),
        (digest("a", "u"), digest("b", "u", tech_prefix="1#"), None),
        (digest("a", "u", "10.0.0.1"), digest("b", "u"), None),
        (plain("a", "10.0.0.1"), digest("b", "u"), None),
    ],
)
def test_two_trunks_are_told_apart(first: dict[str, Any], second: dict[str, Any], text: str | None) -> None:
    found = [message for _, message in compiled(first, second)[1]]
    assert found == ([] if text is None else [f"cannot be told from trunk `{first['name']}`: {text}"])
