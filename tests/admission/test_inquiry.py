"""Calls that nobody makes: read by the proxy's own parser, judged by its policy, with the ledger's room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policy.compiled import Policy
from policy.evaluate import evaluate
from proxy.admission.inquiry import Unclear, add_headroom, attempt_from, inquire, judge
from proxy.ledger.redis_ledger import RedisLedger
from tests.admission.bench import UK, US, Bench, policy
from tests.call.playbook import invite

MakeBench = Callable[[Policy], Bench]

CONTRACT = [
    "decision", "reason", "sip_status", "sip_reason", "trunk", "provider", "called", "country", "destination",
    "rate", "request_uri", "checks", "headroom", "policy_version", "kinds",
]  # fmt: skip


@pytest.mark.parametrize(
    ("to", "scheme", "user"),
    [
        ("+442071838750", "sip", "+442071838750"),
        ("112", "sip", "112"),
        ("sip:+442071838750@pbx.example", "sip", "+442071838750"),
        ("SIP:+442071838750@pbx.example;user=phone", "sip", "+442071838750"),
        ("sips:7@pbx.example", "sips", "7"),
        ("tel:+44-20-7183-8750", "tel", "+44-20-7183-8750"),
        ("urn:service:sos.fire", "urn", "service:sos.fire"),
    ],
)
def test_number_or_uri(to: str, scheme: str, user: str) -> None:
    attempt = attempt_from("192.0.2.10", to, None, None)
    assert (attempt.source, attempt.transport, attempt.scheme, attempt.user) == (
        "192.0.2.10", "udp", scheme, user,
    )  # fmt: skip
    assert attempt.cli == "anonymous"


@pytest.mark.parametrize(
    ("given", "cli"), [("+15551230001", "+15551230001"), ("sip:alice@pbx", "alice"), ("tel:+1555", "+1555")]
)
def test_caller(given: str, cli: str) -> None:
    assert attempt_from("192.0.2.10", "112", given, None).cli == cli


def test_ipv6_source() -> None:
    assert attempt_from("2001:db8::1", "112", None, None).source == "2001:db8::1"


@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_whole_message_as_it_was_captured_or_edited(ends: str) -> None:
    text = invite("sip:+442071838750;npdi@127.0.0.1;user=phone").decode().replace("\r\n", ends)
    attempt = attempt_from("192.0.2.10", "ignored", None, text)
    assert (attempt.user, attempt.cli) == ("+442071838750;npdi", "+15551230001")


@pytest.mark.parametrize("end", ["", "\n"])
def test_whole_message_that_lost_its_empty_line(end: str) -> None:
    head = invite("sip:+442071838750@127.0.0.1").decode().partition("\r\n\r\n")[0]
    head = "\n".join(line for line in head.split("\r\n") if not line.startswith("Content-Length"))
    assert attempt_from("192.0.2.10", "ignored", None, head + end).user == "+442071838750"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"source": "nonsense"}, "`nonsense` is no IP address"),
        ({"source": "192.0.2.0/24"}, "no IP address"),
        ({"to": ""}, "is no number or URI"),
        ({"to": "1\r\nX-Forged: 2"}, "is no number or URI"),
        ({"to": "+44 20 7183"}, "is no number or URI"),
        ({"from_uri": "sip:a@b>;tag=x"}, "is no number or URI"),
        ({"to": "sip:a@b@c"}, "not a SIP message"),
        ({"to": "urn:isbn:1"}, "no call"),
        ({"message": ""}, "no INVITE|not a SIP message"),
        ({"message": "hello"}, "not a SIP message"),
        ({"message": "\udcff\udcfe"}, "not a SIP message"),
        ({"message": "SIP/2.0 200 OK\r\n\r\n"}, "no INVITE|not a SIP message"),
        ({"message": invite(method="BYE").decode()}, "no INVITE"),
        ({"message": invite(to_tag="x").decode()}, "belongs to a dialog"),
        ({"message": invite("mailto:a@b").decode()}, "no call"),
        (
            {"message": invite().decode().replace("Forwards: 70", "Forwards: 0")},
            "would see 483 Too Many Hops",
        ),
        ({"message": invite(extra="Proxy-Require: odd\r\n").decode()}, "would see 420 Bad Extension"),
    ],
)
def test_what_makes_no_sense_is_said(changes: dict[str, Any], complaint: str) -> None:
    asked = {"source": "192.0.2.10", "to": "112", "from_uri": None, "message": None, **changes}
    with pytest.raises(Unclear, match=complaint):
        attempt_from(**asked)


def test_session_interval_that_is_too_small_is_said_of_calls_that_would_be_told() -> None:
    compiled = policy()

    def reason(uri: str = UK, source: str = "127.0.0.2", seconds: int = 89) -> str | None:
        short = f"Supported: timer\r\nSession-Expires: {seconds}\r\n"
        _, fields = inquire(compiled, source, "", None, invite(uri, extra=short).decode())
        return fields["reason"]

    for uri in (UK, "sip:+33142685300@127.0.0.1"):
        with pytest.raises(Unclear, match="would see 422 Session Interval Too Small"):
            reason(uri)
    assert reason(seconds=90) is None
    assert reason("sip:112@127.0.0.1") is None
    assert reason(source="127.0.0.9") == "SOURCE"


def test_fields_are_those_of_the_contract() -> None:
    compiled = policy()
    attempt = attempt_from("127.0.0.2", "+442071838750", None, None)
    verdict, fields = judge(compiled, attempt)
    assert sorted(fields) == sorted(CONTRACT)
    assert verdict == evaluate(compiled, attempt)
    assert (fields["decision"], fields["headroom"], fields["rate"]) == ("admitted", None, "0.06")


def test_a_login_is_assumed_where_one_is_wanted() -> None:
    login = {"allowed_sip_ips": [], "auth": "digest", "username": "road", "ha1": "0" * 64}
    compiled = policy(trunk=login)

    def reason(user: str | None, to: str = UK) -> str | None:
        attempt = attempt_from("127.0.0.2", to, None, None)
        verdict, fields = judge(compiled, attempt, user)
        assert (fields["trunk"] is None) == (verdict.reason in ("AUTH", "SOURCE"))
        return fields["reason"]

    assert (reason(None), reason("road"), reason("road", "+33142685300")) == ("AUTH", None, "COUNTRY")
    assert (reason("nobody"), reason("")) == ("SOURCE", "SOURCE")


def test_credentials_that_nobody_asks_for_change_nothing() -> None:
    compiled = policy()
    for user in (None, "nobody"):
        _, fields = judge(compiled, attempt_from("127.0.0.2", UK, None, None), user)
        assert (fields["decision"], fields["trunk"]) == ("admitted", "office")


async def ask(compiled: Policy, ledger: RedisLedger, to: str, source: str = "127.0.0.2") -> dict[str, Any]:
    verdict, fields = judge(compiled, attempt_from(source, to, None, None))
    await add_headroom(compiled, fields, verdict, ledger)
    assert sorted(fields) == sorted(CONTRACT)
    return fields


async def test_room_that_is_left(bench: MakeBench) -> None:
    compiled = policy(
        trunk={"threshold_amount": "0.20", "account": "acme"},
        accounts=[{"name": "acme", "capacity_limit": 5}],
    )
    b = bench(compiled)
    await b.talk(UK)
    fields = await ask(compiled, b.ledger, "+442071838750")
    used = {"active_calls": 1, "spent_amount": "0.00", "reserved_amount": "0.06"}
    assert fields["headroom"] == [
        {"scope": "account:acme", "capacity_left": 4, "amount_left": None, **used},
        {"scope": "trunk:office", "capacity_left": None, "amount_left": "0.14", **used},
        {"scope": "provider:carrier", "capacity_left": None, "amount_left": None, **used},
    ]
    assert (fields["decision"], fields["sip_status"]) == ("admitted", None)
    assert fields["checks"][-1]["outcome"] == "pass"
    assert (await b.usage()).active_calls == 1  # asking reserves nothing


async def test_what_has_no_room_now_is_refused_as_the_proxy_would(bench: MakeBench) -> None:
    compiled = policy(trunk={"threshold_amount": "0.06", "capacity_limit": 2})
    b = bench(compiled)
    await b.talk(UK, 1)
    fields = await ask(compiled, b.ledger, "+442071838750")
    assert (fields["decision"], fields["reason"], fields["sip_status"], fields["sip_reason"]) == (
        "refused", "SPEND", 403, "Spend Limit Reached",
    )  # fmt: skip
    assert fields["checks"][-1] == {
        "name": "spend", "scope": "trunk:office", "outcome": "refuse",
        "detail": "0.06 of 0.06 spent or held, 0.001 more wanted",
    }  # fmt: skip
    assert (await ask(compiled, b.ledger, "+12025550123"))["decision"] == "admitted"  # free of charge
    await b.talk(US, 2)
    fields = await ask(compiled, b.ledger, "+442071838750")
    assert (fields["reason"], fields["checks"][-1]["detail"]) == ("CAPACITY", "2 of 2 calls are up")


async def test_ledger_adds_nothing_to_what_the_policy_decided(bench: MakeBench) -> None:
    compiled = policy(trunk={"capacity_limit": 0})
    b = bench(compiled)
    assert (await ask(compiled, b.ledger, "+33142685300"))["reason"] == "COUNTRY"
    assert (await ask(compiled, b.ledger, "112"))["decision"] == "admitted"
    stranger = await ask(compiled, b.ledger, "112", "127.0.0.99")
    assert (stranger["reason"], stranger["headroom"]) == ("SOURCE", [])
