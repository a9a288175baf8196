"""Leases change hands: adoption, fencing, and calls that are taken back into the ledger."""

from __future__ import annotations

import asyncio

import pytest

from proxy.ledger.ledger import LedgerUnavailable, Registration, Renewal, Renewed, Reservation
from proxy.ledger.redis_ledger import MOST_STATE, RedisLedger
from tests.ledger.servers import Opener, Server, claim, is_busy, scope, settled, until

TRUNK = (scope(threshold=1000, capacity=9),)


async def numbers(ledger: RedisLedger) -> tuple[int, int, int]:
    (usage,) = await ledger.usage(TRUNK)
    return usage.active_calls, usage.spent, usage.reserved


async def lapsed(ledger: RedisLedger, count: int) -> list[str]:
    for _ in range(400):
        refs = await ledger.lapsed()
        if len(refs) == count:
            return refs
        await asyncio.sleep(0.01)
    raise AssertionError("the leases do not lapse")


def registration(ref: str, *, spent: int = 0, hold: int = 0, moved: int = 0, epoch: int = 1) -> Registration:
    return Registration(ref, "t", TRUNK, epoch, 5.0, 3.0, moved, spent, hold, b"{}")


@pytest.fixture
async def orphaned(server: Server, opener: Opener) -> tuple[RedisLedger, RedisLedger]:
    """An instance with a call whose lease lapsed, and one that lives."""
    dead = await opener(server.url, "dead", lease_seconds=0.5)
    lives = await opener(server.url, "lives")
    await dead.reserve(claim("r1", *TRUNK, hold=100))
    dead.answered("r1", asyncio.get_running_loop().time(), state=b"dialog 1")
    await dead.renew([Renewal("r1", 30, 70, TRUNK)])
    assert await lapsed(lives, 1) == ["r1"]
    return dead, lives


async def test_after_an_outage_those_who_live_come_first(
    orphaned: tuple[RedisLedger, RedisLedger], server: Server, opener: Opener
) -> None:
    """Else a call that ended while the ledger could not be told would go on, and be charged, elsewhere."""
    looks = await opener(server.url, "looks", lease_seconds=0.5)
    client = server.client()
    client.config_set("busy-reply-threshold", 50)
    endless = asyncio.gather(
        asyncio.to_thread(server.client().eval, "while true do end", 0), return_exceptions=True
    )
    await until(lambda: is_busy(client))
    with pytest.raises(LedgerUnavailable):
        await looks.lapsed()
    failed_at = asyncio.get_running_loop().time()
    client.script_kill()
    await endless
    assert await lapsed(orphaned[1], 1) == ["r1"]  # it had not looked meanwhile
    assert await lapsed(looks, 1) == ["r1"]
    assert asyncio.get_running_loop().time() >= failed_at + 0.5


async def test_a_lapsed_call_is_left_to_be_adopted(orphaned: tuple[RedisLedger, RedisLedger]) -> None:
    _, lives = orphaned
    assert await lives.sweep() == 0
    assert await numbers(lives) == (1, 30, 70)  # counted, and what it holds is held
    (call,) = await lives.adopt(["r1", "unknown"])
    assert (call.ref, call.trunk, call.epoch, call.spent, call.hold) == ("r1", "t", 2, 30, 70)
    assert (call.state, call.record) == (b"dialog 1", b'{"call_id":"a"}')
    assert call.answered_age is not None
    assert 0.1 < call.answered_age <= call.reserved_age < 60
    assert await lives.adopt(["r1"]) == [
        type(call)(
            **{
                name: getattr(call, name)
                for name in type(call).__slots__
                if name not in ("reserved_age", "answered_age")
            },
            reserved_age=pytest.approx(call.reserved_age, abs=5),
            answered_age=pytest.approx(call.answered_age, abs=5),
        )
    ]  # an answer that was lost is asked for again
    assert await lives.lapsed() == []


async def test_a_former_owner_can_neither_charge_nor_release(
    orphaned: tuple[RedisLedger, RedisLedger],
) -> None:
    dead, lives = orphaned
    await lives.adopt(["r1"])
    assert await dead.renew([Renewal("r1", 900, 100, TRUNK)]) == [Renewed.FENCED]
    dead.settle("r1", 900, TRUNK)
    dead.release("r1")
    dead.remember("r1", b"old", 99)
    assert await dead.register([registration("r1", spent=900)]) == [Renewed.FENCED]
    await settled(dead)
    assert await numbers(lives) == (1, 30, 70)
    assert await lives.renew([Renewal("r1", 40, 60, TRUNK, 2)]) == [Renewed.GRANTED]
    assert await lives.renew([Renewal("r1", 50, 60, TRUNK, 1)]) == [Renewed.FENCED]
    lives.settle("r1", 55, TRUNK, epoch=2)
    await settled(lives)
    assert await numbers(lives) == (0, 55, 0)
    dead.settle("r1", 900, TRUNK)
    await settled(dead)
    assert await numbers(lives) == (0, 55, 0)


async def test_one_of_many_survivors_adopts(server: Server, opener: Opener) -> None:
    dead = await opener(server.url, "dead", lease_seconds=0.1)
    survivors = [await opener(server.url, f"s{n}") for n in range(3)]
    for n in range(40):
        await dead.reserve(claim(f"r{n}", scope()))
        dead.answered(f"r{n}", 0.0, state=b"x")
    await settled(dead)
    refs = await lapsed(survivors[0], 40)
    taken = await asyncio.gather(*[one.adopt(refs) for one in survivors])
    names = [call.ref for calls in taken for call in calls]
    assert sorted(names) == sorted(refs)
    assert [await one.leases() for one in (dead, *survivors)] == [0, *map(len, taken)]


async def test_a_live_lease_is_taken_by_force_alone(server: Server, opener: Opener) -> None:
    one, two = await opener(server.url, "one"), await opener(server.url, "two")
    await one.reserve(claim("r1", *TRUNK, hold=10))
    assert await two.adopt(["r1"]) == []
    (call,) = await two.adopt(["r1"], force=True)  # it rings
    assert (call.epoch, call.answered_age, call.state) == (0, None, b"")
    one.answered("r1", 0.0, state=b"x")
    await settled(one)
    (call,) = await two.adopt(["r1"], force=True)
    assert (call.epoch, call.state) == (2, b"x")
    (back,) = await one.adopt(["r1"], force=True)
    assert back.epoch == 3
    one.release("r1", epoch=1)  # said before it lost the call
    two.release("r1", epoch=2)
    await settled(one)
    await settled(two)
    assert await numbers(one) == (1, 0, 10)
    one.release("r1", epoch=3)
    await settled(one)
    assert await numbers(one) == (0, 0, 0)


async def test_nobody_adopts_then_it_is_settled(server: Server, opener: Opener) -> None:
    dead = await opener(server.url, "dead", lease_seconds=0.1)
    await dead.reserve(claim("r1", *TRUNK, hold=100))
    dead.answered("r1", 0.0, state=b"x")
    await settled(dead)
    await dead.sweep()
    await asyncio.sleep(0.55)  # its lease and four more
    assert await dead.sweep() == 1
    assert await numbers(dead) == (0, 100, 0)


async def test_who_comes_after_all_were_gone_adopts(server: Server, opener: Opener) -> None:
    """However long nobody was there: the calls may live, and each could be adopted before it is given up."""
    dead = await opener(server.url, "dead", lease_seconds=0.3)
    for ref in ("r1", "r2", "rang"):
        await dead.reserve(claim(ref, *TRUNK, hold=100))
    for ref in ("r1", "r2"):
        dead.answered(ref, 0.0, state=b"x")
    await settled(dead)
    await asyncio.sleep(1.8)  # its lease and more than four
    late = await opener(server.url, "late", lease_seconds=0.3)
    assert await late.sweep() == 1
    assert await numbers(late) == (2, 0, 200)
    assert sorted(call.ref for call in await late.adopt(await late.lapsed())) == ["r1", "r2"]
    await asyncio.sleep(1.6)
    assert await late.sweep() == 2  # it had its time


async def test_who_took_long_to_start_adopts(server: Server, opener: Opener) -> None:
    """It has been connected for more than four leases, and has had no turn to adopt anything."""
    late = await opener(server.url, "late", lease_seconds=0.1)
    dead = await opener(server.url, "dead", lease_seconds=0.1)
    await dead.reserve(claim("r1", *TRUNK, hold=100))
    dead.answered("r1", 0.0, state=b"x")
    await settled(dead)
    await asyncio.sleep(0.6)
    assert await late.sweep() == 0
    assert [call.ref for call in await late.adopt(await late.lapsed())] == ["r1"]


async def test_a_swept_call_that_lives_is_charged_what_it_cost_in_all(server: Server, opener: Opener) -> None:
    """An instance that slept comes back: nobody adopted its call, which was settled and is still up."""
    slept = await opener(server.url, "slept", lease_seconds=0.1)
    other = await opener(server.url, "other")
    for ref in ("r1", "r2"):
        await slept.reserve(claim(ref, *TRUNK, hold=100))
        slept.answered(ref, 0.0)
    await settled(slept)
    await asyncio.sleep(0.15)
    assert await other.sweep() == 2
    assert await numbers(other) == (0, 200, 0)
    assert await slept.renew([Renewal("r1", 120, 30, TRUNK)]) == [Renewed.GONE]
    assert await slept.register([registration("r1", spent=120, hold=30)]) == [Renewed.GRANTED]
    assert await numbers(other) == (1, 220, 30)
    slept.settle("r1", 140, TRUNK)
    slept.settle("r2", 110, TRUNK)
    await settled(slept)
    assert await numbers(other) == (0, 250, 0)


async def test_state_is_bounded_and_never_older(ledger: RedisLedger, server: Server) -> None:
    await ledger.reserve(claim("r1", scope()))
    ledger.answered("r1", 0.0, state=b"at the answer")
    for version, state in ((1, b"one"), (3, b"three"), (2, b"two")):
        ledger.remember("r1", state, version)
    await settled(ledger)
    (call,) = await ledger.adopt(["r1"])
    assert (call.state, call.version, call.epoch) == (b"three", 3, 1)
    with pytest.raises(ValueError, match="cannot be kept"):
        ledger.remember("r1", bytes(MOST_STATE + 1), 4)
    ledger.remember("r1", bytes(MOST_STATE), 4)
    ledger.release("r1")
    ledger.remember("r1", b"late", 5)
    await settled(ledger)
    assert server.client().exists("{tw}:x:r1") == 0


async def test_a_call_the_ledger_never_had_is_taken_in_once(ledger: RedisLedger, server: Server) -> None:
    told = registration("r1", spent=20, hold=40)
    for _ in range(2):
        assert await ledger.register([told]) == [Renewed.GRANTED]
        assert await numbers(ledger) == (1, 20, 40)
    (call,) = await ledger.calls()
    assert (call.owner, call.trunk, call.answered_ms is not None) == ("one", "t", True)
    assert await ledger.register([registration("r1", spent=10, hold=40)]) == [Renewed.GRANTED]
    assert await numbers(ledger) == (1, 20, 40)  # told late: nothing is taken back
    ledger.settle("r1", 25, TRUNK)
    await settled(ledger)
    assert await numbers(ledger) == (0, 25, 0)
    assert await ledger.register([told]) == [Renewed.FENCED]
    assert await numbers(ledger) == (0, 25, 0)


async def test_registering_is_above_limits_and_new_calls_are_not(ledger: RedisLedger) -> None:
    tight = (scope(threshold=50, capacity=1),)
    for ref in ("a", "b", "c"):
        one = Registration(ref, "t", tight, 1, 1.0, None, 0, 0, 40, b"{}")
        assert await ledger.register([one]) == [Renewed.GRANTED]
    assert await numbers(ledger) == (3, 0, 120)
    for ref in ("a", "b", "c"):
        assert not isinstance(await ledger.reserve(claim("new", *tight)), Reservation)
        ledger.release(ref)
    assert isinstance(await ledger.reserve(claim("new", *tight)), Reservation)


async def test_a_call_the_ledger_never_had_is_charged_once(ledger: RedisLedger) -> None:
    for _ in range(3):
        ledger.settle("r1", 70, TRUNK, moved=20)
    ledger.release("r2")
    ledger.settle("r2", 70, TRUNK)  # it was given back already
    await settled(ledger)
    assert await numbers(ledger) == (0, 50, 0)


@pytest.mark.parametrize("key", ["k:r1", "leases", "s:trunk:t", "d:r1", "x:r1"])
async def test_one_key_lost_in_mid_call(ledger: RedisLedger, server: Server, key: str) -> None:
    """Whichever key it is: the owner tells the call again, and the numbers are right."""
    for ref in ("r1", "r2"):
        await ledger.reserve(claim(ref, *TRUNK, hold=100))
        ledger.answered(ref, 0.0, state=b"x")
    await ledger.renew([Renewal(ref, 30, 70, TRUNK) for ref in ("r1", "r2")])
    server.client().delete("{tw}:" + key)
    outcomes = await ledger.renew([Renewal(ref, 40, 60, TRUNK) for ref in ("r1", "r2")])
    lost = [ref for ref, outcome in zip(("r1", "r2"), outcomes, strict=True) if outcome == Renewed.GONE]
    assert lost == (["r1"] if key == "k:r1" else [])
    await ledger.register([registration(ref, spent=40, hold=60, moved=30) for ref in lost])
    assert await numbers(ledger) == (2, 80, 120)
    assert await ledger.leases() == 2
    for ref in ("r1", "r2"):
        ledger.settle(ref, 50, TRUNK, moved=40)
    await settled(ledger)
    assert await numbers(ledger) == (0, 100, 0)
    assert await ledger.audit(TRUNK) == []


async def test_a_call_whose_record_was_lost_ends_before_it_is_told_again(
    ledger: RedisLedger, server: Server
) -> None:
    """What it cost is charged, its place is free at once, and nothing of it stays in the ledger."""
    before = set(server.client().keys())
    for ref in ("r1", "r2"):
        await ledger.reserve(claim(ref, *TRUNK, hold=100))
        ledger.answered(ref, 0.0, state=b"x")
    await ledger.renew([Renewal(ref, 30, 70, TRUNK) for ref in ("r1", "r2")])
    server.client().delete("{tw}:k:r1")
    ledger.settle("r1", 50, TRUNK, moved=30)
    await settled(ledger)
    assert await numbers(ledger) == (1, 80, 70)
    assert await ledger.leases() == 1
    ledger.settle("r2", 30, TRUNK, moved=30)
    await settled(ledger)
    assert await numbers(ledger) == (0, 80, 0)
    left = {key.partition(b":")[2] for key in set(server.client().keys()) - before}
    assert left - {b"audit"} == {b"k:r1", b"k:r2", b"s:trunk:t", b"w:trunk:t", b"scopes"}
    assert server.client().ttl("{tw}:k:r1") > 0


async def test_a_lease_without_a_call_goes_with_what_was_kept_beside_it(
    ledger: RedisLedger, server: Server
) -> None:
    await ledger.reserve(claim("r1", *TRUNK, hold=100))
    ledger.answered("r1", 0.0, state=b"x")
    await settled(ledger)
    server.client().delete("{tw}:k:r1")
    await ledger.audit(TRUNK)
    assert await numbers(ledger) == (0, 0, 0)
    assert not server.client().exists("{tw}:leases", "{tw}:x:r1", "{tw}:d:r1")


@pytest.mark.parametrize("key", ["w:provider:p", "leases"])
async def test_a_cost_lands_once_whatever_key_was_overwritten(
    ledger: RedisLedger, server: Server, key: str
) -> None:
    """A settlement that fails half-way would come again, and land at the first scope each time."""
    both = (*TRUNK, scope("provider:p"))
    for ref in ("r1", "r2"):
        await ledger.reserve(claim(ref, *both, hold=100))
    await ledger.renew([Renewal(ref, 30, 70, both) for ref in ("r1", "r2")])
    server.client().delete("{tw}:" + key)
    server.client().set("{tw}:" + key, "nonsense")
    ledger.settle("r1", 50, both, moved=30)
    await settled(ledger)
    server.client().delete("{tw}:audit")
    await until(lambda: server.client().type("{tw}:" + key) != b"string")
    await ledger.renew([Renewal("r2", 30, 70, both)])
    await ledger.audit(both)
    assert sorted(usage.spent for usage in await ledger.usage(both)) == [80, 80]


async def test_the_audit_puts_right_what_can_be_proved(ledger: RedisLedger, server: Server) -> None:
    client = server.client()
    for ref in ("r1", "r2"):
        await ledger.reserve(claim(ref, *TRUNK, hold=100))
    await ledger.renew([Renewal("r1", 30, 70, TRUNK)])
    client.hset("{tw}:s:trunk:t", mapping={"n": 9, "r": 1, "w": 10})
    client.zadd("{tw}:leases", {"ghost": 1})
    found = await ledger.audit(TRUNK)
    assert [(one.what, one.found, one.corrected) for one in found] == [
        ("calls", 9, 2),
        ("reserved", 1, 170),
        ("window", 10, 30),
    ]
    assert await numbers(ledger) == (2, 30, 170)
    assert await ledger.leases() == 2
    client.hset("{tw}:s:trunk:t", "n", 9)
    assert await ledger.audit(TRUNK) == []  # it was done this minute
    client.delete("{tw}:audit", "{tw}:w:trunk:t")
    found = await ledger.audit(TRUNK)
    assert [(one.what, one.found, one.corrected) for one in found] == [("calls", 9, 2), ("window", 30, 30)]
    client.delete("{tw}:audit")
    assert await ledger.audit(TRUNK) == []
    assert await numbers(ledger) == (2, 30, 170)  # a ring that is lost costs nobody's limit
