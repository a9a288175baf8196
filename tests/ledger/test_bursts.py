"""500 calls at once over three instances, twenty times, each time otherwise: nothing is ever overshot."""

from __future__ import annotations

import asyncio
import random

import pytest

from proxy.ledger.ledger import LedgerUnavailable, Refused, Renewal, Renewed, Reservation
from proxy.ledger.redis_ledger import RedisLedger
from tests.ledger.servers import Opener, Server, claim, scope, settled, until

SEEDS = range(20)
CALLS = 500
CAPACITY, BUDGET, CARRIED = 25, 2_000, 1_500
ACCOUNT = scope("account:a", threshold=BUDGET)
TRUNKS = (scope("trunk:left", capacity=CAPACITY), scope("trunk:right", capacity=CAPACITY))
PROVIDER = scope("provider:p", threshold=CARRIED)
ALL = (ACCOUNT, *TRUNKS, PROVIDER)


class Burst:
    """Calls of many sizes at two trunks; some grow, end, and are given back while others come."""

    def __init__(self, ledgers: list[RedisLedger], seed: int) -> None:
        self.ledgers = ledgers
        self.draw = random.Random(seed)
        self.live: dict[str, tuple[int, int]] = {}
        self.admitted: dict[str, int] = {}
        self.refused: list[str] = []
        self.spent = 0

    async def call(self, n: int) -> None:
        draw = self.draw
        at, side, hold = draw.choice(range(3)), draw.choice(range(2)), draw.randint(1, 60)
        ledger, scopes, ref = self.ledgers[at], (ACCOUNT, TRUNKS[side], PROVIDER), f"r{n}"
        plan = [draw.random() for _ in range(3)]
        await asyncio.sleep(draw.random() / 20)
        answer = await ledger.reserve(claim(ref, *scopes, hold=hold))
        if isinstance(answer, Refused):
            self.refused.append(answer.reason.value)
            return
        self.live[ref] = (side, hold)
        self.admitted[ref] = at
        spent = 0
        if plan[0] < 0.3:
            (outcome,) = await ledger.renew([Renewal(ref, hold // 2, hold, scopes)])
            spent, hold = hold // 2, hold if outcome == Renewed.GRANTED else hold - hold // 2
            self.spent += spent
            self.live[ref] = (side, hold)
        if plan[1] < 0.4:
            if plan[2] < 0.5 and spent == 0:
                ledger.release(ref)
            else:
                ledger.settle(ref, spent + hold, scopes)
                self.spent += hold
            del self.live[ref]


async def watch(ledger: RedisLedger, over: asyncio.Event) -> int:
    """Look again and again whether anything is overshot; how often."""
    looks = 0
    while not over.is_set():
        account, left, right, provider = await ledger.usage(ALL)
        assert account.spent + account.reserved <= BUDGET
        assert provider.spent + provider.reserved <= CARRIED
        assert max(left.active_calls, right.active_calls) <= CAPACITY
        looks += 1
    return looks


@pytest.mark.parametrize("seed", SEEDS)
async def test_500_at_once_overshoot_nothing(server: Server, opener: Opener, seed: int) -> None:
    ledgers = [await opener(server.url, f"i{n}", deadline=20.0) for n in range(3)]
    burst, over = Burst(ledgers, seed), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(watch(await opener(server.url, "watch", deadline=20.0), over))
        async with asyncio.TaskGroup() as calls:
            for n in range(CALLS):
                calls.create_task(burst.call(n))
        for ledger in ledgers:
            await settled(ledger)
        over.set()
    assert looking.result() > 0
    assert {"CAPACITY", "SPEND"} >= set(burst.refused)
    assert len(burst.refused) > CALLS / 10
    held = [hold for _, hold in burst.live.values()]
    calls = [sum(side == n for side, _ in burst.live.values()) for n in range(2)]
    expected = [
        (len(held), burst.spent, sum(held)),
        *((calls[n], None, sum(hold for side, hold in burst.live.values() if side == n)) for n in range(2)),
        (len(held), burst.spent, sum(held)),
    ]
    for usage, (active, spent, reserved) in zip(await ledgers[0].usage(ALL), expected, strict=True):
        assert (usage.active_calls, usage.reserved) == (active, reserved)
        assert spent is None or usage.spent == spent
    # What is left is room that the next ones get, to the last unit.
    _, left, right, provider = await ledgers[0].usage(ALL)
    room = CARRIED - provider.spent - provider.reserved
    free = next((n for n, one in enumerate((left, right)) if one.active_calls < CAPACITY), None)
    if room and free is not None:
        scopes = (ACCOUNT, TRUNKS[free], PROVIDER)
        assert isinstance(await ledgers[1].reserve(claim("more", *scopes, hold=room + 1)), Refused)
        assert isinstance(await ledgers[2].reserve(claim("rest", *scopes, hold=room)), Reservation)


async def test_a_burst_while_scripts_are_flushed(server: Server, opener: Opener) -> None:
    """SCRIPT FLUSH every few milliseconds: no call fails, none is counted twice."""
    ledgers = [await opener(server.url, f"i{n}", deadline=20.0) for n in range(3)]
    failed: list[LedgerUnavailable] = []
    over = asyncio.Event()

    async def flush() -> None:
        while not over.is_set():
            await asyncio.to_thread(server.client().script_flush)
            await asyncio.sleep(0.002)

    async def one(n: int) -> bool:
        await asyncio.sleep(n / 1000)
        try:
            answer = await ledgers[n % 3].reserve(claim(f"r{n}", TRUNKS[0], hold=1))
        except LedgerUnavailable as error:
            failed.append(error)
            return False
        return isinstance(answer, Reservation)

    flushing = asyncio.gather(flush())
    admitted = await asyncio.gather(*[one(n) for n in range(CALLS)])
    over.set()
    await flushing
    await until(lambda: all(ledger.connected for ledger in ledgers))
    assert failed == []
    assert sum(admitted) == CAPACITY
    (usage,) = await ledgers[0].usage([TRUNKS[0]])
    assert (usage.active_calls, usage.reserved) == (CAPACITY, CAPACITY)
