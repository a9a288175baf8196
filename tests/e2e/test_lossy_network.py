"""Calls through networks that lose a tenth of all datagrams on both sides of the proxy, both ways.

TRUNKWARDEN_LOSSY_CALLS and TRUNKWARDEN_LOSSY_RATE make it longer. Timer B towards the provider is 64*T1 here,
as in RFC 3261: with the usual six seconds a provider behind such a network is given up too early.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from decimal import Decimal

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.lossy_agents import GIVE_UP, Callee, Caller
from tests.e2e.lossy_link import Weather
from tests.e2e.ports import PROVIDER
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.alone

CALLS = int(os.environ.get("TRUNKWARDEN_LOSSY_CALLS", "2000"))
RATE = float(os.environ.get("TRUNKWARDEN_LOSSY_RATE", "110"))
SEED = 20261121
COMPLETE = 0.999
TALK_SECONDS = 0.4
RING_SECONDS = 0.2
DESK = "127.0.0.10"
PRICE = Decimal("0.1")
LIMIT_SECONDS = CALLS / RATE + 3 * GIVE_UP


async def place_all(serve, config) -> tuple:
    """All calls, and what became of them."""
    callee = Callee(PROVIDER, SEED, Weather(), RING_SECONDS)
    proxy = await asyncio.to_thread(serve, config(callee.link.address))
    caller = Caller(DESK, proxy.address, WASHINGTON, SEED + 1, Weather(), TALK_SECONDS)
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        for number in range(CALLS):
            await asyncio.sleep(max(0.0, started + number / RATE - loop.time()))
            caller.place()
        async with asyncio.timeout_at(started + LIMIT_SECONDS):
            await caller.all_over.wait()
        # What goes on between the proxy and the provider: a BYE of the proxy's own, at worst.
        await asyncio.to_thread(proxy.wait_until_idle, None, 2 * GIVE_UP)
    finally:
        caller.link.close()
        callee.link.close()
    return proxy, caller, callee, loop.time() - started


@pytest.mark.timeout(LIMIT_SECONDS + 120)
def test_calls_complete_and_are_charged_once(serve, redis_server, tmp_path, capsys) -> None:
    def config(carrier: tuple[str, int]):
        return configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", carrier)],
            [trunk("desk", DESK, capacity_limit=32000, rate_deck="retail", threshold_amount="100000.00")],
            timers={"t1_ms": 500, "provider_response_seconds": 32, "no_answer_seconds": 185},
        )

    proxy, caller, callee, seconds = asyncio.run(place_all(serve, config))

    proxy.folder = tmp_path
    states = Counter(call.state for call in caller.calls.values())
    weather = caller.link.counts + callee.link.counts
    with capsys.disabled():
        print(f"\n{CALLS} calls in {seconds:.0f} s: {dict(states)}; datagrams: {dict(weather)}")
    assert weather["lost"] > 0.08 * (weather["in"] + weather["out"])
    assert states["complete"] >= COMPLETE * CALLS, states
    for call in caller.calls.values():
        if call.state == "complete":
            assert callee.calls[call.call_id].state == "over"
    # one reservation, one INVITE transaction at the provider for each call, however often it was repeated
    assert all(len(call.invites) == 1 for call in callee.calls.values())

    usage = proxy.usage("desk")
    assert (usage["active_calls"], Decimal(usage["reserved_amount"])) == (0, 0)
    decided = "trunkwarden_admission_decisions_total"
    eventually(lambda: proxy.metric(decided, decision="admitted") == CALLS, what="the count of decisions")

    def ended() -> list:
        return [record for record in proxy.records() if record.get("ended_at")]

    eventually(lambda: len(ended()) >= CALLS, 10.0, "the records of all calls")
    costs = [Decimal(record["cost"]) for record in ended()]
    assert len(costs) == CALLS
    assert set(costs) <= {Decimal(0), PRICE}
    assert Decimal(usage["spent_amount"]) == sum(costs)
    assert sum(costs) >= states["complete"] * PRICE
    eventually(lambda: proxy.metric("trunkwarden_ledger_drift") == 0, what="no drift")
    assert proxy.metric("trunkwarden_ledger_errors_total") == 0
    assert proxy.metric("trunkwarden_sip_malformed_total") == 0
