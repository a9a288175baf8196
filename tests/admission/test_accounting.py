"""Blocks, leases, and the end of the money: real calls on a real ledger, time as an argument."""

from __future__ import annotations

import asyncio

import pytest

from policy.compiled import Policy
from policy.reasons import ReasonCode
from proxy.admission.account import LEAD_SECONDS
from proxy.ledger.ledger import Claim, LedgerUnavailable, Renewal, Renewed
from proxy.ledger.redis_ledger import RedisLedger
from tests.admission.bench import SECOND, UK, UK_MOBILE, US, Bench, MakeBench, money, policy
from tests.admission.outage import back, stop
from tests.call.playbook import CARRIER, PBX, answer, in_dialog, invite
from tests.ledger.servers import Server, settled


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
    short: list[tuple[str, int]] = []
    b.accounting.short = lambda trunk, wanted: short.append((trunk, wanted))
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
    assert set(short) == {("office", SECOND)}  # the increment that it could not have


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


async def test_what_a_bye_takes_to_be_answered_is_spent_by_nobody(bench: MakeBench) -> None:
    """The call goes on holding its money, and the window shows in the end what the call cost: up to the
    arrival of the BYE. One that is refused ended nothing."""
    b = bench(money("1.00"))
    call = await b.talk(UK)
    await b.run(40.5)
    b.bye(call, 0)
    await b.run(25)  # renewed at least twice
    usage = await b.usage()
    assert usage.spent <= 41 * SECOND < 60 * SECOND <= usage.spent + usage.reserved
    b.answer_bye(500)
    await b.run(25)
    assert (await b.usage()).spent >= 60 * SECOND
    b.bye(call, 0)
    await b.run(25)
    b.answer_bye()
    usage = await b.usage()
    assert b.costs == [pytest.approx(90.5 * SECOND, abs=1.2 * SECOND)]
    assert (usage.spent, usage.reserved) == (b.costs[0], 0)


async def test_what_a_hang_up_takes_to_be_answered_is_spent_by_nobody(bench: MakeBench) -> None:
    b = bench(money("1.00"))
    call = await b.talk(UK)
    await b.run(40.5)
    b.hang_up(call, ReasonCode.SPEND)
    await b.run(25)
    b.answer_bye()
    usage = await b.usage()
    assert (usage.spent, usage.reserved) == (b.costs[0], 0)
    assert b.costs == [pytest.approx(40.5 * SECOND, abs=1.2 * SECOND)]


async def test_the_longest_call_is_in_the_window_as_it_is_charged(bench: MakeBench) -> None:
    b = bench(money("9.00", max_call_seconds=30))
    await b.talk(UK)
    await b.run(29.95)
    b.now += 0.5  # too late for the BYE to leave on time
    await b.run(31)  # not answered; the lease is renewed
    assert b.byes() > 0
    assert b.accounting.live
    await b.run(3)
    assert b.costs == [30 * SECOND]
    assert (await b.usage()).spent == 30 * SECOND


async def test_a_call_whose_bye_meets_503_goes_on_into_the_window(bench: MakeBench) -> None:
    b = bench(money("9.00"))
    session = await b.talk(UK)
    await b.run(30)
    b.bye(session, 503)
    await b.run(25)
    assert (await b.usage()).spent > 40 * SECOND


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
    await asyncio.wait_for(waiting, 10)


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
