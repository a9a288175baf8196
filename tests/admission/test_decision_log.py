"""The records: every field of the contract, on one line whatever the peers wrote."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from policy.compiled import Policy
from policy.reasons import ReasonCode
from policy.verdict import Check
from proxy.admission.decision_log import DecisionLog
from tests.admission.bench import T0, UK, UK_MOBILE, Bench, policy
from tests.call.playbook import CARRIER, answer, in_dialog, invite

MakeBench = Callable[[Policy], Bench]

FIELDS = {
    *(
        "record",
        "call_id",
        "ref",
        "trunk",
        "account",
        "profile",
        "provider",
        "source",
        "transport",
        "cli",
        "cli_sent",
    ),
    *("dialled", "called", "country", "destination", "decision", "reason", "checks", "policy_version"),
    *("decided_at", "answered_at", "ended_at", "duration_ms", "billed_seconds", "rate", "cost", "currency"),
    *("sip_status", "ended_by"),
}


async def test_decision_and_call_have_all_fields(bench: MakeBench) -> None:
    b = bench(
        policy(
            accounts=[{"name": "acme"}],
            profiles=[{"name": "p"}],
            trunk={"account": "acme", "profile": "p", "threshold_amount": "5.00"},
        )
    )
    call = await b.talk(UK_MOBILE)
    await b.run(75.25, step=0.25)
    b.bye(call)
    b.records()
    (decision,), (ended,) = b.decisions, b.calls
    assert set(decision) == set(ended) == FIELDS
    same = {
        "call_id": "call-1", "ref": "ref1", "trunk": "office", "account": "acme", "profile": "p",
        "provider": "carrier", "source": "127.0.0.2", "transport": "udp", "cli": "+15551230001",
        "dialled": "+447400123456", "called": "+447400123456", "country": "GB",
        "destination": "United Kingdom mobile", "decision": "admitted", "reason": None,
        "policy_version": "v1", "decided_at": "2026-01-01T00:00:00.000Z", "rate": "0.6", "currency": "USD",
    }  # fmt: skip
    assert {name: decision[name] for name in same} == same
    assert {name: ended[name] for name in same} == same
    assert decision["checks"] == ended["checks"]
    assert [check["name"] for check in decision["checks"]][:2] == ["source", "number"]
    assert all(set(check) == {"name", "scope", "outcome", "detail"} for check in decision["checks"])
    later = ("answered_at", "ended_at", "duration_ms", "billed_seconds", "cost", "sip_status", "ended_by")
    assert (decision["record"], [decision[name] for name in later]) == ("decision", [None] * 7)
    assert (ended["record"], [ended[name] for name in later]) == (
        "call",
        ["2026-01-01T00:00:00.000Z", "2026-01-01T00:01:15.250Z", 75_250, 120, "1.25", 200, "caller"],
    )


async def test_record_of_a_refusal(bench: MakeBench) -> None:
    b = bench(policy())
    b.receive(invite("sip:+33142685300@127.0.0.1"))
    b.records()
    (decision,) = b.decisions
    assert set(decision) == FIELDS
    assert (decision["decision"], decision["reason"], decision["sip_status"]) == ("refused", "COUNTRY", 403)
    assert (decision["provider"], decision["country"], decision["cost"]) == (None, "FR", None)
    assert decision["checks"][-1]["outcome"] == "refuse"
    assert b.calls == []


async def test_unanswered_call_lasted_and_cost_nothing(bench: MakeBench) -> None:
    b = bench(policy())
    await b.ring(UK)
    await b.run(2)
    b.receive(answer(b.last(CARRIER), 486, "Busy Here"), CARRIER)
    b.records()
    (ended,) = b.calls
    assert (ended["answered_at"], ended["ended_at"]) == (None, "2026-01-01T00:00:02.000Z")
    assert (ended["duration_ms"], ended["billed_seconds"], ended["cost"]) == (0, 0, "0.00")
    assert (ended["sip_status"], ended["ended_by"]) == (486, "provider")


async def test_what_the_provider_charges(bench: MakeBench) -> None:
    """Only where its deck knows it; with its own increments."""
    b = bench(policy(provider={"rate_deck": "retail"}))
    call = await b.talk(UK)
    await b.run(10.5)
    b.bye(call)
    b.records()
    (ended,) = b.calls
    assert ended["provider_cost"] == "0.011"
    assert set(ended) == FIELDS | {"provider_cost"}


async def test_unanswered_call_costs_nothing_at_the_provider(bench: MakeBench) -> None:
    b = bench(policy(provider={"rate_deck": "retail"}))
    await b.ring(UK)
    b.receive(answer(b.last(CARRIER), 486, "Busy Here"), CARRIER)
    b.records()
    assert b.calls[0]["provider_cost"] == "0.00"


async def test_call_lasts_until_its_bye_came_not_until_that_was_answered(bench: MakeBench) -> None:
    b = bench(policy())
    call = await b.talk(UK)
    await b.run(10)
    b.receive(in_dialog("BYE", b.oks[call.ref], cseq=2))
    await b.run(3)
    b.receive(answer(b.last(CARRIER), 200), CARRIER)
    b.records()
    (ended,) = b.calls
    assert (ended["duration_ms"], ended["ended_at"]) == (10_000, "2026-01-01T00:00:10.000Z")


async def test_each_decision_and_each_call_is_told_once(bench: MakeBench) -> None:
    b = bench(policy())
    call = await b.talk(UK)
    b.bye(call)
    b.log.ended(call, 5, b.wall(), b.now)
    b.records()
    b.records()
    assert (len(b.decisions), len(b.calls)) == (1, 1)


NASTY = [
    ('"quoted" \\ backslash', "quotes"),
    ("esc\x1b[31mred", "ANSI"),
    ("del\x7f", "DEL"),
    ("nul\x00", "NUL"),
    ("latin \xe9 \xff", "not UTF-8"),
    ("line\u2028separator", "line separator"),
    ("high \U0001f600 \ud800", "surrogates"),
    ("cr\rlf\n{}", "line ends"),
]


@pytest.mark.parametrize("text", [text for text, _ in NASTY], ids=[name for _, name in NASTY])
async def test_whatever_the_peers_wrote_stays_on_one_printable_line(bench: MakeBench, text: str) -> None:
    b = bench(policy())
    session = await b.ring(UK)
    session.attempt.cli = session.attempt.user = text
    session.request.call_id = text.encode("utf-8", "surrogatepass")
    session.verdict.checks.append(Check("number", text, "pass", text))
    b.log.decided(session, text, None, (Check("ledger", "", "pass", text),), T0, None)
    b.log.ended(session, 0, T0, b.now)
    b.records()
    for line in b.lines:
        assert all(0x20 <= byte <= 0x7E for byte in line)
    record = b.decisions[-1]
    assert (record["cli"], record["dialled"], record["policy_version"]) == (text, text, text)
    assert record["checks"][-1]["detail"] == text
    assert record["call_id"].encode("latin-1") == text.encode("utf-8", "surrogatepass")
    assert b.calls[-1]["cli"] == text


async def test_call_id_may_hold_quotes_and_backslashes(bench: MakeBench) -> None:
    b = bench(policy())
    b.receive(invite(UK, call_id='a"b\\c<>{}@[::1]'))
    await b.admit()
    b.records()
    assert b.decisions[0]["call_id"] == 'a"b\\c<>{}@[::1]'
    (live,) = await b.ledger.calls()
    assert json.loads(live.record)["call_id"] == 'a"b\\c<>{}@[::1]'


def test_lines_wait_for_the_flush_and_reach_every_sink() -> None:
    log = DecisionLog("EUR")
    seen: list[tuple[str, str, list[bytes]]] = []
    log.sinks += [lambda *found: seen.append(("one", *found)), lambda *found: seen.append(("two", *found))]
    log.flush()
    assert seen == []
    log._calls.append(b"{}")
    log._decisions.append(b"[]")
    log.flush()
    log.flush()
    assert seen == [
        ("one", "decisions", [b"[]"]),
        ("two", "decisions", [b"[]"]),
        ("one", "calls", [b"{}"]),
        ("two", "calls", [b"{}"]),
    ]


async def test_remembered_checks_do_not_grow_without_bound(bench: MakeBench) -> None:
    b = bench(policy())
    session = await b.ring(UK)
    for number in range(5000):
        b.log.decided(session, "v", None, (Check("number", "", "pass", str(number)),), T0, None)
    assert len(b.log._checks) <= 4096
    b.records()
    assert json.loads(b.lines[-1])["checks"][-1]["detail"] == "4999"


async def test_reason_and_status_of_the_ledger(bench: MakeBench) -> None:
    b = bench(policy(trunk={"capacity_limit": 0}, refusals={"CAPACITY": "486"}))
    b.receive(invite(UK))
    assert await b.admit() is ReasonCode.CAPACITY
    b.records()
    assert (b.decisions[0]["reason"], b.decisions[0]["sip_status"]) == ("CAPACITY", 486)
