"""Emergency calls in the books: no limit stands in their way, and another instance can go on with them."""

from __future__ import annotations

from proxy.admission.accounting import Accounting
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from tests.admission.bench import Bench, MakeBench, money
from tests.admission.outage import back, left, rebuilt, stop
from tests.call.playbook import CARRIER, PBX, answer, in_dialog
from tests.ledger.servers import PATIENT, Server, settled


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


async def test_emergency_call_has_a_lease_once_it_is_answered(
    bench: MakeBench, ledger: RedisLedger, server: Server
) -> None:
    """So that another instance could go on with it; it counts nowhere all the same."""
    b = bench(money("0.01", capacity_limit=0))
    call = await b.ring("sip:112@127.0.0.1")
    await b.run(2)
    assert (await ledger.leases(), b.accounting.to_be_leased) == (0, 0)
    b.receive(answer(b.last(CARRIER), 200), CARRIER)
    b.oks[call.ref] = b.last(PBX)
    b.receive(in_dialog("ACK", b.last(PBX), cseq=1))
    await b.run(0.5)
    assert (await ledger.leases(), b.accounting.to_be_leased) == (1, 1)
    server.client().flushall()
    await rebuilt(ledger, server)
    await b.run(130)
    await settled(ledger)
    assert (await ledger.leases(), b.accounting.to_be_leased) == (1, 1)
    assert b.hung_up == []
    found = await left(server, call)
    assert b"call-1" in found.state
    assert found.epoch == 2
    usage = await b.usage()
    assert (usage.active_calls, usage.spent, usage.reserved) == (0, 0, 0)


async def test_emergency_call_that_ends_leaves_no_lease(bench: MakeBench, ledger: RedisLedger) -> None:
    """Whether the ledger was told of it before, or is told of it as it ends."""
    b = bench(money("0.01"))
    await b.run(1)
    for number, talked in ((1, 5.0), (2, 0.0)):
        call = await b.talk("sip:112@127.0.0.1", number)
        await b.run(talked)
        b.bye(call)
        await settled(ledger)
        assert await ledger.leases() == 0
    await b.run(15)
    assert await ledger.calls() == []
    assert b.costs == [120_000, 120_000]
    assert (await b.usage()).spent == 0


async def test_emergency_call_waits_for_no_ledger(own_server: Server, frail_ledger: RedisLedger) -> None:
    b = Bench(frail_ledger, money("0.01", on_ledger_unavailable="reject"))
    await stop(own_server, frail_ledger)
    call = await b.talk("sip:112@127.0.0.1")
    await b.run(150, step=0.5)
    assert b.hung_up == []
    assert b.accounting.uncounted == {}
    await back(own_server, frail_ledger)
    await b.run(3)
    await settled(frail_ledger)
    assert b"call-1" in (await left(own_server, call)).state


async def test_adopted_emergency_call_is_never_cut_off(
    bench: MakeBench, ledger: RedisLedger, server: Server
) -> None:
    """Not for want of money, and not though its trunk is gone."""
    b = bench(money("1.00"))
    session = await b.talk("sip:112@127.0.0.1")
    await b.run(1)
    other = await open_ledger(server.url, server.folder, lease_seconds=30, owner="two", deadline=PATIENT)
    (call,) = await other.adopt([session.ref], force=True)
    heir = Accounting(b.store, other, 30.0, b.hang_up, clock=lambda: b.now)
    session.verdict.trunk = None
    heir.adopted(session, call, b.now)
    for _ in range(40):
        b.now += 10
        await heir.renew_due(b.now)
    assert b.hung_up == []
    assert await other.leases() == 1
    session.ended_at = b.now
    assert heir.ended(session) > 0
    await settled(other)
    assert await other.leases() == 0
    await other.close()


async def test_emergency_call_outlives_a_blocked_trunk(bench: MakeBench) -> None:
    b = bench(money("1.00", max_call_seconds=5))
    await b.talk("sip:112@127.0.0.1")
    b.store.replace(money("1.00", status="blocked"))
    await b.run(300, step=0.5)
    assert b.hung_up == []
    assert b.byes() == 0
