"""What the ledger shows of itself, in portions."""

from __future__ import annotations

import asyncio

from proxy.ledger.redis_ledger import RedisLedger
from tests.ledger.servers import Opener, Server, claim, scope, settled


async def test_calls_are_listed_in_portions(ledger: RedisLedger) -> None:
    trunk = scope()
    await asyncio.gather(*[ledger.reserve(claim(f"r{n}", trunk)) for n in range(250)])
    assert len(await ledger.calls()) == 250
    assert len(await ledger.calls(120)) == 120
    assert await ledger.calls(0) == []


async def test_records_newest_first_and_bounded(ledger: RedisLedger, server: Server) -> None:
    lines = [b'{"n":%d}' % n for n in range(12_000)]
    for at in range(0, len(lines), 1000):
        ledger.append_records("decisions", lines[at : at + 1000])
        await settled(ledger)
    assert await ledger.records("decisions", 3) == [b'{"n":11999}', b'{"n":11998}', b'{"n":11997}']
    assert await ledger.records("calls", 3) == []
    assert await ledger.records("decisions", 0) == []
    assert 10_000 <= server.client().xlen("{tw}:records:decisions") < 10_200
    assert ledger.records_dropped == 0


async def test_leases_are_counted_for_their_owner_alone(server: Server, opener: Opener) -> None:
    one, other = await opener(server.url, "one"), await opener(server.url, "other")
    assert (await one.leases(), await other.leases()) == (0, 0)
    for number in range(450):  # several portions
        await one.reserve(claim(f"one-{number}", scope()))
    for number in range(3):
        await other.reserve(claim(f"other-{number}", scope()))
    assert (await one.leases(), await other.leases()) == (450, 3)
    one.settle("one-0", 0)
    await settled(one)
    assert await one.leases() == 449
