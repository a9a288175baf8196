from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.model import DeckRow
from policy.attempt import CallAttempt
from policy.compiled import Policy
from policy.evaluate import evaluate
from policy.reasons import ReasonCode
from policy.verdict import Check, Verdict

Judge = Callable[..., Verdict]
PolicyOf = Callable[..., Policy]
NewTrunk = Callable[..., dict[str, Any]]

LONDON = "+442079460018"
NEW_YORK = "+12125550100"
JAMAICA = "+18765550100"
US_PLAN = {"country_code": "1", "international_prefixes": ["011"], "national_prefixes": ["1", ""]}


def names(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks]


def test_an_admitted_call_with_its_whole_trace(judge: Judge) -> None:
    verdict = judge(LONDON)
    assert verdict.reason is None
    assert verdict.called == LONDON
    assert verdict.country == "GB"
    assert [provider.name for provider in verdict.providers] == ["carrier-a"]
    assert verdict.trunk is not None
    assert verdict.trunk.name == "office-pbx"
    assert not verdict.emergency
    assert verdict.checks == [
        Check("source", "trunk:office-pbx", "pass", "in 192.0.2.10/32"),
        Check(
            "number", "trunk:office-pbx", "pass", f"{LONDON} is {LONDON}: dialled as an international number"
        ),
        Check("emergency", "", "skip", "not an emergency number"),
        Check("gate", "", "pass", "the instance takes new calls"),
        Check("status", "trunk:office-pbx", "pass", "active"),
        Check("country", "trunk:office-pbx", "pass", "GB is in destination_whitelist"),
        Check("prefix", "trunk:office-pbx", "pass", "default_dst_action allow_all"),
        Check("kind", "trunk:office-pbx", "pass", "none of premium, satellite"),
        Check("cli", "", "skip", "no rule on caller identity"),
        Check("rate", "", "skip", "no rate is known, and no spend or rate limit wants one"),
        Check("window", "", "skip", "no calling window"),
        Check("route", "trunk:office-pbx", "pass", "forced provider carrier-a"),
    ]


REFUSALS: list[tuple[ReasonCode, str, str, dict[str, Any]]] = [
    (ReasonCode.SOURCE, "source", LONDON, {"source": "192.0.2.11"}),
    (ReasonCode.SOURCE, "source", LONDON, {"source": ""}),
    (ReasonCode.SOURCE, "source", "112", {"source": "192.0.2.11"}),
    (ReasonCode.NUMBER, "number", "alice", {}),
    (ReasonCode.NUMBER, "number", "", {}),
    (ReasonCode.NUMBER, "number", "442079460018", {}),
    (ReasonCode.NUMBER, "number", "alice", {"gate": ReasonCode.DRAINING}),
    (ReasonCode.NUMBER, "number", "service:sos", {"scheme": "urn", "whole": {"emergency": "none"}}),
    (ReasonCode.NUMBER, "number", "112", {"whole": {"emergency": None}}),
    (ReasonCode.NUMBER, "number", LONDON, {"scheme": "http"}),
    (ReasonCode.DRAINING, "gate", LONDON, {"gate": ReasonCode.DRAINING}),
    (ReasonCode.OVERLOAD, "gate", LONDON, {"gate": ReasonCode.OVERLOAD, "status": "blocked"}),
    (ReasonCode.DISABLED, "status", LONDON, {"status": "blocked"}),
    (ReasonCode.DISABLED, "status", JAMAICA, {"status": "blocked"}),
    (ReasonCode.COUNTRY, "country", JAMAICA, {}),
    (ReasonCode.COUNTRY, "country", "8765550100", {"dial_plan": US_PLAN}),
    (ReasonCode.COUNTRY, "country", "+77172123456", {"destination_whitelist": ["ru"]}),
    (ReasonCode.COUNTRY, "country", "+390669812345", {"destination_whitelist": ["it"]}),
    (ReasonCode.COUNTRY, "country", "+441534234567", {}),
    (ReasonCode.COUNTRY, "country", "+17875550100", {}),
    (ReasonCode.COUNTRY, "country", LONDON, {"destination_whitelist": []}),
    (ReasonCode.COUNTRY, "country", "+87077311",
     {"destination_whitelist": [], "allow_non_geographic": ["+870"]}),
    (ReasonCode.COUNTRY_UNKNOWN, "country", "+999123456", {}),
    (ReasonCode.COUNTRY_UNKNOWN, "country", "+440123456789", {}),
    (ReasonCode.COUNTRY_UNKNOWN, "country", "+870773111111", {}),
    (ReasonCode.COUNTRY_UNKNOWN, "country", "+881612345678", {"allow_non_geographic": ["+870"]}),
    (ReasonCode.PREFIX, "prefix", "+449098790000", {"dst_prefixes": {"deny": ["+1900", "+449"]}}),
    (ReasonCode.PREFIX, "prefix", LONDON, {"default_dst_action": "reject_all"}),
    (ReasonCode.RATE, "rate", "+447624123456",
     {"destination_whitelist": ["im"], "rate_deck": "retail", "max_destination_rate": "0.59"}),
    (ReasonCode.NO_RATE, "rate", "+33123456789",
     {"destination_whitelist": ["fr"], "rate_deck": "retail", "max_destination_rate": "0.59"}),
    (ReasonCode.NO_RATE, "rate", "+33123456789",
     {"destination_whitelist": ["fr"], "rate_deck": "retail", "threshold_amount": "1"}),
    (ReasonCode.NO_RATE, "rate", LONDON, {"threshold_amount": "1"}),
    (ReasonCode.ROUTE, "route", LONDON, {"provider": None}),
    (ReasonCode.ROUTE, "route", LONDON,
     {"whole": {"providers": [{"name": "carrier-a", "hostname": "192.0.2.1", "status": "blocked"}]}}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "decided_by", "user", "setting"), REFUSALS)
def test_refusals_end_the_trace_with_the_check_that_decided(
    judge: Judge, reason: ReasonCode, decided_by: str, user: str, setting: dict[str, Any]
) -> None:
    verdict = judge(user, **setting)
    assert verdict.reason is reason
    assert verdict.checks[-1].name == decided_by
    assert verdict.checks[-1].outcome == "refuse"
    assert [check.outcome for check in verdict.checks].count("refuse") == 1
    assert verdict.providers == ()


@pytest.mark.parametrize(
    ("user", "setting"),
    [
        (NEW_YORK, {}),
        ("2125550100", {"dial_plan": US_PLAN}),
        ("12125550100", {"dial_plan": US_PLAN}),
        ("011442079460018", {"dial_plan": US_PLAN}),
        ("%2B1-212-555.0100", {}),
        ("+870773111111", {"allow_non_geographic": ["+870"]}),
        ("+999123456789", {"destination_whitelist": None, "allow_any_country": True}),
        (JAMAICA, {"destination_whitelist": None, "allow_any_country": True}),
        (LONDON, {"default_dst_action": "reject_all", "dst_prefixes": {"allow": ["+4420"]}}),
        (LONDON, {"rate_deck": "retail", "max_destination_rate": "0.01", "threshold_amount": "1"}),
        ("+33123456789", {"destination_whitelist": ["FR"], "rate_deck": "retail"}),
        (LONDON, {"allowed_sip_ips": ["192.0.2.0/24"], "source": "::ffff:192.0.2.77"}),
        (LONDON, {"provider": None, "whole": {"default_provider": "carrier-a", "trunks": [
            {"name": "t", "allowed_sip_ips": ["192.0.2.10"], "destination_whitelist": ["gb"]}]}}),
    ],
)  # fmt: skip
def test_admitted(judge: Judge, user: str, setting: dict[str, Any]) -> None:
    verdict = judge(user, **setting)
    assert verdict.reason is None
    assert [check.outcome for check in verdict.checks].count("refuse") == 0


def test_a_trunk_that_names_no_rate_deck_has_the_default_one(judge: Judge) -> None:
    verdict = judge("+447400123456", whole={"default_rate_deck": "retail"})
    assert verdict.rate is not None
    assert verdict.rate.prefix == "447"


def test_rate_and_destination_are_of_the_longest_prefix(judge: Judge) -> None:
    verdict = judge("+447400123456", rate_deck="retail")
    assert verdict.rate is not None
    assert verdict.rate.prefix == "447"
    assert verdict.destination == "United Kingdom mobile"


@pytest.mark.parametrize(
    ("account", "profile", "own", "reason", "scope"),
    [
        (["us", "gb"], ["gb"], ["gb", "fr"], None, None),
        (None, ["gb"], None, None, None),
        (["gb"], None, None, None, None),
        (["us"], ["gb"], ["gb"], ReasonCode.COUNTRY, "account:acme"),
        (["gb"], ["us"], ["gb"], ReasonCode.COUNTRY, "profile:office"),
        (["gb"], ["gb"], ["us"], ReasonCode.COUNTRY, "trunk:office-pbx"),
        (None, [], ["gb"], ReasonCode.COUNTRY, "profile:office"),
        ([], None, None, ReasonCode.COUNTRY, "account:acme"),
    ],
)
def test_every_whitelist_must_hold_the_country(
    judge: Judge,
    new_trunk: NewTrunk,
    account: list[str] | None,
    profile: list[str] | None,
    own: list[str] | None,
    reason: ReasonCode | None,
    scope: str | None,
) -> None:
    whole = {
        "accounts": [{"name": "acme", "destination_whitelist": account}],
        "profiles": [{"name": "office", "destination_whitelist": profile}],
        "trunks": [new_trunk(account="acme", profile="office", destination_whitelist=own)],
    }
    verdict = judge(LONDON, whole=whole)
    assert verdict.reason is reason
    if scope is not None:
        assert verdict.checks[-1].scope == scope


def test_the_lowest_of_two_highest_rates_decides(judge: Judge, new_trunk: NewTrunk) -> None:
    def with_limits(profile: str, own: str) -> Verdict:
        whole = {
            "profiles": [{"name": "office", "max_destination_rate": profile}],
            "trunks": [new_trunk(profile="office", max_destination_rate=own, rate_deck="retail")],
        }
        return judge("+447400123456", whole=whole)

    assert with_limits("0.60", "0.60").reason is None
    assert with_limits("0.59", "0.60").reason is ReasonCode.RATE
    refused = with_limits("0.60", "0.59")
    assert refused.reason is ReasonCode.RATE
    assert refused.checks[-1].scope == "trunk:office-pbx"


EMERGENCY: list[tuple[str, dict[str, Any], str]] = [
    ("112", {}, "112"),
    ("911", {}, "911"),
    ("112", {"scheme": "tel"}, "112"),
    ("1-1-2", {}, "112"),
    ("%3112", {}, "112"),
    ("112;phone-context=ims.example", {}, "112"),
    ("112;phone-context=+44", {}, "112"),
    ("112;ext=9", {}, "112"),
    ("112", {"scheme": "tel", "params": (("phone-context", "a.example"),)}, "112"),
    ("service:sos", {"scheme": "urn"}, "112"),
    ("SERVICE:SOS", {"scheme": "urn"}, "112"),
    ("service:sos.fire", {"scheme": "urn"}, "112"),
    ("service:sos.ecall.Automatic", {"scheme": "urn"}, "112"),
    ("112", {"gate": ReasonCode.DRAINING}, "112"),
    ("112", {"gate": ReasonCode.OVERLOAD}, "112"),
    ("112", {"status": "blocked"}, "112"),
    ("112", {"destination_whitelist": []}, "112"),
    ("112", {"default_dst_action": "reject_all"}, "112"),
    ("112", {"threshold_amount": "0", "max_destination_rate": "0"}, "112"),
    ("112", {"auth": "ip_and_digest", "username": "u", "ha1": "0" * 32}, "112"),
    ("112", {"dial_plan": US_PLAN}, "112"),
    ("911", {"dial_plan": {"bare_e164": True}}, "911"),
    ("112", {"tech_prefix": "77#"}, "112"),
    ("77#112", {"tech_prefix": "77#"}, "112"),
    ("77%23112", {"tech_prefix": "77#"}, "112"),
    ("112", {"tech_prefix": "11"}, "112"),
    ("112", {"provider": None}, "112"),
    ("112", {"whole": {"providers": [{"name": "carrier-a", "hostname": "192.0.2.1", "status": "blocked"}]}},
     "112"),
]  # fmt: skip


@pytest.mark.parametrize(("user", "setting", "called"), EMERGENCY)
def test_emergency_calls_need_nothing_but_a_known_source(
    judge: Judge, user: str, setting: dict[str, Any], called: str
) -> None:
    verdict = judge(user, **setting)
    assert verdict.reason is None
    assert verdict.emergency
    assert verdict.called == called
    assert [provider.name for provider in verdict.providers] == ["carrier-a"]
    assert verdict.trunk is not None
    assert names(verdict) == ["source", "number", "emergency"]


@pytest.mark.parametrize(
    ("user", "scheme"),
    [
        ("+112", "sip"),
        ("1120", "sip"),
        ("0112", "sip"),
        ("112112", "sip"),
        ("+44112", "sip"),
        ("service:sosx", "urn"),
        ("service:counseling", "urn"),
        ("service:sos.", "urn"),
        ("service:sos", "sip"),
        ("112", "http"),
        ("112+1876", "sip"),
    ],
)
def test_what_only_looks_like_an_emergency_call_is_judged(judge: Judge, user: str, scheme: str) -> None:
    verdict = judge(user, scheme=scheme)
    assert not verdict.emergency
    assert verdict.reason is not None


def test_emergency_calls_have_the_price_of_their_own_row_and_of_no_other(
    policy_of: PolicyOf, new_trunk: NewTrunk
) -> None:
    own = DeckRow("112", "Emergency", Decimal("0.10"), Decimal(0), 60, 60)
    india = DeckRow("+91", "India", Decimal("0.02"), Decimal(0), 1, 1)
    limited = {"rate_deck": "retail", "threshold_amount": "1.00", "max_destination_rate": "0.01"}
    compiled = policy_of(decks={"retail": (own, india)}, trunks=[new_trunk(**limited)])
    verdict = evaluate(compiled, CallAttempt("192.0.2.10", "udp", "sip", "112"))
    assert verdict.reason is None
    assert verdict.rate is not None
    assert (verdict.rate.cost(61_000), verdict.destination) == (200_000, "Emergency")
    other = evaluate(compiled, CallAttempt("192.0.2.10", "udp", "sip", "911"))
    assert (other.reason, other.emergency, other.rate, other.destination) == (None, True, None, None)


def test_emergency_providers_are_tried_in_order_the_blocked_ones_last(policy_of: PolicyOf) -> None:
    policy = policy_of(
        providers=[
            {"name": "carrier-a", "hostname": "192.0.2.1", "status": "blocked"},
            {"name": "carrier-b", "hostname": "192.0.2.2"},
            {"name": "carrier-c", "hostname": "192.0.2.3"},
        ],
        emergency={"numbers": ["112"], "providers": ["carrier-a", "carrier-c", "carrier-b"]},
    )
    verdict = evaluate(policy, CallAttempt("192.0.2.10", "udp", "sip", "112"))
    assert [provider.name for provider in verdict.providers] == ["carrier-c", "carrier-b", "carrier-a"]


@pytest.fixture
def prefixed(policy_of: PolicyOf, new_trunk: NewTrunk) -> Policy:
    """Three trunks behind one address, and one of a network inside it."""
    return policy_of(
        trunks=[
            new_trunk(name="plain", allowed_sip_ips=["198.51.100.0/24"]),
            new_trunk(name="short", allowed_sip_ips=["198.51.100.0/24"], tech_prefix="77"),
            new_trunk(name="long", allowed_sip_ips=["198.51.100.0/24"], tech_prefix="771#"),
            new_trunk(name="inner", allowed_sip_ips=["198.51.100.8/30"], tech_prefix="5#"),
            new_trunk(name="twin-a", allowed_sip_ips=["203.0.113.1"], tech_prefix="1#"),
            new_trunk(name="twin-b", allowed_sip_ips=["203.0.113.1"], tech_prefix="2#"),
        ]
    )


@pytest.mark.parametrize(
    ("source", "user", "trunk", "called"),
    [
        ("198.51.100.1", LONDON, "plain", LONDON),
        ("198.51.100.1", f"77{LONDON}", "short", LONDON),
        ("198.51.100.1", f"771#{LONDON}", "long", LONDON),
        ("198.51.100.1", f"771%23{LONDON}", "long", LONDON),
        ("198.51.100.1", f"+77{LONDON}", "plain", None),
        ("198.51.100.1", f"78{LONDON}", "plain", None),
        ("198.51.100.9", f"5#{LONDON}", "inner", LONDON),
        ("198.51.100.9", LONDON, "inner", None),  # the outer network's trunks are no candidates
        ("198.51.100.9", f"77{LONDON}", "inner", None),
        ("203.0.113.1", f"1#{LONDON}", "twin-a", LONDON),
        ("203.0.113.1", f"2#{LONDON}", "twin-b", LONDON),
        ("203.0.113.1", LONDON, None, None),
        ("203.0.113.1", "", None, None),
    ],
)
def test_trunks_behind_one_address_are_told_apart_by_tech_prefix(
    prefixed: Policy, source: str, user: str, trunk: str | None, called: str | None
) -> None:
    verdict = evaluate(prefixed, CallAttempt(source, "udp", "sip", user))
    assert (None if verdict.trunk is None else verdict.trunk.name) == trunk
    assert verdict.called == called
    assert verdict.reason is (None if called else ReasonCode.NUMBER)


@pytest.mark.parametrize(
    ("source", "user", "trunk"),
    [
        ("198.51.100.1", "112", "plain"),
        ("198.51.100.1", "77112", "short"),
        ("198.51.100.9", "112", "inner"),
        ("203.0.113.1", "112", "twin-a"),
        ("203.0.113.1", "2#112", "twin-b"),
    ],
)
def test_emergency_calls_find_a_trunk_with_or_without_tech_prefix(
    prefixed: Policy, source: str, user: str, trunk: str
) -> None:
    verdict = evaluate(prefixed, CallAttempt(source, "udp", "sip", user))
    assert verdict.emergency
    assert verdict.trunk is not None
    assert (verdict.trunk.name, verdict.called) == (trunk, "112")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    source=st.one_of(st.sampled_from(["198.51.100.1", "203.0.113.1", "198.51.100.9"]), st.text(max_size=20)),
    scheme=st.one_of(st.sampled_from(["sip", "sips", "tel", "urn"]), st.text(max_size=8)),
    user=st.one_of(st.text(max_size=40), st.text("0123456789+-.()%;=#phone-context", max_size=40)),
    params=st.lists(st.tuples(st.text(max_size=14), st.none() | st.text(max_size=9)), max_size=3).map(tuple),
)
def test_never_raises_and_admits_only_canonical_numbers(
    prefixed: Policy,
    source: str,
    scheme: str,
    user: str,
    params: tuple[tuple[str, str | None], ...],
) -> None:
    verdict = evaluate(prefixed, CallAttempt(source, "udp", scheme, user, params))
    assert verdict.checks
    assert all(len(check.detail) < 300 for check in verdict.checks)
    if verdict.reason is None and not verdict.emergency:
        assert verdict.called is not None
        assert verdict.called[1:].isdigit()
        assert verdict.country in ("US", "GB")


def test_strangers_leave_no_trace_in_the_policy(policy_of: PolicyOf) -> None:
    policy = policy_of()
    for number in range(100):
        evaluate(policy, CallAttempt(f"203.0.113.{number}", "udp", "sip", LONDON))
    assert policy._source_cache == {}


@pytest.mark.parametrize(
    ("margin", "selling", "reason"),
    [
        (None, "0.01", None),
        ("0", "0.02", None),
        ("0.01", "0.03", None),
        ("0.010000001", "0.03", ReasonCode.ROUTE),
        ("0", "0.019999999", ReasonCode.ROUTE),
    ],
)
def test_a_call_below_the_margin_has_no_route(
    policy_of: Callable[..., Policy], new_trunk: Callable[..., dict[str, Any]],
    margin: str | None, selling: str, reason: ReasonCode | None,
) -> None:  # fmt: skip
    policy = policy_of(
        decks={
            "retail": [DeckRow("+44", "", Decimal(selling))],
            "buying": [DeckRow("+44", "", Decimal("0.02"))],
        },
        rate_decks={"retail": {"file": "a.csv"}, "buying": {"file": "b.csv"}},
        providers=[{"name": "carrier-a", "hostname": "sip.carrier-a.example", "rate_deck": "buying"}],
        trunks=[new_trunk(rate_deck="retail", refuse_below_margin=margin)],
    )
    verdict = evaluate(policy, CallAttempt("192.0.2.10", "udp", "sip", LONDON))
    assert verdict.reason is reason
    assert verdict.buying is not None
    if reason is not None:
        assert verdict.checks[-1].name == "margin"


def test_a_margin_needs_to_know_what_the_provider_charges(
    policy_of: Callable[..., Policy], new_trunk: Callable[..., dict[str, Any]]
) -> None:
    policy = policy_of(
        decks={"retail": [DeckRow("+44", "", Decimal(1))], "buying": [DeckRow("+1", "", Decimal("0.02"))]},
        rate_decks={"retail": {"file": "a.csv"}, "buying": {"file": "b.csv"}},
        providers=[{"name": "carrier-a", "hostname": "sip.carrier-a.example", "rate_deck": "buying"}],
        trunks=[new_trunk(rate_deck="retail", refuse_below_margin="0")],
    )
    verdict = evaluate(policy, CallAttempt("192.0.2.10", "udp", "sip", LONDON))
    assert verdict.reason is ReasonCode.NO_RATE
