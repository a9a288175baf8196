"""Blocks, leases, and the end of the money: real calls on a real ledger, time as an argument."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from policy.compiled import Policy
from policy.reasons import ReasonCode
from proxy.admission.account import LEAD_SECONDS
from proxy.call.session import CallSession
from proxy.ledger.ledger import Adopted, Claim, LedgerUnavailable, Renewal, Renewed
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from proxy.observe.clock import utc_now
from tests.admission.bench import SECOND, UK, UK_MOBILE, US, Bench, policy
from tests.call.playbook import CARRIER, PBX, answer, in_dialog, invite
from tests.ledger.servers import Server, settled, until

MakeBench = Callable[[Policy], Bench]


def money(threshold: str, **changes: Any) -> Policy:
    """A trunk with a spend threshold."""
    return policy(trunk={"threshold_amount": threshold, **changes})


class Watched:
    """Looks over the ledger's shoulder: which renewals were asked for, with what outcome."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.renewals: list[tuple[float, Renewal, str]] = []
        renew = bench.ledger.renew

        async def watched(asked: list[Renewal]) -> list[str]:
            outcomes = await renew(asked)
            self.renewals += [(bench.now, one, what) for one, what in zip(asked, outcomes, strict=True)]
            return outcomes

        monkeypatch.setattr(bench.ledger, "renew", watched)


# --- the first block ---


async def test_call_holds_its_first_block_and_pays_what_it_used(bench: MakeBench) -> None:
    b = bench(money("1.00"))
    call = await b.talk(UK)
    assert (await b.usage()).reserved == 60 * SECOND
    await b.run(20.4)
    b.bye(call)
    usage = await b.usage()
    assert b.costs == [21 * SECOND]
    assert (usage.active_calls, usage.reserved, usage.spent) == (0, 0, 21 * SECOND)
    assert b.accounting.live == {}


async def test_call_that_is_never_answered_gives_all_back(bench: MakeBench) -> None:
    b = bench(money("1.00"))
    await b.ring(UK)
    b.receive(answer(b.last(CARRIER), 486, "Busy Here"), CARRIER)
    usage = await b.usage()
    assert (b.costs, usage.active_calls, usage.reserved, usage.spent) == ([0], 0, 0, 0)


# --- renewals ---


async def test_lease_is_renewed_three_times_a_lease_and_not_more(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(policy(trunk={"reserve_seconds": 3600}))
    seen = Watched(b, monkeypatch)
    call = await b.ring(US)
    await b.run(25)
    b.receive(answer(b.last(CARRIER), 200), CARRIER)
    await b.run(34)
    times = [round(at - 1000, 1) for at, _, _ in seen.renewals]
    assert times == pytest.approx([10, 20, 30, 40, 50], abs=0.6)
    assert {outcome for *_, outcome in seen.renewals} == {Renewed.GRANTED}
    assert call.ref in b.accounting.live


async def test_next_block_is_asked_for_ahead_of_the_end(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(money("1.00"))
    seen = Watched(b, monkeypatch)
    await b.talk(UK)
    await b.run(49)
    assert (await b.usage()).spent + (await b.usage()).reserved == 60 * SECOND
    await b.run(1.2)
    larger = next((at, one) for at, one, _ in seen.renewals if one.spent + one.hold > 60 * SECOND)
    assert larger[0] - 1000 == pytest.approx(60 - LEAD_SECONDS, abs=0.15)
    usage = await b.usage()
    assert usage.spent + usage.reserved == 120 * SECOND
    assert 50 * SECOND <= usage.spent <= 51 * SECOND  # cost lands while it is incurred, not at the end


async def test_short_blocks_are_asked_for_at_half_time(bench: MakeBench) -> None:
    b = bench(money("1.00", reserve_seconds=2))
    await b.talk(UK)
    await b.run(30)
    usage = await b.usage()
    assert b.hung_up == []
    assert 30 * SECOND <= usage.spent + usage.reserved <= 34 * SECOND


async def test_call_without_a_price_lives_on_its_lease_alone(bench: MakeBench) -> None:
    b = bench(policy(trunk={"rate_deck": None}))
    call = await b.talk(UK)
    await b.run(300, step=0.5)
    assert b.hung_up == []
    assert call.ref in b.accounting.live
    b.bye(call)
    assert b.costs == [0]


# --- the end of the money ---


async def test_call_ends_when_the_money_does_and_never_costs_more(bench: MakeBench) -> None:
    b = bench(money("0.10"))  # 100 seconds; a second block of 60 does not fit
    call = await b.talk(UK)
    for _ in range(990):
        await b.run(0.1)
        usage = await b.usage()
        assert usage.spent + usage.reserved <= 100 * SECOND
    assert b.hung_up == []  # at 99 s it still talks
    await b.run(1.2)
    (at, reason), *more = b.hung_up
    assert more == []
    assert reason is ReasonCode.SPEND
    assert at - 1000 == pytest.approx(100, abs=0.2)
    b.answer_bye()
    assert b.costs == [100 * SECOND]
    usage = await b.usage()
    assert (usage.spent, usage.reserved, usage.active_calls) == (100 * SECOND, 0, 0)
    b.records()
    record = b.calls[0]
    assert (record["cost"], record["billed_seconds"], record["duration_ms"]) == ("0.10", 100, 100_000)
    assert call.ended_by == "proxy"


async def test_both_sides_are_told_when_the_money_ends(bench: MakeBench) -> None:
    b = bench(money("0.06"))
    await b.talk(UK)
    b.take()
    await b.run(61)
    assert set(b.take()) == {"carrier <- BYE", "pbx <- BYE"}


async def test_a_call_begins_with_one_increment_where_a_block_does_not_fit(bench: MakeBench) -> None:
    b = bench(money("0.10"))
    await b.talk(UK, 1)  # holds 60 of the 100 seconds
    await b.talk(UK, 2)
    assert (await b.usage()).reserved == 61 * SECOND
    for _ in range(800):
        await b.run(0.1)
        usage = await b.usage()
        assert usage.spent + usage.reserved <= 100 * SECOND
    assert {reason for _, reason in b.hung_up} == {ReasonCode.SPEND}
    assert len(b.hung_up) == 2
    b.answer_bye()
    # All that there was is used, and no more: neither held what the other could have had.
    assert sum(b.costs) == 100 * SECOND
    b.receive(invite(UK, branch="z9hG4bK-9", call_id="call-9"))
    assert await b.admit() is ReasonCode.SPEND


async def test_minute_steps_end_at_whole_minutes(bench: MakeBench) -> None:
    b = bench(money("1.30"))  # connect fee 0.05, then 0.60 a minute: two minutes cost 1.25
    await b.talk(UK_MOBILE)
    await b.run(125)
    assert [(round(at - 1000), reason) for at, reason in b.hung_up] == [(120, ReasonCode.SPEND)]
    b.answer_bye()
    assert b.costs == [1_250_000]


async def test_money_that_comes_free_meanwhile_carries_a_call_on(bench: MakeBench) -> None:
    b = bench(money("0.13"))
    first = await b.talk(UK, 1)
    second = await b.talk(UK, 2)
    await b.run(55)  # 120 of 130 seconds are held: only the smallest blocks are left to both
    b.bye(first)  # returns what it did not use
    await b.run(15)
    assert b.hung_up == []
    usage = await b.usage()
    assert usage.spent + usage.reserved <= 130 * SECOND
    assert second.ref in b.accounting.live
    await b.run(10)
    assert [reason for _, reason in b.hung_up] == [ReasonCode.SPEND]
    at = b.hung_up[0][0] - 1000
    assert at == pytest.approx(130 - 55, abs=0.3)  # to the last second that the money pays


async def test_the_threshold_is_reached_in_mid_call_while_others_ring(bench: MakeBench) -> None:
    """C18: those that ring keep the block that they hold, and no more: each is cut off when its own is up."""
    b = bench(money("0.19"))
    await b.talk(UK, 1)
    await b.ring(UK, 2)
    late = answer(b.last(CARRIER), 200, tag="uas2")
    await b.ring(UK, 3)
    given_up = answer(b.last(CARRIER), 486, "Busy Here", tag="uas3")
    usage = await b.usage()
    assert (usage.active_calls, usage.reserved) == (3, 180 * SECOND)

    async def run(seconds: float) -> None:
        for _ in range(round(seconds * 5)):
            await b.run(0.2)
            usage = await b.usage()
            assert usage.spent + usage.reserved <= 190 * SECOND

    await run(69)
    assert b.hung_up == []
    await run(2)  # ten seconds were left beyond what the others hold
    assert [(round(at - 1000), reason) for at, reason in b.hung_up] == [(70, ReasonCode.SPEND)]
    b.answer_bye()
    b.receive(invite(UK, branch="z9hG4bK-4", call_id="call-4"))
    assert await b.admit() is ReasonCode.SPEND
    b.receive(given_up, CARRIER)  # what it held is free, and carries the other on
    b.receive(late, CARRIER)
    b.receive(in_dialog("ACK", b.last(PBX), cseq=1, branch="z9hG4bK-late"))
    began = b.now
    await run(119)
    assert len(b.hung_up) == 1
    await run(2)
    assert [round(at - began) for at, _ in b.hung_up[1:]] == [120]
    b.answer_bye()
    usage = await b.usage()
    assert (usage.active_calls, usage.spent, usage.reserved) == (0, 190 * SECOND, 0)


@pytest.mark.parametrize("later", [money("0.01"), money("1.00", status="blocked")])
async def test_a_call_that_rings_when_the_limit_falls_ends_with_its_first_block(
    bench: MakeBench, later: Policy
) -> None:
    """C18, and blocking: what rings was admitted; answered later, it has what it holds."""
    b = bench(money("1.00"))
    await b.ring(UK)
    late = answer(b.last(CARRIER), 200, tag="uas1")
    await b.run(5)
    b.store.replace(later)
    await b.run(15)
    assert b.hung_up == []
    b.receive(late, CARRIER)
    b.receive(in_dialog("ACK", b.last(PBX), cseq=1, branch="z9hG4bK-late"))
    answered = b.now
    await b.run(62)
    assert [round(at - answered) for at, _ in b.hung_up] == [60]
    b.answer_bye()
    assert b.costs == [60 * SECOND]


async def test_hang_up_by_the_caller_just_after_the_paid_time_costs_the_paid_time(bench: MakeBench) -> None:
    b = bench(money("0.65"))
    call = await b.talk(UK_MOBILE)
    await b.run(59.95, step=0.05)
    b.pass_time(0.09)  # the end of the block, before anybody looked
    b.bye(call)
    assert b.costs == [650_000]
    usage = await b.usage()
    assert (usage.spent, usage.reserved) == (650_000, 0)


async def test_finish_lets_live_calls_run_and_charges_them(bench: MakeBench) -> None:
    b = bench(money("0.08", on_threshold="finish"))
    call = await b.talk(UK)
    await b.run(150)
    assert b.hung_up == []
    usage = await b.usage()
    assert usage.spent >= 148 * SECOND  # cost lands while it is incurred, also beyond the threshold
    b.receive(invite(UK, branch="z9hG4bK-9", call_id="call-9"))
    assert await b.admit() is ReasonCode.SPEND
    b.bye(call)
    assert b.costs == [150 * SECOND]
    assert (await b.usage()).spent == 150 * SECOND


async def test_finish_turned_into_cut_off_ends_the_call_and_charges_what_it_used(bench: MakeBench) -> None:
    b = bench(money("0.08", on_threshold="finish"))
    await b.talk(UK)
    await b.run(100)
    b.store.replace(money("0.08"))
    await b.run(2)
    assert [reason for _, reason in b.hung_up] == [ReasonCode.SPEND]
    b.answer_bye()
    assert b.costs[0] == pytest.approx(101 * SECOND, abs=1.2 * SECOND)


# --- a far end that refuses the BYE ---


async def test_call_that_survives_its_hang_up_is_charged_renewed_and_hung_up_again(bench: MakeBench) -> None:
    b = bench(money("0.06"))
    call = await b.talk(UK)
    await b.run(60.2)
    assert len(b.hung_up) == 1
    b.answer_bye(500)
    assert call.ref in b.accounting.live
    assert (await b.usage()).active_calls == 1
    await b.run(50)
    assert len(b.hung_up) > 1
    b.answer_bye()
    # For charging it ended when the BYE was sent that was accepted.
    last = b.hung_up[-1][0] - 1000
    assert last > 60.5
    assert b.costs == [pytest.approx(last * SECOND, abs=1.2 * SECOND)]
    assert (await b.usage()).active_calls == 0


async def test_lease_is_kept_while_the_hang_up_is_not_answered(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(money("0.06"))
    await b.talk(UK)
    await b.run(60.5)
    seen = Watched(b, monkeypatch)
    await b.run(31)  # Timer F fires after 32 s
    assert len(b.hung_up) == 1
    assert {outcome for *_, outcome in seen.renewals} == {Renewed.GRANTED}
    assert len(seen.renewals) >= 3
    assert b.accounting.live
    await b.run(2)
    assert b.accounting.live == {}
    assert b.costs == [60 * SECOND]


# --- reload ---


async def test_blocked_trunk_stops_what_it_has_running_at_the_end_of_the_paid_block(bench: MakeBench) -> None:
    b = bench(money("1.00"))
    await b.talk(UK)
    await b.run(20)
    b.store.replace(money("1.00", status="blocked"))
    await b.run(39.5)
    assert b.hung_up == []
    await b.run(1)
    assert [(round(at - 1000), reason) for at, reason in b.hung_up] == [(60, ReasonCode.DISABLED)]
    b.answer_bye()
    assert b.costs == [60 * SECOND]
    usage = await b.usage()
    assert (usage.spent, usage.reserved) == (60 * SECOND, 0)


async def test_trunk_that_is_gone_stops_like_a_blocked_one(bench: MakeBench) -> None:
    b = bench(policy(trunk={"rate_deck": None}))
    await b.talk(UK)
    other = {"name": "other", "allowed_sip_ips": ["127.0.0.4"], "rate_deck": None}
    b.store.replace(policy(trunk=other))
    await b.run(61)
    assert [reason for _, reason in b.hung_up] == [ReasonCode.DISABLED]


async def test_trunk_unblocked_in_time_carries_on(bench: MakeBench) -> None:
    b = bench(money("1.00"))
    await b.talk(UK)
    b.store.replace(money("1.00", status="blocked"))
    await b.run(55)
    b.store.replace(money("1.00"))
    await b.run(30)
    assert b.hung_up == []


async def test_reload_changes_the_limits_of_renewals_but_not_the_rate_or_the_provider(
    bench: MakeBench,
) -> None:
    b = bench(money("1.00"))
    call = await b.talk(UK)
    rate = call.verdict.rate
    dearer = policy(
        trunk={"threshold_amount": "0.07", "provider": "new"},
        more_providers=[{"name": "new", "hostname": "127.0.0.8"}],
    )
    b.store.replace(dearer)
    await b.run(75)
    assert [(round(at - 1000), reason) for at, reason in b.hung_up] == [(70, ReasonCode.SPEND)]
    assert call.verdict.rate is rate
    assert call.provider is not None
    assert call.provider.name == "carrier"
    b.answer_bye()
    assert b.costs == [70 * SECOND]


# --- the ledger away, or without memory ---


async def stop(server: Server, ledger: RedisLedger) -> None:
    server.kill()
    await until(lambda: not ledger.connected)


async def back(server: Server, ledger: RedisLedger) -> None:
    server.start()
    await until(lambda: ledger.connected)


async def test_ledger_away_when_the_block_ends_ends_the_call_where_calls_are_rejected(
    own_server: Server, frail_ledger: RedisLedger
) -> None:
    b = Bench(frail_ledger, money("1.00"))
    await b.talk(UK)
    await b.run(45)
    await stop(own_server, frail_ledger)
    await b.run(14.5)
    assert b.hung_up == []
    await b.run(1)
    assert [reason for _, reason in b.hung_up] == [ReasonCode.LEDGER]
    b.answer_bye()
    assert b.costs == [60 * SECOND]
    await back(own_server, frail_ledger)
    await settled(frail_ledger)
    usage = await b.usage()
    assert (usage.spent, usage.reserved, usage.active_calls) == (60 * SECOND, 0, 0)


async def test_short_outage_ends_no_call(own_server: Server, frail_ledger: RedisLedger) -> None:
    b = Bench(frail_ledger, money("1.00"))
    await b.talk(UK)
    await b.run(49)
    await stop(own_server, frail_ledger)
    await b.run(8)
    await back(own_server, frail_ledger)
    await b.run(60)
    assert b.hung_up == []
    usage = await b.usage()
    assert usage.spent >= 100 * SECOND


async def test_ledger_away_ends_no_call_where_calls_are_admitted(
    own_server: Server, frail_ledger: RedisLedger
) -> None:
    b = Bench(frail_ledger, money("1.00", on_ledger_unavailable="admit", local_capacity_limit=1))
    call = await b.talk(UK)
    await b.run(45)
    await stop(own_server, frail_ledger)
    await b.run(60)
    assert b.hung_up == []
    await back(own_server, frail_ledger)
    await b.run(5)
    usage = await b.usage()
    assert usage.spent >= 105 * SECOND  # what it talked meanwhile is charged
    b.bye(call)
    assert b.costs == [pytest.approx(110 * SECOND, abs=SECOND)]


async def test_ledger_away_ends_no_call_that_no_money_limits(
    own_server: Server, frail_ledger: RedisLedger
) -> None:
    b = Bench(frail_ledger, policy())
    await b.talk(UK)
    await stop(own_server, frail_ledger)
    await b.run(200, step=0.5)
    assert b.hung_up == []


async def rebuilt(ledger: RedisLedger, server: Server) -> None:
    """Wait until the ledger is open again after it was emptied."""
    await until(lambda: server.client().hget("{tw}:epoch", "id") is not None)
    await until(lambda: ledger.connected)


async def test_call_that_the_ledger_lost_is_told_again_and_charged_exactly(
    bench: MakeBench, ledger: RedisLedger, server: Server
) -> None:
    b = bench(money("1.00"))
    call = await b.talk(UK)
    await b.run(25)
    assert (await b.usage()).spent == 20 * SECOND
    server.client().flushall()
    await rebuilt(ledger, server)
    usage = await b.usage()
    assert (usage.active_calls, usage.spent, usage.reserved) == (1, 25 * SECOND, 35 * SECOND)
    assert b.accounting.uncounted.get("office", 0) == 0
    await b.run(20)
    b.bye(call)
    await settled(ledger)
    assert b.costs == [45 * SECOND]
    usage = await b.usage()
    assert (usage.active_calls, usage.spent, usage.reserved) == (0, 45 * SECOND, 0)


async def left(server: Server, call: CallSession) -> Adopted:
    """What another instance would find of the call, its first one being gone."""
    other = await open_ledger(server.url, server.folder, lease_seconds=30, owner="two", deadline=0.5)
    (found,) = await other.adopt([call.ref], force=True)
    await other.close()
    return found


@pytest.mark.parametrize("lost", ["all", "its keys"])
async def test_call_that_the_ledger_lost_can_be_adopted_again(
    bench: MakeBench, ledger: RedisLedger, server: Server, lost: str
) -> None:
    """The dialog state is left there anew."""
    b = bench(money("1.00"))
    call = await b.talk(UK)
    await b.run(5)
    if lost == "all":
        server.client().flushall()
        await rebuilt(ledger, server)
    else:
        server.client().delete(*[f"{{tw}}:{kind}:{call.ref}" for kind in "kdx"])
    await b.run(12)
    await settled(ledger)
    found = await left(server, call)
    assert (found.epoch, found.spent + found.hold) == (2, 60 * SECOND)
    assert b"call-1" in found.state


async def test_call_admitted_without_the_ledger_can_be_adopted(
    own_server: Server, frail_ledger: RedisLedger
) -> None:
    b = Bench(frail_ledger, money("1.00", on_ledger_unavailable="admit", local_capacity_limit=1))
    await stop(own_server, frail_ledger)
    call = await b.talk(UK)
    await back(own_server, frail_ledger)
    await b.run(5)
    await settled(frail_ledger)
    assert b"call-1" in (await left(own_server, call)).state


async def test_record_of_one_call_lost_is_made_again_and_charged_exactly(
    bench: MakeBench, ledger: RedisLedger, server: Server
) -> None:
    b = bench(money("1.00"))
    lost, other = await b.talk(UK, 1), await b.talk(UK, 2)
    await b.run(25)
    server.client().delete(f"{{tw}}:k:{lost.ref}")
    await b.run(10)
    usage = await b.usage()
    assert usage.active_calls == 2
    assert usage.spent + usage.reserved == 120 * SECOND
    b.bye(lost)
    b.bye(other)
    await settled(ledger)
    usage = await b.usage()
    assert (usage.active_calls, usage.spent, usage.reserved) == (0, 70 * SECOND, 0)


async def test_call_admitted_without_the_ledger_is_counted_when_it_is_back(
    own_server: Server, frail_ledger: RedisLedger
) -> None:
    b = Bench(frail_ledger, money("1.00", on_ledger_unavailable="admit", local_capacity_limit=2))
    await stop(own_server, frail_ledger)
    over, runs = await b.talk(UK, 1), await b.talk(UK, 2)
    await b.run(12)
    b.bye(over)
    assert b.accounting.uncounted == {"office": 1}
    await back(own_server, frail_ledger)
    await settled(frail_ledger)
    await b.run(11)
    assert b.accounting.uncounted == {"office": 0}
    usage = await b.usage()
    assert usage.active_calls == 1
    b.bye(runs)
    await settled(frail_ledger)
    assert b.costs == [12 * SECOND, 23 * SECOND]
    usage = await b.usage()
    assert (usage.active_calls, usage.spent, usage.reserved) == (0, 35 * SECOND, 0)


async def test_call_that_another_instance_took_over_is_dropped_in_silence(
    bench: MakeBench, ledger: RedisLedger, server: Server
) -> None:
    b = bench(money("1.00"))
    call = await b.talk(UK)
    await b.run(5)
    other = await open_ledger(server.url, server.folder, lease_seconds=30, owner="two")
    (taken,) = await other.adopt([call.ref], force=True)
    assert (taken.epoch, taken.trunk, taken.hold) == (2, "office", 60 * SECOND)
    await b.run(6)
    assert b.fenced == [call]
    assert b.accounting.live == {}
    assert b.hung_up == []
    await b.run(60)
    assert b.hung_up == []
    usage = await b.usage()
    assert (usage.active_calls, usage.spent, usage.reserved) == (1, 0, 60 * SECOND)
    other.settle(call.ref, 66 * SECOND, epoch=taken.epoch)
    await settled(other)
    assert (await b.usage()).spent == 66 * SECOND
    await other.close()


async def test_adopted_call_goes_on_being_counted_charged_and_cut_off(
    bench: MakeBench, ledger: RedisLedger, server: Server
) -> None:
    b = bench(money("1.00"))
    scopes = b.store.policy.trunks["office"].scopes
    other = await open_ledger(server.url, server.folder, lease_seconds=0.2, owner="dead")
    await other.reserve(Claim("orphan", "office", scopes, 60 * SECOND, b"{}"))
    other.answered("orphan", 0.0, state=b"a dialog")
    await settled(other)
    await other.close()
    await until(lambda: server.client().zcount("{tw}:leases", 0, utc_now().timestamp() * 1000) == 1)
    (call,) = await ledger.adopt(await ledger.lapsed())
    assert call.state == b"a dialog"
    session = await b.talk(UK)  # stands for the one that the dialog's state would make
    await ledger_forgets(b, session.ref, ledger)
    b.store.replace(money("0.10"))
    session.ref = "orphan"
    session.answered_at = b.now - 30
    b.accounting.adopted(session, call, b.now)
    account = session.account
    assert (account.paid_seconds, account.committed, account.epoch) == (60.0, 60 * SECOND, 2)
    await b.run(25)
    assert (await b.usage()).spent >= 50 * SECOND
    await b.run(47)  # a hundred seconds are all that there is
    assert [reason for _, reason in b.hung_up] == [ReasonCode.SPEND]
    b.answer_bye()
    await settled(ledger)
    assert (await b.usage()).spent == 100 * SECOND


async def ledger_forgets(b: Bench, ref: str, ledger: RedisLedger) -> None:
    ledger.release(ref)
    await settled(ledger)
    del b.accounting.live[ref]


async def test_call_that_ends_while_its_renewal_is_under_way(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(money("1.00"))
    call = await b.talk(UK)
    renew = b.ledger.renew

    async def hangs_up_first(asked: list[Renewal]) -> list[str]:
        outcomes = await renew(asked)
        b.bye(call)
        return outcomes

    monkeypatch.setattr(b.ledger, "renew", hangs_up_first)
    await b.run(10.1)
    assert b.costs == [10 * SECOND]
    await b.run(60)
    assert b.costs == [10 * SECOND]
    usage = await b.usage()
    assert (usage.spent, usage.reserved, usage.active_calls) == (10 * SECOND, 0, 0)
    assert b.hung_up == []


async def test_renewal_that_fails_otherwise_loses_no_call(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(money("1.00"))
    await b.talk(UK)
    renew, failures = b.ledger.renew, iter([True, True])

    async def fails_twice(asked: list[Renewal]) -> list[str]:
        if next(failures, False):
            raise ValueError("a defect")
        return await renew(asked)

    monkeypatch.setattr(b.ledger, "renew", fails_twice)
    await b.run(70)
    assert "renewals failed" in caplog.text
    assert b.hung_up == []
    usage = await b.usage()
    assert usage.spent + usage.reserved == 120 * SECOND


# --- calls that the ledger does not count ---


async def test_uncounted_calls_are_counted_down_once_on_every_way_out(
    own_server: Server, frail_ledger: RedisLedger
) -> None:
    b = Bench(frail_ledger, policy(trunk={"on_ledger_unavailable": "admit", "local_capacity_limit": 9}))
    await stop(own_server, frail_ledger)
    talked = await b.talk(UK, 1)
    await b.ring(UK, 2)
    busy = b.last(CARRIER)
    b.receive(invite(UK, branch="z9hG4bK-3", call_id="call-3"))
    b.receive(invite(UK, branch="z9hG4bK-3", call_id="call-3", method="CANCEL"))
    await b.admit()  # cancelled while it was judged
    ringing = await b.ring(UK, 4)
    assert b.accounting.uncounted == {"office": 3}
    b.receive(answer(busy, 486, "Busy Here"), CARRIER)
    b.bye(talked)
    b.bye(talked)
    b.hang_up(ringing, ReasonCode.DISABLED)
    b.hang_up(ringing, ReasonCode.DISABLED)
    assert b.accounting.uncounted == {"office": 0}
    assert b.accounting.live == {}


async def test_emergency_call_takes_no_local_place_and_costs_outside_the_window(bench: MakeBench) -> None:
    b = bench(money("0.01", on_ledger_unavailable="admit", local_capacity_limit=1, capacity_limit=0))
    call = await b.talk("sip:112@127.0.0.1")
    assert b.accounting.uncounted == {}
    assert call.ref in b.accounting.live
    await b.run(90)
    assert b.hung_up == []
    usage = await b.usage()
    assert (usage.active_calls, usage.spent, usage.reserved) == (0, 0, 0)
    b.bye(call)
    await settled(b.ledger)
    assert b.costs == [240_000]  # two minutes at 0.12
    usage = await b.usage()
    assert (usage.spent, usage.reserved) == (0, 0)
    b.records()
    assert (b.calls[0]["cost"], b.calls[0]["called"], b.calls[0]["rate"]) == ("0.24", "112", "0.12")


async def test_emergency_call_outlives_a_blocked_trunk(bench: MakeBench) -> None:
    b = bench(money("1.00", max_call_seconds=5))
    await b.talk("sip:112@127.0.0.1")
    b.store.replace(money("1.00", status="blocked"))
    await b.run(300, step=0.5)
    assert b.hung_up == []
    assert b.byes() == 0


# --- the end of all calls ---


async def test_idle_when_the_last_call_ended(bench: MakeBench) -> None:
    b = bench(policy())
    await b.accounting.idle()
    first, second = await b.talk(UK, 1), await b.talk(UK, 2)
    waiting = asyncio.gather(b.accounting.idle())
    b.bye(first)
    await b.ledger.ping()
    assert not waiting.done()
    b.bye(second)
    await asyncio.wait_for(waiting, 1)


async def test_calls_of_other_instances_are_not_ours_to_renew(
    bench: MakeBench, ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(policy())
    scopes = b.store.policy.trunks["office"].scopes
    await ledger.reserve(Claim("elsewhere", "office", scopes, 0, b"{}"))
    seen = Watched(b, monkeypatch)
    await b.ring(UK)
    await b.run(11)
    assert [one.ref for _, one, _ in seen.renewals] == ["ref1"]


async def test_release_is_kept_until_the_ledger_is_back(
    own_server: Server, frail_ledger: RedisLedger
) -> None:
    b = Bench(frail_ledger, policy())
    await b.ring(UK)
    assert (await b.usage()).active_calls == 1
    await stop(own_server, frail_ledger)
    b.receive(answer(b.last(CARRIER), 486, "Busy Here"), CARRIER)
    with pytest.raises(LedgerUnavailable):
        await b.usage()
    await back(own_server, frail_ledger)
    await settled(frail_ledger)
    assert (await b.usage()).active_calls == 0
