"""Live calls while the ledger is away, or has lost what it knew, or has another owner for them."""

from __future__ import annotations

import pytest

from policy.reasons import ReasonCode
from proxy.ledger.ledger import Claim, Renewal
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from proxy.observe.clock import utc_now
from tests.admission.bench import SECOND, UK, Bench, MakeBench, money, policy
from tests.admission.outage import back, left, rebuilt, stop
from tests.ledger.servers import PATIENT, Server, settled, until


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
    await settled(ledger)
    other = await open_ledger(server.url, server.folder, lease_seconds=30, owner="two", deadline=PATIENT)
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
    other = await open_ledger(server.url, server.folder, lease_seconds=0.2, owner="dead", deadline=PATIENT)
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
