"""Two readings of every dialled number, by the program and by tests/cases/reading.py, agree."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.model import Config
from policy.compile import compile_policy
from policy.compiled import Policy
from policy.evaluate import evaluate
from policy.numbering.country import country_of
from policy.numbering.dial_plan import DialPlan
from policy.numbering.dialled import canonical_number, read_dialled
from policy.verdict import Verdict
from proxy.admission.inquiry import Unclear, attempt_from
from tests.cases.reading import Plan, denied, number_of, region

PLANS: dict[str, tuple[Plan, dict[str, Any]]] = {
    "plus only": (Plan(), {}),
    "british": (Plan("44", ("00",), ("0",)),
                {"country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]}),
    "american": (Plan("1", ("011",), ("1", "")),
                 {"country_code": "1", "international_prefixes": ["011"], "national_prefixes": ["1", ""]}),
    "bare": (Plan(bare=True), {"bare_e164": True}),
    "bare and national": (Plan("44", ("00",), ("0", "4"), True),
                          {"country_code": "44", "international_prefixes": ["00"],
                           "national_prefixes": ["0", "4"], "bare_e164": True}),
    "italian": (Plan("39", ("00", "001"), ("",)),
                {"country_code": "39", "international_prefixes": ["00", "001"], "national_prefixes": [""]}),
}  # fmt: skip
DENIED = ("+1900", "+4470", "+4476", "+449")


def policy_of(plan: dict[str, Any], **changes: Any) -> Policy:
    trunk = {
        "name": "t", "provider": "c", "allowed_sip_ips": ["192.0.2.1"], "allow_any_country": True,
        "deny_kinds": [], "dial_plan": plan, **changes,
    }  # fmt: skip
    whole = {"providers": [{"name": "c", "hostname": "192.0.2.9"}], "trunks": [trunk], "emergency": "none"}
    result = compile_policy(
        Config.model_validate(whole), {}, version="v", loaded_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert result.policy is not None, result.problems
    return result.policy


POLICIES = {name: (plan, policy_of(fields)) for name, (plan, fields) in PLANS.items()}

# What people and attackers put into a number, in pieces: most of what is made of them is nearly a number.
PIECES = st.sampled_from(
    ["+", "00", "0", "011", "1", "44", "39", "202", "555", "0123", "20", "7946", "-", ".", "(", ")", "%2B",
     "%30", "%31", "%2D", "%25", "%2", "%", "%zz", "#", "*", "a", "%C3%A9", ",", "p", "&", "=", "$", "/", "!",
     ";ext=1", ";isub=1", ";postd=1", ";rn=+1900", ";npdi", ";phone-context=+1", ";phone-context=+44",
     ";phone-context=x.example", ";phone-context=%2B1", ";PHONE-CONTEXT=+1", ";EXT=5", ";x=%41", ";cic=+1900",
     ";phone-context=+", ";phone-context=", ";phone-context", ":pw", "112"]
)  # fmt: skip
USERS = st.lists(PIECES, max_size=9).map("".join)
DIGITS = st.text("0123456789+", max_size=20)
URIS = st.one_of(
    st.builds("sip:{}@host.example".format, USERS | DIGITS),
    st.builds("SIP:{}@[2001:db8::1]:5060;user=phone".format, USERS),
    st.builds("sips:{}@host.example;phone-context=+44".format, USERS),
    st.builds("sip:{}@host.example?To=+1900".format, DIGITS),
    st.builds("tel:{}".format, USERS | DIGITS),
    st.builds("TeL:{}".format, USERS),
)


def judged(policy: Policy, uri: str) -> Verdict | None:
    """The program's verdict on a whole Request-URI; None where it would answer 400 or 416."""
    try:
        return evaluate(policy, attempt_from("192.0.2.1", uri, None, None))
    except Unclear:
        return None


@settings(max_examples=1000, deadline=None)
@given(URIS, st.sampled_from(sorted(POLICIES)))
@example("tel:2025550123;phone-context=+1", "plus only")
@example("sip:%2B1202%35550123@host.example", "plus only")
@example("sip:%252B12025550123@host.example", "plus only")
@example("sip:0012025550123@host.example", "italian")
@example("sip:44123456@host.example", "bare and national")
def test_both_read_the_same_number_or_none(uri: str, name: str) -> None:
    plan, policy = POLICIES[name]
    verdict = judged(policy, uri)
    called = None if verdict is None else verdict.called
    wanted = number_of(uri, plan)
    if verdict is None:
        return  # refused unread, which is always allowed
    assert called == wanted, (uri, name, verdict.checks)


@settings(max_examples=300, deadline=None)
@given(URIS)
def test_what_was_judged_is_what_is_sent(uri: str) -> None:
    """The Request-URI at the provider reads as the called number, and as nothing else."""
    verdict = judged(POLICIES["british"][1], uri)
    if verdict is None or verdict.reason is not None:
        return
    assert verdict.called is not None
    sent = verdict.providers[0].request_uri(verdict.called)
    assert sent == f"sip:{verdict.called}@192.0.2.9"
    assert number_of(sent, Plan()) == verdict.called


@settings(max_examples=800, deadline=None)
@given(st.text("0123456789", max_size=18), st.builds(
    DialPlan,
    st.sampled_from([None, "1", "44", "39", "598"]),
    st.lists(st.sampled_from(["00", "011", "0", "001", "9"]), max_size=3, unique=True).map(tuple),
    st.lists(st.sampled_from(["0", "1", "", "9", "04"]), max_size=3, unique=True).map(tuple),
    st.booleans(),
))  # fmt: skip
def test_dial_plans_are_read_the_same(digits: str, plan: DialPlan) -> None:
    if set(plan.international_prefixes) & set(plan.national_prefixes):
        return  # the compiler refuses those
    other = Plan(plan.country_code or "", plan.international_prefixes, plan.national_prefixes, plan.bare_e164)
    read = canonical_number(read_dialled("sip", digits, ()), plan).number
    assert read == number_of(f"sip:{digits}@x", other)


def two_hundred_numbers() -> list[str]:
    """An example of every region's numbers, those of the fixture's neighbours, and made-up ones."""
    draw = random.Random(20260101)
    found = []
    for code in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number(code)
        if example is not None:
            found.append(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164))
    made = [f"+{draw.choice(('1', '44', '7', '39', '61'))}{draw.randrange(10**9):09d}" for _ in range(60)]
    special = [
        "+19005550123",
        "+447012345678",
        "+447624123456",
        "+449098790123",
        "+12025550123",
        "+870773111632",
    ]
    return [*found, *made, *special]


def test_two_hundred_numbers_are_explained_as_the_second_reading_has_them() -> None:
    """Country and outcome, against phonenumbers on the whole number."""
    numbers = two_hundred_numbers()
    assert len(numbers) >= 200
    policy = policy_of(
        {}, allow_any_country=False, destination_whitelist=["us", "gb"], dst_prefixes={"deny": list(DENIED)}
    )
    for number in numbers:
        verdict = judged(policy, f"sip:{number}@x")
        assert verdict is not None
        assert verdict.called == number_of(f"sip:{number}@x", Plan())
        place = region(number)
        if phonenumbers.is_valid_number(phonenumbers.parse(number)):
            known = place if place != "001" else None
            assert verdict.country == known, (number, country_of(number))
        allowed = place in ("US", "GB") and not denied(number, DENIED)
        if verdict.reason is None:  # by its range, also where digits are missing
            assert allowed or place is None, number
            assert not denied(number, DENIED)
        elif phonenumbers.is_valid_number(phonenumbers.parse(number)):
            assert not allowed, (number, verdict.checks)


@pytest.mark.parametrize("uri", ["sip:+1202555٠١٢٣@x", "sip:+1202５550123@x", "sip:＋12025550123@x"])
def test_digits_of_other_scripts_are_none(uri: str) -> None:
    verdict = judged(POLICIES["plus only"][1], uri)
    assert verdict is None or verdict.called is None
    assert number_of(uri, Plan()) is None
