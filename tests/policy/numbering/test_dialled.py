from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.numbering.dial_plan import DialPlan, is_e164
from policy.numbering.dialled import canonical_number, read_dialled

NONE = DialPlan()
BARE = DialPlan(bare_e164=True)
US = DialPlan("1", ("011",), ("1", ""))
GB = DialPlan("44", ("00",), ("0",))
IT = DialPlan("39", ("00",), ("",))
RU = DialPlan("7", ("810",), ("8",))
GB_BARE = DialPlan("44", ("00",), ("0",), bare_e164=True)
RU_BARE = DialPlan("7", ("810",), ("8",), bare_e164=True)
US_BARE = DialPlan("1", ("011",), ("1", ""), bare_e164=True)

JAMAICA = "+18765550100"
LONDON = "+442079460018"

# user part, {plan: number}; of plans that are not named the number is None.
EVERY = (NONE, BARE, US, GB, IT, RU, GB_BARE, RU_BARE, US_BARE)
TABLE: list[tuple[str, dict[DialPlan, str]]] = [
    # global numbers: no dial plan has a say
    (JAMAICA, dict.fromkeys(EVERY, JAMAICA)),
    ("%2B18765550100", dict.fromkeys(EVERY, JAMAICA)),
    ("+1%3876%355550100", dict.fromkeys(EVERY, "+187655550100")),
    ("+1-876-555-0100", dict.fromkeys(EVERY, JAMAICA)),
    ("+1(876)555.0100", dict.fromkeys(EVERY, JAMAICA)),
    ("+-1876555-0100", dict.fromkeys(EVERY, JAMAICA)),
    ("+18765550100;phone-context=+44", dict.fromkeys(EVERY, JAMAICA)),
    ("+18765550100;rn=+19005550100;npdi", dict.fromkeys(EVERY, JAMAICA)),
    ("+18765550100;cic=+1-0288;tgrp=evil;trunk-context=evil.example", dict.fromkeys(EVERY, JAMAICA)),
    ("+18765550100;unknown=thing", dict.fromkeys(EVERY, JAMAICA)),
    ("+1", dict.fromkeys(EVERY, "+1")),
    ("+123456789012345", dict.fromkeys(EVERY, "+123456789012345")),
    # dialled by a plan
    ("18765550100", {
        US: JAMAICA, BARE: JAMAICA, IT: "+3918765550100", GB_BARE: JAMAICA, RU_BARE: JAMAICA,
        US_BARE: JAMAICA,
    }),
    ("8765550100", {
        US: JAMAICA, BARE: "+8765550100", IT: "+398765550100", RU: "+7765550100", GB_BARE: "+8765550100",
    }),
    ("0118765550100", {
        US: "+8765550100", GB: "+44118765550100", IT: "+390118765550100", GB_BARE: "+44118765550100",
        US_BARE: "+8765550100",
    }),
    ("01118765550100", {US: JAMAICA, GB: "+441118765550100", GB_BARE: "+441118765550100", US_BARE: JAMAICA}),
    ("0018765550100", {
        GB: JAMAICA, IT: JAMAICA, GB_BARE: JAMAICA, US: "+10018765550100", US_BARE: "+10018765550100",
    }),
    ("02079460018", {
        GB: LONDON, GB_BARE: LONDON, IT: "+3902079460018", US: "+102079460018", US_BARE: "+102079460018",
    }),
    ("442079460018", {
        BARE: LONDON, GB_BARE: LONDON, IT: "+39442079460018", US: "+1442079460018", RU_BARE: LONDON,
    }),
    ("81018765550100", {
        RU: JAMAICA, BARE: "+81018765550100", US: "+181018765550100", GB_BARE: "+81018765550100",
    }),
    ("84951234567", {
        RU: "+74951234567", BARE: "+84951234567", US: "+184951234567", IT: "+3984951234567",
        GB_BARE: "+84951234567",
    }),
    ("020-7946.0018", {
        GB: LONDON, GB_BARE: LONDON, IT: "+3902079460018", US: "+102079460018", US_BARE: "+102079460018",
    }),
    ("%302079460018", {
        GB: LONDON, GB_BARE: LONDON, IT: "+3902079460018", US: "+102079460018", US_BARE: "+102079460018",
    }),
    # a context makes a local number global, whatever the plan
    ("8765550100;phone-context=+1", dict.fromkeys(EVERY, JAMAICA)),
    ("8765550100;PHONE-CONTEXT=%2B1", dict.fromkeys(EVERY, JAMAICA)),
    ("555-0100;phone-context=+1-876", dict.fromkeys(EVERY, JAMAICA)),
    ("5550100;isdn=1;phone-context=+1876", dict.fromkeys(EVERY, JAMAICA)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("user", "plan", "number"),
    [(user, plan, numbers.get(plan)) for user, numbers in TABLE for plan in EVERY],
)
def test_numbers_by_dial_plan(user: str, plan: DialPlan, number: str | None) -> None:
    assert canonical_number(read_dialled("sip", user, ()), plan).number == number


NEVER = [
    "", "+", "++1", "++18765550100", "+01", "+08765550100", "00+1", "00+18765550100", "0+18765550100",
    "+1234567890123456", "001234567890123456", "1234567890123456789012345678901234567890",
    "%252B18765550100", "%25%32B1876", "+1%2", "+1%", "%zz1876", "+1%002", "%D9%A1%D9%A2",
    "١٢٣٤٥٦٧", "１８７６５５５０１００", "+1²", "+1876555010O", "alice", "anonymous", "1876abc",
    "+1876;ext=12", "+18765550100;EXT=1", "+18765550100;postd=pp22", "+18765550100;isub=1", "+18765550100,1",
    "18765550100p1", "18765550100w1", "18765550100*1", "*67", "#31#18765550100", "+1 8765550100",
    "+1%208765550100",
    "8765550100;phone-context=example.com", "8765550100;phone-context=1", "8765550100;phone-context=",
    "8765550100;phone-context", "8765550100;phone-context=+0", "8765550100;phone-context=+",
    "8765550100;phone-context=%252B1", "8765550100;phone-context=+1;phone-context=+44",
    "1234567890;phone-context=+1234567", ";phone-context=+1", "-", "()", "-+18765550100", "(+1)8765550100",
    "1+8765550100", "+1876555+0100", "+1%3B876", "0", "00", "000", "+1\r\n8765550100", "+1\x008765550100",
    "+18765550100\n", "18765550100&x", "1=8765550100", "+-", "+()", "%", "+" + "-" * 300 + "1", "1" * 300,
]  # fmt: skip


@pytest.mark.parametrize("plan", [NONE, BARE, US, GB, RU_BARE])
@pytest.mark.parametrize("user", NEVER)
def test_what_is_no_number_is_none_under_any_plan(user: str, plan: DialPlan) -> None:
    canonical = canonical_number(read_dialled("sip", user, ()), plan)
    if user in ("0", "00", "000") and plan is US:
        return  # digits of a plan that dials national numbers bare: no country will hold them
    assert canonical.number is None
    assert canonical.rule


def test_sip_sips_and_tel_are_read_alike() -> None:
    for user in ("+18765550100", "8765550100", "+1-876", "junk", ""):
        sip = read_dialled("sip", user, ())
        assert read_dialled("sips", user, ()) == sip
        assert read_dialled("tel", user, ()) == sip


def test_parameters_of_a_tel_uri_are_the_numbers_own() -> None:
    params = (("phone-context", "+1"),)
    assert canonical_number(read_dialled("tel", "8765550100", params), NONE).number == JAMAICA
    assert canonical_number(read_dialled("tel", JAMAICA, (("ext", "5"),)), NONE).number is None
    assert canonical_number(read_dialled("tel", "8765550100", (("phone-context", "a.b"),)), US).number is None


def test_parameters_of_a_sip_uri_are_not() -> None:
    params = (("phone-context", "+44"), ("user", "phone"), ("ext", "5"))
    assert canonical_number(read_dialled("sip", "8765550100", params), US).number == JAMAICA


def test_escapes_are_decoded_once() -> None:
    assert read_dialled("sip", "%252B18765550100", ()).failure == "escaped twice, or no number"


def test_a_huge_context_costs_nothing() -> None:
    context = "+" + "1" * 60_000 + "x"
    assert read_dialled("tel", "8765550100", (("phone-context", context),)).failure is not None


@pytest.mark.parametrize("scheme", ["urn", "http", "mailto", "im", "", "SIP"])
def test_other_schemes_name_no_number(scheme: str) -> None:
    dialled = read_dialled(scheme, JAMAICA, ())
    assert dialled.digits == ""
    assert canonical_number(dialled, BARE).number is None


def test_digits_are_known_though_the_parameters_are_at_fault() -> None:
    assert read_dialled("sip", "112;phone-context=ims.example", ()).digits == "112"


@pytest.mark.parametrize(
    ("user", "skip", "number"),
    [
        ("1234#+18765550100", 5, JAMAICA),
        ("1234%23%2B18765550100", 5, JAMAICA),
        ("99" + "0018765550100", 2, JAMAICA),
        ("99", 2, None),
        ("1234#", 5, None),
        ("1234##18765550100", 5, None),
    ],
)
def test_a_technical_prefix_is_stripped_before_the_plan_reads(
    user: str, skip: int, number: str | None
) -> None:
    dialled = read_dialled("sip", user, ())
    assert canonical_number(dialled, GB, skip).number == number


PLANS = st.builds(
    DialPlan,
    st.one_of(st.none(), st.sampled_from(["1", "7", "44", "39", "880"])),
    st.lists(st.sampled_from(["00", "011", "810", "0011", "9"]), max_size=3).map(tuple),
    st.lists(st.sampled_from(["0", "1", "8", ""]), max_size=3).map(tuple),
    st.booleans(),
)
USERS = st.one_of(
    st.text(max_size=30), st.text("0123456789+-.()%;#BC=", max_size=24), st.from_regex(r"\+?[0-9]{1,17}")
)


@given(USERS, PLANS, st.sampled_from(["sip", "sips", "tel"]))
def test_a_canonical_number_is_canonical_and_stays_so(user: str, plan: DialPlan, scheme: str) -> None:
    number = canonical_number(read_dialled(scheme, user, ()), plan).number
    if number is not None:
        assert number[0] == "+"
        assert is_e164(number[1:])
        assert canonical_number(read_dialled(scheme, number, ()), plan).number == number
