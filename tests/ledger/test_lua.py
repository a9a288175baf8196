"""The scripts: how they are put together, and what they count when many ask at once or the clock moves."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path

import pytest

from policy.compiled import Scope, Window
from policy.reasons import ReasonCode
from proxy.ledger import lua
from proxy.ledger.ledger import Refused, Renewal, Renewed, Reservation
from proxy.ledger.redis_ledger import RedisLedger
from proxy.observe.clock import utc_now
from tests.ledger.servers import Opener, Server, claim, scope, settled

DAY = 86_400.0


@pytest.mark.parametrize("verb", lua.VERBS)
def test_the_flags_stay_the_first_line(verb: str) -> None:
    script = lua.script(verb)
    assert script.source.startswith(b"#!lua")
    assert b"local function scope_at" in script.source
    assert script.digest.decode() == hashlib.sha1(script.source).hexdigest()
    assert script.digest in script.by_digest
    assert script.source in script.whole


def test_numbers_are_never_written_by_tostring() -> None:
    for verb in lua.VERBS:
        for line in lua.script(verb).source.decode().splitlines():
            code = line.split("--")[0]
            # A scope's place in a call's record (1 to 4) is the one number that may be.
            assert "tostring(" not in code.replace("call[tostring(i)]", "")


# Many at once


async def three(server: Server, opener: Opener) -> list[RedisLedger]:
    return [await opener(server.url, f"instance-{n}") for n in range(3)]


async def burst(ledgers: list[RedisLedger], count: int, hold: int, *scopes: Scope) -> list[str]:
    """Reserve `count` calls over all clients at once; the refs of those that were admitted."""
    claims = [claim(f"r{n}", *scopes, hold=hold) for n in range(count)]
    answers = await asyncio.gather(*[ledgers[n % len(ledgers)].reserve(claims[n]) for n in range(count)])
    return [answer.ref for answer in answers if isinstance(answer, Reservation)]


async def test_exactly_the_capacity_of_500_at_once(server: Server, opener: Opener) -> None:
    ledgers = await three(server, opener)
    trunk, account = scope(capacity=50), scope("account:a", capacity=1000)
    admitted = await burst(ledgers, 500, 7, account, trunk)
    assert len(admitted) == 50
    for usage in await ledgers[0].usage([account, trunk]):
        assert (usage.active_calls, usage.reserved) == (50, 350)
    for ref in admitted:
        owner = int(ref[1:]) % 3
        ledgers[(owner + 1) % 3].release(ref)  # not its own
        ledgers[owner].release(ref)
        ledgers[owner].release(ref)
    for ledger in ledgers:
        await settled(ledger)
    for usage in await ledgers[0].usage([account, trunk]):
        assert (usage.active_calls, usage.spent, usage.reserved) == (0, 0, 0)


async def test_exactly_the_budget_of_500_at_once(server: Server, opener: Opener) -> None:
    ledgers = await three(server, opener)
    trunk, provider = scope(threshold=10_000_000), scope("provider:p", threshold=3_333_333)
    admitted = await burst(ledgers, 500, 33_333, trunk, provider)
    assert len(admitted) == 100
    one, two = await ledgers[0].usage([trunk, provider])
    assert one.reserved == two.reserved == 3_333_300
    last = await ledgers[1].reserve(claim("odd", trunk, provider, hold=34))
    assert isinstance(last, Refused)
    assert (last.reason, last.scope_id) == (ReasonCode.SPEND, "provider:p")
    assert isinstance(await ledgers[1].reserve(claim("even", trunk, provider, hold=33)), Reservation)


async def test_all_or_nothing_over_four_scopes(server: Server, opener: Opener) -> None:
    """Two trunks of one account and provider: what one scope refuses is counted at no other."""
    ledgers = await three(server, opener)
    shared = scope("account:a", capacity=40), scope("provider:p", threshold=310)
    left = (shared[0], scope("profile:x", capacity=25), scope("trunk:left"), shared[1])
    right = (shared[0], scope("profile:y"), scope("trunk:right", capacity=12), shared[1])
    draw = random.Random(7)
    admitted: dict[str, list[str]] = {"left": [], "right": []}

    async def one(n: int) -> None:
        side, scopes = draw.choice([("left", left), ("right", right)])
        answer = await ledgers[n % 3].reserve(claim(f"c{n}", *scopes, hold=10))
        if isinstance(answer, Reservation):
            admitted[side].append(answer.ref)

    await asyncio.gather(*[one(n) for n in range(200)])
    counts = len(admitted["left"]), len(admitted["right"])
    assert sum(counts) == 31  # the provider's money: 310 / 10
    scopes = {one.id: one for one in (*left, *right)}
    usage = dict(zip(scopes, await ledgers[0].usage(list(scopes.values())), strict=True))
    expected = {
        "account:a": 31,
        "provider:p": 31,
        "profile:x": counts[0],
        "trunk:left": counts[0],
        "profile:y": counts[1],
        "trunk:right": counts[1],
    }
    assert {name: found.active_calls for name, found in usage.items()} == expected
    assert {name: found.reserved for name, found in usage.items()} == {k: v * 10 for k, v in expected.items()}


# Calls per second


async def test_no_sliding_second_holds_more_than_the_limit(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    trunk = scope(cps=5)
    refused = 0
    times: list[int] = []
    client = server.client()
    n = 0
    while len(times) < 15 or refused <= 20:  # two seconds, unless the machine stands still
        n += 1
        seconds, micros = client.time()
        answer = await ledger.reserve(claim(f"r{n}", trunk))
        if isinstance(answer, Refused):
            assert answer.reason is ReasonCode.CPS
            # Exact also the other way: a place is free as soon as a second has passed.
            assert seconds * 1_000_000 + micros < times[-5] + 1_000_000
            refused += 1
            await asyncio.sleep(0.003)
        else:
            times.append(int(client.lindex("{tw}:c:trunk:t", -1)))
    assert all(late - early >= 1_000_000 for early, late in zip(times, times[5:], strict=False))


async def test_a_raised_cps_limit_counts_what_was_admitted_before(ledger: RedisLedger) -> None:
    for n in range(3):
        assert isinstance(await ledger.reserve(claim(f"a{n}", scope(cps=3))), Reservation)
    assert isinstance(await ledger.reserve(claim("b", scope(cps=3))), Refused)
    assert isinstance(await ledger.reserve(claim("c", scope(cps=4))), Reservation)
    assert isinstance(await ledger.reserve(claim("d", scope(cps=4))), Refused)


async def test_cps_after_a_clock_that_stepped_back(timed_server: Server, opener: Opener) -> None:
    ledger = await opener(timed_server.url)
    trunk = scope(cps=2)
    timed_server.move_clock(3600)
    for ref in ("a", "b"):
        assert isinstance(await ledger.reserve(claim(ref, trunk)), Reservation)
    timed_server.move_clock(0)
    assert isinstance(await ledger.reserve(claim("c", trunk)), Refused)
    await asyncio.sleep(1.05)
    for ref in ("d", "e"):
        assert isinstance(await ledger.reserve(claim(ref, trunk)), Reservation)
    assert isinstance(await ledger.reserve(claim("f", trunk)), Refused)


# The window


async def spent(ledger: RedisLedger, window: Window = Window.ROLLING_24H) -> int:
    (usage,) = await ledger.usage([scope(window=window)])
    return usage.spent


async def charge(ledger: RedisLedger, ref: str, cost: int) -> None:
    assert isinstance(await ledger.reserve(claim(ref, scope())), Reservation)
    ledger.settle(ref, cost)
    await settled(ledger)


def place(second: float) -> float:
    """The offset by which the clock shows `second` seconds after a midnight UTC. Not the next one, which may
    be too near for the clock to be seen to move."""
    now = utc_now().timestamp()
    return 2 * DAY - now % DAY + second


@pytest.mark.parametrize("second", [0.5, 20.0, 40.0])  # the rest of the minute is for a slow machine
async def test_cost_leaves_the_window_within_its_minute(
    timed_server: Server, opener: Opener, second: float
) -> None:
    ledger = await opener(timed_server.url)
    start = place(second)
    timed_server.move_clock(start)
    await charge(ledger, "r1", 70)
    for later, expected in ((86_399, 70), (86_400, 70), (86_460, 0)):
        timed_server.move_clock(start + later)
        assert await spent(ledger) == expected, later
        refused = await ledger.reserve(claim(f"p{later}", scope(threshold=100), hold=31))
        assert isinstance(refused, Refused if expected else Reservation), later


async def test_the_day_begins_at_midnight_utc(timed_server: Server, opener: Opener) -> None:
    ledger = await opener(timed_server.url)
    start = place(3600)
    timed_server.move_clock(start)
    await charge(ledger, "r1", 70)
    for later, daily, rolling in ((82_790, 70, 70), (82_810, 0, 70), (86_470, 0, 0)):
        timed_server.move_clock(start + later)
        assert (await spent(ledger, Window.UTC_DAY), await spent(ledger)) == (daily, rolling), later
    # Both are kept side by side, so that a change of window finds its sum.
    await charge(ledger, "r2", 5)
    assert (await spent(ledger, Window.UTC_DAY), await spent(ledger)) == (5, 5)


async def test_a_clock_that_steps_back_is_held(timed_server: Server, opener: Opener) -> None:
    ledger = await opener(timed_server.url)
    start = place(10)
    timed_server.move_clock(start)
    await charge(ledger, "r1", 70)
    timed_server.move_clock(start + 86_500)
    assert await spent(ledger) == 0
    await charge(ledger, "r2", 5)
    timed_server.move_clock(start)
    # What left the window does not come back, and the day does not either.
    assert await spent(ledger) == 5
    await charge(ledger, "r3", 6)
    assert (await spent(ledger), await spent(ledger, Window.UTC_DAY)) == (11, 11)
    timed_server.move_clock(start + 86_500 + 86_390)
    assert await spent(ledger) == 11
    timed_server.move_clock(start + 86_500 + 86_470)
    assert await spent(ledger) == 0


async def test_no_time_that_was_seen_comes_again(timed_server: Server, opener: Opener) -> None:
    ledger = await opener(timed_server.url, lease_seconds=30)
    trunk = scope()
    early = await ledger.reserve(claim("early", trunk))
    timed_server.move_clock(3600)
    (before,) = await ledger.usage([trunk])  # merely looking is seeing
    timed_server.move_clock(0)
    late = await ledger.reserve(claim("late", trunk))
    assert isinstance(early, Reservation)
    assert isinstance(late, Reservation)
    assert late.ledger_ms - early.ledger_ms >= 3_599_000
    (after,) = await ledger.usage([trunk])
    assert after.window_starts_at_ms >= before.window_starts_at_ms
    assert await ledger.sweep() == 1
    assert [call.ref for call in await ledger.calls()] == ["late"]


async def test_buckets_leave_one_by_one(timed_server: Server, opener: Opener) -> None:
    ledger = await opener(timed_server.url)
    start = place(1)
    costs = [(minute, 2 ** (n % 20)) for n, minute in enumerate(range(0, 1440, 97))]
    for minute, cost in costs:
        timed_server.move_clock(start + 60 * minute)
        await charge(ledger, f"r{minute}", cost)
    for minute in range(1380, 3000, 61):
        timed_server.move_clock(start + 60 * minute)
        expected = sum(cost for landed, cost in costs if landed <= minute <= landed + 1440)
        assert await spent(ledger) == expected, minute
    assert timed_server.client().exists("{tw}:w:trunk:t") == 0


async def test_a_lease_goes_by_the_ledgers_clock(timed_server: Server, opener: Opener) -> None:
    ledger = await opener(timed_server.url, lease_seconds=300)
    trunk = scope()
    await ledger.reserve(claim("r1", trunk, hold=10))
    await ledger.reserve(claim("r2", trunk, hold=10))
    timed_server.move_clock(200)
    assert await ledger.renew([Renewal("r2", 0, 10, (trunk,))]) == [Renewed.GRANTED]
    timed_server.move_clock(280)
    assert await ledger.sweep() == 0
    timed_server.move_clock(301)
    assert await ledger.sweep() == 1
    assert [call.ref for call in await ledger.calls()] == ["r2"]
    timed_server.move_clock(-7200)
    assert await ledger.sweep() == 0
    timed_server.move_clock(520)
    assert await ledger.sweep() == 1


async def test_twenty_thousand_renewals_without_error(ledger: RedisLedger) -> None:
    """Renewals move money in small sums; nothing is lost to rounding."""
    trunk = scope(threshold=2**53 - 1)
    base = 2**52
    await ledger.reserve(claim("big", trunk))
    ledger.settle("big", base)
    refs = [f"r{n}" for n in range(64)]
    for ref in refs:
        await ledger.reserve(claim(ref, trunk))
    total = 0
    for step in range(1, 314):
        total = step * 7
        await ledger.renew([Renewal(ref, total, 0, (trunk,)) for ref in refs])
    assert await spent(ledger) == base + 64 * total


ADDITIONS = int(os.environ.get("TRUNKWARDEN_LEDGER_ADDITIONS", "50000"))
ADDING = """
for n = 1, tonumber(ARGV[1]) do
  local now = clock()
  local scope = scope_at('trunk:t', now)
  land(scope, 123457)
  store(scope)
end
"""


async def test_additions_without_an_error(server: Server, opener: Opener) -> None:
    """As many costs as land in a busy day (the soak adds a million), by the scripts' own functions, to the
    micro-unit."""
    ledger = await opener(server.url, deadline=20.0)
    client = server.client()
    common = (Path(lua.__file__).parent / "scripts" / "common.lua").read_text()
    for _ in range(ADDITIONS // 10_000):
        client.eval(f"{common}\n{ADDING}", 1, "{tw}:clock", 10_000)
    assert await spent(ledger) == 123_457 * ADDITIONS
    assert await spent(ledger, Window.UTC_DAY) in range(123_457_000_001)  # midnight may fall into it
    assert await ledger.audit([scope()]) == []  # the ring proves the same sum
