"""The real scripts against a model of a page: any order of verbs gives the same answers and numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.ledger.ledger import LedgerUnavailable, Refused, Renewal, Renewed
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from tests.ledger.servers import PATIENT, Server, claim, scope

SCOPES = (
    scope("account:a", capacity=5, threshold=200),
    scope("trunk:x", capacity=3, threshold=120),
    scope("trunk:y", capacity=4),
    scope("provider:p", threshold=160),
)
BELONGS = {"x": (SCOPES[0], SCOPES[1], SCOPES[3]), "y": (SCOPES[0], SCOPES[2], SCOPES[3])}
REFS = [f"r{n}" for n in range(8)]


@dataclass
class Call:
    side: str
    spent: int
    hold: int


class Model:
    """What the ledger should do, without time: nothing leaves the window while a test runs."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.ended: set[str] = set()
        self.spent = dict.fromkeys((one.id for one in SCOPES), 0)

    def usage(self, scope_id: str) -> tuple[int, int, int]:
        held = [call.hold for call in self.calls.values() if self.counts(call, scope_id)]
        return len(held), self.spent[scope_id], sum(held)

    def counts(self, call: Call, scope_id: str) -> bool:
        return any(one.id == scope_id for one in BELONGS[call.side])

    def reserve(self, ref: str, side: str, hold: int) -> tuple[str, str]:
        if ref in self.calls:
            return "admitted", ""
        if ref in self.ended:
            return "void", ""
        for one in BELONGS[side]:
            if one.capacity_limit is not None and self.usage(one.id)[0] >= one.capacity_limit:
                return "CAPACITY", one.id
        for one in BELONGS[side]:
            _, spent, reserved = self.usage(one.id)
            if one.threshold is not None and spent + reserved + hold > one.threshold:
                return "SPEND", one.id
        self.calls[ref] = Call(side, 0, hold)
        return "admitted", ""

    def renew(self, ref: str, spent: int, hold: int) -> str:
        call = self.calls.get(ref)
        if call is None:
            return Renewed.FENCED if ref in self.ended else Renewed.GONE
        moved = max(0, spent - call.spent)
        self.land(call, moved)
        call.spent += moved
        call.hold, before = 0, max(0, call.hold - moved)
        room = all(
            one.threshold is None or sum(self.usage(one.id)[1:]) + hold <= one.threshold
            for one in BELONGS[call.side]
        )
        if hold <= before or room:
            call.hold = hold
            return Renewed.GRANTED
        call.hold = before
        return Renewed.NO_FUNDS

    def settle(self, ref: str, cost: int) -> None:
        call = self.calls.pop(ref, None)
        self.ended.add(ref)
        if call is not None:
            self.land(call, max(0, cost - call.spent))

    def land(self, call: Call, cost: int) -> None:
        for one in BELONGS[call.side]:
            self.spent[one.id] += cost


refs = st.sampled_from(REFS)
money = st.integers(0, 60)
verbs = st.one_of(
    st.tuples(st.just("reserve"), refs, st.sampled_from("xy"), money),
    st.tuples(st.just("renew"), refs, money, money),
    st.tuples(st.just("settle"), refs, money),
    st.tuples(st.just("release"), refs),
)


@pytest.fixture(scope="module", params=["redis", "valkey"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(request.param, tmp_path_factory.mktemp("m"))
    yield started
    started.kill()


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(verbs, min_size=1, max_size=40))
def test_any_order_of_verbs(shared: Server, steps: list[tuple[object, ...]]) -> None:
    shared.client().flushall()
    asyncio.run(replay(shared, steps))


async def reserved(ledger: RedisLedger, ref: str, side: str, hold: int) -> tuple[str, str]:
    try:
        answer = await ledger.reserve(claim(ref, *BELONGS[side], hold=hold))
    except LedgerUnavailable as error:
        return ("void", "") if error.kind == "other" else (error.kind, str(error))
    return (answer.reason.value, answer.scope_id) if isinstance(answer, Refused) else ("admitted", "")


async def replay(server: Server, steps: list[tuple[object, ...]]) -> None:
    ledgers = [
        await open_ledger(server.url, server.folder, lease_seconds=30, owner="same", deadline=PATIENT)
        for _ in range(3)
    ]
    model = Model()
    try:
        for n, step in enumerate(steps):
            ledger = ledgers[n % 3]
            match step:
                case ("reserve", str(ref), str(side), int(hold)):
                    assert await reserved(ledger, ref, side, hold) == model.reserve(ref, side, hold)
                case ("renew", str(ref), int(spent), int(hold)):
                    scopes = BELONGS[model.calls[ref].side] if ref in model.calls else ()
                    assert await ledger.renew([Renewal(ref, spent, hold, scopes)]) == [
                        model.renew(ref, spent, hold)
                    ]
                case ("settle", str(ref), int(cost)):
                    ledger.settle(ref, cost)
                    model.settle(ref, cost)
                case ("release", str(ref)):
                    ledger.release(ref)
                    model.settle(ref, 0)
            usage = await ledger.usage(SCOPES)  # the same connection: behind what was posted
            assert [(u.active_calls, u.spent, u.reserved) for u in usage] == [
                model.usage(one.id) for one in SCOPES
            ]
        assert {call.ref for call in await ledgers[0].calls()} == set(model.calls)
    finally:
        for ledger in ledgers:
            await ledger.close()
