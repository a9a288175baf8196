"""Nothing turns an emergency number into something else, or something else into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from config.model import ProviderConfig
from policy.compile import CompileResult
from policy.compile_emergency import never_sent
from policy.reasons import ReasonCode
from policy.verdict import Verdict
from tests.policy.conftest import sections, trunk

Compile = Callable[..., CompileResult]
Judge = Callable[..., Verdict]
TEN_DIGITS = {"country_code": "1", "international_prefixes": ["011"], "national_prefixes": ["1", ""]}
EIGHT_DIGITS = {"country_code": "45", "national_prefixes": [""]}


def provider(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "carrier-a", "hostname": "sip.carrier-a.example", **changes}]


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"tech_prefix": "7711"}, "7711112"),
        ({"tech_prefix": "0011", "strip_plus": True}, "0011112"),
        ({"tech_postfix": "44"}, "11244"),
        ({"tech_prefix": "88#"}, "88#112"),
    ],
)
def test_an_emergency_number_is_not_dressed(
    compile_sections: Compile, changes: dict[str, Any], sent: str
) -> None:
    result = compile_sections(providers=provider(**changes))
    (problem,) = result.problems
    assert problem[0] == "emergency.providers[0]"
    assert f"would be sent {sent} and not 112" in problem[1]
    assert result.policy is None


def test_a_second_entry_of_the_same_carrier_mends_that(compile_sections: Compile) -> None:
    plain = {"name": "carrier-sos", "hostname": "sip.carrier-a.example"}
    result = compile_sections(
        providers=[*provider(tech_prefix="7711"), plain],
        emergency={"numbers": ["112"], "providers": ["carrier-sos"]},
    )
    assert result.problems == []


@pytest.mark.parametrize(
    ("numbers", "changes", "path", "message"),
    [
        (["112", "12"], {"tech_prefix": "1"}, "trunks[0].tech_prefix",
         "`1` makes `112` of `12`: both are emergency numbers"),
        (["32123456"], {"dial_plan": EIGHT_DIGITS}, "trunks[0].dial_plan",
         "reads the emergency number `32123456` as +4532123456, which is somebody's"),
        (["9321000"], {"tech_prefix": "9", "dial_plan": {"country_code": "299", "national_prefixes": [""]}},
         "trunks[0].tech_prefix", "`9` and +299321000 make the emergency number `9321000`"),
    ],
)  # fmt: skip
def test_readings_that_two_could_mean(
    compile_sections: Compile, numbers: list[str], changes: dict[str, Any], path: str, message: str
) -> None:
    result = compile_sections(
        trunks=[trunk(**changes)], emergency={"numbers": numbers, "providers": ["carrier-a"]}
    )
    assert [found for found in result.problems if found[0] == path and message in found[1]], result.problems
    assert result.policy is None


@pytest.mark.parametrize(
    "plan",
    [
        TEN_DIGITS,
        EIGHT_DIGITS,
        {"country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]},
        {"country_code": "49", "international_prefixes": ["00"], "national_prefixes": ["0", ""]},
        {"country_code": "61", "international_prefixes": ["0011"], "national_prefixes": ["0", ""]},
        {"bare_e164": True},
    ],
)
def test_usual_dial_plans_read_usual_emergency_numbers_as_nobody(
    compile_sections: Compile, plan: dict[str, Any]
) -> None:
    numbers = ["112", "911", "999", "000", "110", "118", "15", "17", "18", "116117"]
    result = compile_sections(
        trunks=[trunk(dial_plan=plan, tech_prefix="9")],
        emergency={"numbers": numbers, "providers": ["carrier-a"]},
    )
    assert result.problems == []


@pytest.mark.parametrize(
    ("changes", "never"),
    [
        ({}, set()),
        ({"strip_plus": True}, {"+112", "+911"}),
        ({"strip_plus": True, "tech_prefix": "9"}, {"+11"}),
        ({"strip_plus": True, "tech_postfix": "2"}, {"+11"}),
        ({"strip_plus": True, "tech_prefix": "7711"}, set()),
        ({"strip_plus": True, "tech_prefix": "11", "tech_postfix": "2"}, set()),
    ],
)
def test_numbers_that_would_arrive_as_an_emergency_call(changes: dict[str, Any], never: set[str]) -> None:
    made = ProviderConfig.model_validate(provider(**changes)[0])
    assert never_sent(made, ("112", "911", "000")) == never


def test_such_a_number_is_not_sent(judge: Judge) -> None:
    """+911 has the calling code of India: without its plus it would be a call to the police."""
    whole = {"providers": provider(strip_plus=True)}
    free = {"destination_whitelist": None, "allow_any_country": True, "deny_kinds": []}
    whole["trunks"] = [trunk(**free)]
    refused = judge("+911", whole=whole)
    assert (refused.reason, refused.called, refused.emergency) == (ReasonCode.NUMBER, "+911", False)
    assert refused.checks[-1].name == "emergency"
    assert judge("911", whole=whole).emergency
    assert judge("+9111234567", whole=whole).reason is None
    whole["providers"] = provider()
    assert judge("+911", whole=whole).reason is None


def test_without_emergency_calls_there_is_nothing_to_confuse(compile_sections: Compile) -> None:
    result = compile_sections(providers=provider(tech_prefix="7711", strip_plus=True), emergency="none")
    assert result.problems == []
    assert sections()["emergency"]["numbers"] == ["112", "911"]
