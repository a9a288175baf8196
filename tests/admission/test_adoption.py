"""Adoption against a real ledger; whole instances are in tests/e2e/test_adoption.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.admission.accounting import Accounting
from proxy.admission.adoption import Adoption
from proxy.call.elsewhere import Elsewhere
from proxy.ledger.ledger import Claim
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from proxy.observe.metrics import Metrics
from tests.call.playbook import PBX, Playbook, established, in_dialog
from tests.call.test_memory import SURVIVOR, TOKENS, left, survivor
from tests.ledger.servers import PATIENT, Server, settled

LEASE_SECONDS = 2


class Survivor:
    """An instance that adopts, beside the ledger of one that is gone."""

    def __init__(self, ledger: RedisLedger) -> None:
        self.play = survivor()
        self.clock = asyncio.get_running_loop().time
        self.play.now = self.clock()
        core = self.play.core
        core.elsewhere = Elsewhere(core, lambda ref: TOKENS)
        self.metrics = Metrics()
        self.accounting = Accounting(self.play.store, ledger, LEASE_SECONDS, lambda *_: None)
        self.pumped = 0
        self.adoption = Adoption(
            core,
            self.play.store,
            ledger,
            self.accounting,
            self.metrics,
            lambda ref: TOKENS,
            LEASE_SECONDS,
            self.clock,
            self.pump,
        )

    def pump(self, now: float) -> None:
        self.pumped += 1
        self.play.now = now
        self.play.pass_time(0.0).pump()


@pytest.fixture
async def ledgers(own_server: Server) -> AsyncIterator[list[RedisLedger]]:
    made = [
        await open_ledger(
            own_server.url, own_server.folder, lease_seconds=LEASE_SECONDS, owner=owner, deadline=PATIENT
        )
        for owner in ("gone", "here")
    ]
    yield made
    for ledger in made:
        await ledger.close()


async def answered_call(ledger: RedisLedger, state: bytes) -> None:
    await ledger.reserve(Claim("ref1", "office", (), 0, b"{}"))
    ledger.answered("ref1", asyncio.get_running_loop().time(), state=state)
    await settled(ledger)


async def test_a_lapsed_call_is_adopted_probed_and_counted(ledgers: list[RedisLedger]) -> None:
    first = Playbook()
    established(first)
    await answered_call(ledgers[0], left(first))
    here = Survivor(ledgers[1])
    assert await here.adoption.adopt_lapsed() == 0

    async with asyncio.timeout(LEASE_SECONDS + 30):
        while await here.adoption.adopt_lapsed() == 0:  # noqa: ASYNC110 -- the ledger tells nobody
            await asyncio.sleep(0.05)
    assert list(here.play.core.sessions) == ["ref1"]
    assert list(here.accounting.live) == ["ref1"]
    assert here.play.take() == ["carrier <- OPTIONS", "pbx <- OPTIONS"]
    assert await here.adoption.adopt_lapsed() == 0


async def test_a_request_brings_its_call(ledgers: list[RedisLedger]) -> None:
    first = Playbook()
    ok = established(first)
    await answered_call(ledgers[0], left(first))
    here = Survivor(ledgers[1])
    here.play.receive(in_dialog("BYE", ok, cseq=2), PBX, SURVIVOR)
    await here.adoption.fetch("ref1")
    assert here.play.take() == ["carrier <- BYE"]
    assert here.pumped == 1


async def test_a_call_that_cannot_be_read_is_settled_with_what_it_paid(ledgers: list[RedisLedger]) -> None:
    await answered_call(ledgers[0], b"nonsense")
    here = Survivor(ledgers[1])
    await here.adoption.fetch("ref1")
    assert here.play.core.sessions == {}
    await settled(ledgers[1])
    assert await ledgers[1].calls() == []


async def test_a_call_that_still_rings_is_left_where_it_is(ledgers: list[RedisLedger]) -> None:
    """Else it would be answered there, and nobody would count it."""
    await ledgers[0].reserve(Claim("ref1", "office", (), 0, b"{}"))
    here = Survivor(ledgers[1])
    ok = established(Playbook())
    here.play.receive(in_dialog("INFO", ok, cseq=2), PBX, SURVIVOR)
    await here.adoption.fetch("ref1")
    assert here.play.take() == ["pbx <- 500 (INFO)"]
    await settled(ledgers[1])
    assert [call.owner for call in await ledgers[1].calls()] == ["gone"]


async def test_a_ledger_that_is_gone_ends_no_call(ledgers: list[RedisLedger], own_server: Server) -> None:
    ok = established(Playbook())
    here = Survivor(ledgers[1])
    here.play.receive(in_dialog("BYE", ok, cseq=2), PBX, SURVIVOR)
    own_server.kill()
    await here.adoption.fetch("ref1")
    assert here.play.take() == ["pbx <- 500 (BYE)"]
