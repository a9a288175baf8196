"""From a verdict to a decision: one decision and one record on every path, and nothing kept on any that
refuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from policy.compiled import Policy
from policy.reasons import ReasonCode
from proxy.admission.pipeline import WHITELIST_REJECTED, AdmissionPipeline
from proxy.ledger.redis_ledger import RedisLedger
from tests.admission.bench import UK, UK_MOBILE, US, Bench, policy
from tests.call.playbook import CARRIER, PBX, answer, invite
from tests.ledger.servers import Server, settled, until

MakeBench = Callable[[Policy], Bench]


def counts(bench: Bench) -> dict[tuple[str, str, str], int]:
    """Decisions by (trunk, decision, reason), those that happened."""
    samples = bench.metrics.snapshot()["samples"]["trunkwarden_admission_decisions_total"]
    return {(labels[0], labels[1], labels[2]): int(count) for labels, count in samples if count}


def decisions(bench: Bench) -> list[tuple[str | None, str, str | None, int | None]]:
    """What the records say, each of them once."""
    bench.records()
    return [(r["trunk"], r["decision"], r["reason"], r["sip_status"]) for r in bench.decisions]


async def place(bench: Bench, number: int = 1, uri: str = UK) -> ReasonCode | None:
    bench.receive(invite(uri, branch=f"z9hG4bK-{number}", call_id=f"call-{number}", tag=f"t{number}"))
    return await bench.admit()


async def test_admitted(bench: MakeBench) -> None:
    b = bench(policy(trunk={"threshold_amount": "1.00"}))
    assert await place(b) is None
    assert decisions(b) == [("office", "admitted", None, None)]
    assert counts(b) == {("office", "admitted", ""): 1}
    assert b.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]
    (call,) = await b.ledger.calls()
    assert (call.ref, call.trunk, call.hold) == ("ref1", "office", 60_000)
    assert b.decisions[0]["checks"][-1] == {
        "name": "ledger", "scope": "", "outcome": "pass", "detail": "reserved at all scopes",
    }  # fmt: skip


SCOPES: list[tuple[str, dict[str, Any]]] = [
    ("account:acme", {"accounts": [{"name": "acme", "capacity_limit": 1}], "trunk": {"account": "acme"}}),
    (
        "profile:p",
        {"profiles": [{"name": "p", "concurrent_call_limit": 1}], "trunk": {"profile": "p"}},
    ),
    ("trunk:office", {"trunk": {"capacity_limit": 1}}),
    ("provider:carrier", {"provider": {"capacity_limit": 1}}),
]


@pytest.mark.parametrize(("scope", "changes"), SCOPES)
async def test_every_scope_can_refuse_for_capacity(
    bench: MakeBench, scope: str, changes: dict[str, Any]
) -> None:
    b = bench(policy(**changes))
    assert await place(b, 1) is None
    assert await place(b, 2) is ReasonCode.CAPACITY
    assert decisions(b)[1] == ("office", "refused", "CAPACITY", 403)
    check = b.decisions[1]["checks"][-1]
    assert (check["name"], check["scope"], check["outcome"]) == ("capacity", scope, "refuse")
    refusal = b.last(PBX)
    assert refusal.status == 403
    assert refusal.first(b"reason") == b'Q.850;cause=34;text="Channel Limit Exceeded"'
    assert len(await b.ledger.calls()) == 1


@pytest.mark.parametrize(
    ("scope", "changes"),
    [
        (
            "account:acme",
            {"accounts": [{"name": "acme", "threshold_amount": "0.06"}], "trunk": {"account": "acme"}},
        ),
        (
            "profile:p",
            {
                "profiles": [{"name": "p", "daily_spend_limit": "0.06", "daily_spend_limit_enabled": True}],
                "trunk": {"profile": "p"},
            },
        ),
        ("trunk:office", {"trunk": {"threshold_amount": "0.06"}}),
    ],
)
async def test_every_scope_can_refuse_for_money(
    bench: MakeBench, scope: str, changes: dict[str, Any]
) -> None:
    b = bench(policy(**changes))
    assert await place(b, 1) is None
    assert await place(b, 2) is ReasonCode.SPEND
    assert decisions(b)[1] == ("office", "refused", "SPEND", 403)
    assert b.decisions[1]["checks"][-1]["scope"] == scope
    usage = await b.usage()
    assert (usage.active_calls, usage.reserved) == (1, 60_000)


async def test_calls_per_second(bench: MakeBench) -> None:
    b = bench(policy(trunk={"cps_limit": 2}))
    assert [await place(b, number) for number in range(4)] == [None, None, *2 * [ReasonCode.CPS]]
    assert b.last(PBX).status == 503
    assert b.last(PBX).first(b"retry-after") == b"1"
    assert counts(b) == {("office", "admitted", ""): 2, ("office", "refused", "CPS"): 2}


async def test_policy_refusal_is_recorded_once(bench: MakeBench) -> None:
    b = bench(policy())
    b.receive(invite("sip:+33142685300@127.0.0.1"))
    b.receive(invite("sip:+33142685300@127.0.0.1"))  # a retransmission
    assert decisions(b) == [("office", "refused", "COUNTRY", 403)]
    assert counts(b) == {("office", "refused", "COUNTRY"): 1}
    (tally,) = b.metrics.happenings.take()["tallies"]
    assert (tally["event"], tally["trunk"], tally["count"]) == (WHITELIST_REJECTED, "office", 1)
    assert tally["last"]["country"] not in ("GB", "US")
    assert tally["last"]["call_id"] == "call-1"
    assert await b.ledger.calls() == []


async def test_number_that_belongs_to_no_trunk_is_recorded_without_one(bench: MakeBench) -> None:
    shop = {
        "name": "shop", "provider": "carrier", "allowed_sip_ips": ["127.0.0.2"], "tech_prefix": "77",
        "destination_whitelist": ["gb"],
    }  # fmt: skip
    b = bench(policy(trunk={"tech_prefix": "88"}, more_trunks=[shop]))
    b.receive(invite("sip:+442071838750@127.0.0.1"))
    assert decisions(b) == [(None, "refused", "NUMBER", 484)]
    assert counts(b) == {("", "refused", "NUMBER"): 1}


async def test_provider_without_an_address_is_refused_before_anything_is_reserved(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(policy())
    monkeypatch.setattr(b.core, "routes", lambda _: ())
    for uri in (UK, "sip:112@127.0.0.1"):
        b.receive(invite(uri, branch=f"z9hG4bK-{uri[-3:]}{uri[4:8]}", call_id=uri[4:8]))
        assert b.last(PBX).status == 404
        assert b.last(PBX).first(b"warning") == b'399 trunkwarden "ROUTE No Route"'
    assert b.take() == ["pbx <- 404 (INVITE)"] * 2
    assert decisions(b) == [("office", "refused", "ROUTE", 404)] * 2
    assert b.decisions[0]["checks"][-1]["outcome"] == "refuse"
    assert (b.pending, b.calls, b.accounting.live) == ([], [], {})
    assert await b.ledger.calls() == []


async def test_provider_that_loses_its_address_while_the_call_is_judged(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(policy())
    b.receive(invite(UK))
    monkeypatch.setattr(b.core, "routes", lambda _: ())
    assert await b.admit() is None
    assert b.last(PBX).status == 404
    await settled(b.ledger)
    assert await b.ledger.calls() == []
    assert decisions(b) == [("office", "admitted", None, None)]
    assert b.calls[0]["sip_status"] == 404


async def test_cancelled_while_it_is_judged(bench: MakeBench) -> None:
    b = bench(policy(trunk={"threshold_amount": "1.00"}))
    b.receive(invite(UK))
    b.receive(invite(UK, method="CANCEL"))
    assert await b.admit() is None
    assert b.take() == ["pbx <- 100 (INVITE)", "pbx <- 200 (CANCEL)", "pbx <- 487 (INVITE)"]
    await settled(b.ledger)
    usage = await b.usage()
    assert (usage.active_calls, usage.reserved) == (0, 0)
    assert decisions(b) == [("office", "admitted", None, None)]
    (call,) = b.calls
    assert (call["sip_status"], call["cost"], call["ended_by"]) == (487, "0.00", "caller")


async def test_cancelled_while_it_is_judged_and_then_refused(bench: MakeBench) -> None:
    b = bench(policy(trunk={"capacity_limit": 0}))
    b.receive(invite(UK))
    b.receive(invite(UK, method="CANCEL"))
    assert await b.admit() is ReasonCode.CAPACITY
    assert b.take()[-1] == "pbx <- 487 (INVITE)"
    assert decisions(b) == [("office", "refused", "CAPACITY", 487)]  # what the caller was told


async def test_emergency_call_waits_for_nobody(own_server: Server, frail_ledger: RedisLedger) -> None:
    own_server.kill()
    await until(lambda: not frail_ledger.connected)
    b = Bench(frail_ledger, policy(trunk={"status": "blocked", "capacity_limit": 0}))
    b.core.gate = ReasonCode.DRAINING
    b.receive(invite("sip:112@127.0.0.1"))
    assert b.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]
    assert decisions(b) == [("office", "admitted", None, None)]
    assert counts(b) == {("office", "admitted", ""): 1}
    assert b.metrics.calls_active == {"office": 1}


# --- the ledger away ---


async def test_ledger_away_refuses(own_server: Server, frail_ledger: RedisLedger) -> None:
    b = Bench(frail_ledger, policy())
    own_server.kill()
    await until(lambda: not frail_ledger.connected)
    assert await place(b) is ReasonCode.LEDGER
    refusal = b.last(PBX)
    assert (refusal.status, refusal.first(b"retry-after")) == (503, b"2")
    assert decisions(b) == [("office", "refused", "LEDGER", 503)]
    assert frail_ledger.waiting == 0  # nothing was sent, so there is nothing to give back


async def test_no_answer_in_time_means_unknown_and_gives_back(
    own_server: Server, hasty_ledger: RedisLedger
) -> None:
    b = Bench(hasty_ledger, policy(trunk={"capacity_limit": 1, "threshold_amount": "1.00"}))
    assert own_server.process is not None
    os.kill(own_server.process.pid, signal.SIGSTOP)
    assert await place(b) is ReasonCode.LEDGER
    assert b.decisions == []
    assert decisions(b) == [("office", "refused", "LEDGER", 503)]
    assert hasty_ledger.waiting == 1
    os.kill(own_server.process.pid, signal.SIGCONT)  # now it does what it was asked
    await until(lambda: hasty_ledger.connected)
    await settled(hasty_ledger)
    usage = await b.usage()
    assert (usage.active_calls, usage.reserved) == (0, 0)
    assert await place(b, 2) is None


async def test_local_capacity_is_exact(own_server: Server, frail_ledger: RedisLedger) -> None:
    b = Bench(frail_ledger, policy(trunk={"on_ledger_unavailable": "admit", "local_capacity_limit": 3}))
    own_server.kill()
    await until(lambda: not frail_ledger.connected)
    assert [await place(b, number) for number in range(5)] == [None, None, None, *2 * [ReasonCode.LEDGER]]
    b.receive(invite("sip:112@127.0.0.1", branch="z9hG4bK-112", call_id="sos"))
    assert b.accounting.uncounted == {"office": 3}  # an emergency call takes no place
    newest = [message for to, message, _ in b.sent if to == CARRIER][2]
    b.receive(answer(newest, 486, "Busy Here"), CARRIER)
    assert await place(b, 9) is None
    assert await place(b, 10) is ReasonCode.LEDGER
    assert counts(b) == {("office", "admitted", ""): 5, ("office", "refused", "LEDGER"): 3}


async def test_local_capacity_holds_when_all_are_judged_at_once(
    own_server: Server, hasty_ledger: RedisLedger
) -> None:
    b = Bench(hasty_ledger, policy(trunk={"on_ledger_unavailable": "admit", "local_capacity_limit": 3}))
    assert own_server.process is not None
    os.kill(own_server.process.pid, signal.SIGSTOP)
    for number in range(20):
        b.receive(invite(UK, branch=f"z9hG4bK-{number}", call_id=f"call-{number}", tag=f"t{number}"))
    outcomes = []
    for session in b.pending:
        b.pipeline.reserve(session, lambda _, reason: outcomes.append(reason))
    await until(lambda: len(outcomes) == 20)
    assert outcomes.count(None) == 3
    assert outcomes.count(ReasonCode.LEDGER) == 17
    os.kill(own_server.process.pid, signal.SIGCONT)
    await until(lambda: hasty_ledger.connected)
    await settled(hasty_ledger)
    await b.run(1.1)
    assert b.accounting.uncounted == {"office": 0}  # told when the ledger was back
    assert (await b.usage()).active_calls == 3


async def test_capacity_is_exact_when_all_are_judged_at_once(bench: MakeBench) -> None:
    b = bench(policy(trunk={"capacity_limit": 7}))
    for number in range(50):
        b.receive(invite(UK, branch=f"z9hG4bK-{number}", call_id=f"call-{number}", tag=f"t{number}"))
    outcomes = []
    for session in b.pending:
        b.pipeline.reserve(session, lambda _, reason: outcomes.append(reason))
    await until(lambda: len(outcomes) == 50)
    assert outcomes.count(None) == 7
    assert len(b.accounting.live) == 7


# --- defects ---


@pytest.mark.parametrize("mode", ["reject", "admit"])
async def test_amount_that_no_ledger_can_keep_is_refused(bench: MakeBench, mode: str) -> None:
    b = bench(
        policy(
            trunk={"reserve_seconds": 3600, "on_ledger_unavailable": mode, "local_capacity_limit": 5},
            rate_decks={"retail": {"file": "x", "currency": "EUR"}},
            exchange_rates={"EUR": "999999999"},
        )
    )
    assert await place(b, 1, UK_MOBILE) is ReasonCode.LEDGER
    assert decisions(b) == [("office", "refused", "LEDGER", 503)]
    assert "cannot be kept" in b.decisions[0]["checks"][-1]["detail"]
    assert b.ledger.connected
    assert b.accounting.live == {}


async def test_defect_in_a_decision_refuses_the_call_and_keeps_nothing(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(policy())
    decided = AdmissionPipeline._decided
    broken = iter([True])

    def fails_once(*arguments: Any) -> None:
        if next(broken, False):
            raise RuntimeError("a defect")
        decided(*arguments)

    monkeypatch.setattr(AdmissionPipeline, "_decided", fails_once)
    assert await place(b, 1, US) is ReasonCode.LEDGER
    assert "could not be decided" in caplog.text
    assert b.last(PBX).status == 503
    assert b.accounting.live == {}
    await settled(b.ledger)
    assert (await b.usage()).active_calls == 0
    assert b.ledger.connected
    assert await place(b, 2, US) is None


async def test_time_from_invite_to_decision(bench: MakeBench) -> None:
    b = bench(policy())
    b.receive(invite(UK))
    b.now += 0.25
    await b.admit()
    assert b.metrics.admission_seconds.total == pytest.approx(0.25)
