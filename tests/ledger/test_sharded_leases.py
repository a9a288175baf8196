"""Leases of calls that lie in two parts of the ledger."""

from __future__ import annotations

import asyncio

import pytest

from proxy.ledger.keys import Keys
from proxy.ledger.ledger import Registration, Renewal, Renewed
from tests.ledger.parts import ShardedOpener, claim, provider, settled, sharded, used
from tests.ledger.servers import Server


async def test_another_instance_adopts(server: Server, sharded_opener: ShardedOpener) -> None:
    first = await sharded_opener(server.url, "first", lease_seconds=0.6)
    scopes = sharded("acme", provider(), threshold=1000)
    for ref in ("r1", "r2", "ringing"):
        await first.reserve(claim(ref, scopes, 100))
    for ref in ("r1", "r2"):
        first.answered(ref, 0.0, state=b"dialog")
    await settled(first)
    second = await sharded_opener(server.url, "second")
    for _ in range(200):
        if len(await second.lapsed()) == 2:
            break
        await asyncio.sleep(0.01)
    for _ in range(200):  # the one that rang lapses in each part by itself
        await second.sweep()
        if [calls for calls, _, _ in await used(second, *scopes)] == [2] * len(scopes):
            break
        await asyncio.sleep(0.01)
    (call,) = await second.adopt(["r1"])
    assert (call.ref, call.epoch, call.hold, call.state) == ("r1", 2, 100, b"dialog")
    (call,) = await second.adopt(["r2"], force=True)
    assert await second.adopt(["nobody"], force=True) == []
    assert await first.renew([Renewal("r1", 10, 90, scopes)]) == [Renewed.FENCED]
    first.settle("r1", 900, scopes)
    await settled(first)
    assert (
        await second.renew([Renewal(ref, 10, 90, scopes, 2) for ref in ("r1", "r2")]) == [Renewed.GRANTED] * 2
    )
    assert await used(second, *scopes) == [(2, 20, 180), (2, 20, 180), (2, 20, 0)]
    for ref in ("r1", "r2"):
        second.settle(ref, 30, scopes, epoch=2)
    await settled(second)
    assert await used(second, *scopes) == [(0, 60, 0)] * 3


@pytest.mark.parametrize("part", ["account:acme", "provider:p"])
async def test_a_part_that_was_lost_is_told_again(
    server: Server, sharded_opener: ShardedOpener, part: str
) -> None:
    ledger = await sharded_opener(server.url)
    scopes = sharded("acme", provider(), threshold=1000)
    await ledger.reserve(claim("r1", scopes, 100))
    client = server.client()
    client.delete(Keys(part).call("r1"))
    outcomes = await ledger.renew([Renewal("r1", 10, 90, scopes)])
    assert outcomes == [Renewed.GONE if part == "account:acme" else Renewed.GRANTED]
    if part == "provider:p":
        assert (await used(ledger, scopes[2]))[0][0] == 1
    ledger.release("r1")
    await settled(ledger)


async def test_a_call_of_no_account_can_be_adopted(server: Server, sharded_opener: ShardedOpener) -> None:
    """An emergency call, which counts nowhere: it lies in the part of what belongs to no account."""
    first, second = await sharded_opener(server.url, "first", 0.3), await sharded_opener(server.url, "second")
    told = Registration("sos", "pbx", (), 1, 1.0, 1.0, 0, 5, 7, b"{}")
    assert await first.register([told]) == [Renewed.GRANTED]
    first.remember("sos", b"dialog", 1)
    await settled(first)
    assert await first.renew([Renewal("sos", 6, 6, ())]) == [Renewed.GRANTED]
    assert (await first.leases(), await second.leases()) == (1, 0)
    async with asyncio.timeout(20):
        while await second.lapsed() != ["sos"]:  # noqa: ASYNC110 -- the ledger tells nobody
            await asyncio.sleep(0.02)
    (call,) = await second.adopt(["sos"])
    assert (call.epoch, call.state, call.spent, call.hold) == (2, b"dialog", 6, 6)
    assert await first.renew([Renewal("sos", 6, 6, ())]) == [Renewed.FENCED]
    second.settle("sos", 9, (), epoch=2)
    await settled(second)
    assert await second.calls() == []
    assert await second.register([told]) == [Renewed.FENCED]  # late, it stays ended
