"""What an instance does at its own pace, on a real ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from config.deck import Dated, Period
from policy.rating.deck import RateTable
from policy.rating.rate import Rate
from proxy import housekeeping as module
from proxy.admission.accounting import Accounting
from proxy.admission.decision_log import DecisionLog
from proxy.admission.policy_store import PolicyStore
from proxy.housekeeping import Housekeeping
from proxy.ledger.ledger import Claim, LedgerUnavailable
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from proxy.observe.clock import utc_now
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import TaskKeeper
from proxy.routing.resolver import Resolver
from tests.admission.bench import Bench, policy
from tests.ledger.servers import PATIENT, Server, settled, until


class House:
    def __init__(self, ledger: RedisLedger) -> None:
        self.ledger = ledger
        self.store = PolicyStore(policy(trunk={"threshold_amount": "1.00"}))
        self.metrics = Metrics()
        self.metrics.policy_loaded("v1", {"office": 1_000_000}, ["carrier"])
        self.accounting = Accounting(self.store, ledger, 30, lambda *_: None)
        self.log = DecisionLog("USD")
        self.resolver = Resolver([("udp", ("127.0.0.1", 5060))])
        self.keeping = Housekeeping(
            self.store, ledger, self.accounting, self.adopt, self.log, self.metrics, self.resolver
        )
        self.adoptions = 0
        self.keeper = TaskKeeper()

    async def adopt(self) -> None:
        self.adoptions += 1
        if self.adoptions == 1:
            raise LedgerUnavailable("timeout", "gone")

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        return {tuple(labels): value for labels, value in self.metrics.snapshot()["samples"][name]}


@pytest.fixture
async def house(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(module, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(module, "_LEDGER_SECONDS", 0.02)
    monkeypatch.setattr(module, "_DRIFT_SECONDS", 0.02)
    ledger = await open_ledger(
        own_server.url, own_server.folder, lease_seconds=30, owner="one", deadline=PATIENT
    )
    made = House(ledger)
    yield made
    await made.keeper.stop()
    await ledger.close()


async def test_usage_of_every_trunk_is_shown(house: House) -> None:
    house.keeping.start(house.keeper)
    scopes = house.store.policy.trunks["office"].scopes
    await house.ledger.reserve(Claim("r1", "office", scopes, 60_000, b"{}"))
    await house.ledger.reserve(Claim("r2", "office", scopes, 60_000, b"{}"))
    house.ledger.settle("r2", 25_000)
    await settled(house.ledger)
    await until(lambda: house.samples("trunkwarden_spend_amount") == {("office",): 0.025})
    assert house.samples("trunkwarden_spend_reserved_amount") == {("office",): 0.06}


async def test_calls_left_behind_are_looked_for_again_after_the_ledger_was_away(house: House) -> None:
    house.keeping.start(house.keeper)
    await until(lambda: house.adoptions > 2)


async def test_whether_the_ledger_answers_is_known(house: House, own_server: Server) -> None:
    house.keeping.start(house.keeper)
    await until(lambda: ("office",) in house.samples("trunkwarden_spend_amount"))
    assert house.keeping.ledger_answers
    own_server.kill()
    await until(lambda: not house.keeping.ledger_answers)
    own_server.start()
    await until(lambda: house.keeping.ledger_answers)


async def test_lapsed_leases_of_others_are_swept(house: House, own_server: Server) -> None:
    other = await open_ledger(own_server.url, own_server.folder, lease_seconds=0.05, owner="gone")
    await other.reserve(Claim("r1", "office", house.store.policy.trunks["office"].scopes, 0, b"{}"))
    await other.close()
    house.keeping.start(house.keeper)
    await until(lambda: own_server.client().zcard("{tw}:leases") == 0)


async def test_records_are_handed_over(house: House) -> None:
    seen: list[Any] = []
    house.log.sinks.append(lambda *found: seen.append(found))
    house.log._decisions.append(b"{}")
    house.keeping.start(house.keeper)
    await until(lambda: seen == [("decisions", [b"{}"])])


async def test_providers_are_looked_up_and_shown(house: House) -> None:
    house.metrics.provider_up["carrier"] = False
    house.keeping.start(house.keeper)
    await until(lambda: house.metrics.provider_up == {"carrier": True})
    assert house.resolver.hops(house.store.policy.providers["carrier"])
    house.store.replace(policy(provider={"status": "blocked"}))
    house.keeping.show_providers()
    assert house.metrics.provider_up == {"carrier": False}


async def test_drift_is_leases_without_a_call_and_calls_without_a_lease(
    house: House, own_server: Server
) -> None:
    b = Bench(house.ledger, house.store.policy)
    house.keeping._accounting = b.accounting
    house.keeping.start(house.keeper)
    call = await b.talk()
    await b.talk("sip:112@127.0.0.1", 2)  # counts nowhere, but has a lease
    compared = house.ledger.leases
    rounds: list[int] = []

    async def counted() -> int:
        rounds.append(await compared())
        return rounds[-1]

    house.ledger.leases = counted  # type: ignore[method-assign]

    async def drift() -> int:
        done = len(rounds)
        await settled(house.ledger)
        await until(lambda: len(rounds) >= done + 3)
        return house.metrics.ledger_drift

    assert await drift() == 0
    scopes = house.store.policy.trunks["office"].scopes
    for number in range(2):
        await house.ledger.reserve(Claim(f"leaked-{number}", "office", scopes, 0, b"{}"))
    assert await drift() == 2
    own_server.client().flushall()
    await until(lambda: own_server.client().zcard("{tw}:leases") == 2)  # the calls are told again
    assert await drift() == 0
    b.bye(call)
    assert await drift() == 0


async def test_calls_that_come_and_go_are_no_drift(house: House) -> None:
    house.accounting.changes = 7
    leases = house.ledger.leases

    async def call_ends_meanwhile() -> int:
        found = await leases()
        house.accounting.changes += 1
        return found + 1

    house.ledger.leases = call_ends_meanwhile  # type: ignore[method-assign]
    house.metrics.ledger_drift = 5
    await house.keeping._compare_leases()
    assert house.metrics.ledger_drift == 0


async def test_numbers_that_are_wrong_are_put_right_and_reported(
    house: House, own_server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scopes = house.store.policy.trunks["office"].scopes
    await house.ledger.reserve(Claim("r1", "office", scopes, 60_000, b"{}"))
    own_server.client().hset("{tw}:s:trunk:office", mapping={"n": 7, "r": 0})
    house.keeping.start(house.keeper)
    await until(lambda: own_server.client().hget("{tw}:s:trunk:office", "n") == b"1")
    await until(lambda: "has been put right" in caplog.text)
    (usage,) = await house.ledger.usage([house.store.policy.trunks["office"].scope])
    assert (usage.active_calls, usage.reserved) == (1, 60_000)


@pytest.mark.parametrize("part", ["renew_due", "usage", "refresh_due"])
async def test_defect_ends_no_work(
    house: House, part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_NAMES_SECONDS", 0.02)
    owner: Any = {"renew_due": house.accounting, "usage": house.ledger, "refresh_due": house.resolver}[part]
    real, failures, done = getattr(owner, part), iter([True, True]), []

    async def fails_twice(*arguments: Any) -> Any:
        if next(failures, False):
            raise RuntimeError("a defect")
        done.append(part)
        return await real(*arguments)

    monkeypatch.setattr(owner, part, fails_twice)
    house.keeping.start(house.keeper)
    await until(lambda: len(done) >= 2)
    assert "a defect" in caplog.text
    await until(lambda: house.keeping.ledger_answers)


async def test_ledger_that_fails_otherwise_is_not_ready(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> int:
        raise RuntimeError("a defect")

    monkeypatch.setattr(house.ledger, "sweep", fails)
    house.keeping.start(house.keeper)
    await until(lambda: not house.keeping.ledger_answers)


async def test_all_of_it_stops_with_the_keeper(house: House) -> None:
    house.keeping.start(house.keeper)
    assert len(house.keeper) >= 3
    await house.keeper.stop()
    assert len(house.keeper) == 0


async def test_dated_prices_come_into_force_while_it_runs(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, also where they are more than are switched at once."""
    monkeypatch.setattr(module, "_PRICES_SECONDS", 0.02)
    monkeypatch.setattr(module, "_PRICES_AT_ONCE", 3)
    moment = utc_now() + timedelta(seconds=0.2)
    dated = {str(at): [Dated(Period(moment, None), 0, at)] for at in range(100, 120)}
    table = RateTable("retail", [Rate("", "", "USD", 1)], [""], {}, dated)
    table.prices_at(moment - timedelta(seconds=1))
    house.store.replace(replace(house.store.policy, decks={"retail": table}))
    house.keeping.start(house.keeper)
    assert len(table) == 0
    await until(lambda: len(table) == 20)
    assert utc_now() >= moment
