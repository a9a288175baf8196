"""The pump between sockets and core: a real instance without its HTTP process, real peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policy.reasons import ReasonCode
from proxy import server as module
from proxy.app import Application
from proxy.call import overload
from proxy.call.overload import Lateness, Overload
from proxy.call.session import CallSession
from proxy.sip.serialize import build_response
from tests.call.playbook import answer, in_dialog, invite
from tests.ledger.servers import Server, settled, until
from tests.live import Line, Peer, aside, configuration, running


@pytest.fixture
async def app(empty_server: Server, phones: Line, tmp_path: Path) -> AsyncIterator[Application]:
    content = configuration(phones, ledger={"url": empty_server.url})
    async with running(tmp_path, content, phones) as started:
        yield started


def be_impatient(app: Application, seconds: float) -> None:
    """With providers that say nothing; those that are to answer need more time on a busy machine."""
    app.core.settings = replace(app.core.settings, provider_response_seconds=seconds)


def a_pause_is_no_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left out or turned away because the machine stood still for a moment."""
    monkeypatch.setattr(module, "STALE_SECONDS", 3600.0)
    monkeypatch.setattr(overload, "INTERVAL_SECONDS", 3600.0)


def decisions(app: Application) -> dict[tuple[str, ...], int]:
    samples = app.metrics.snapshot()["samples"]["trunkwarden_admission_decisions_total"]
    return {tuple(labels): int(count) for labels, count in samples if count}


async def test_whole_call(app: Application, phones: Line) -> None:
    ok = await aside(phones.talk)
    assert app.metrics.calls_active == {"office": 1}
    (call,) = await app.ledger.calls()
    assert (call.trunk, call.owner) == ("office", app.instance)
    assert call.answered_ms is not None
    await aside(phones.hang_up, ok)
    await until(lambda: not app.accounting.live)
    assert app.metrics.calls_active == {"office": 0}
    await settled(app.ledger)
    assert await app.ledger.calls() == []
    assert decisions(app) == {("office", "admitted", ""): 1}
    app.log.flush()
    await settled(app.ledger)
    assert len(await app.ledger.records("decisions", 10)) == len(await app.ledger.records("calls", 10)) == 1


async def test_refusal_by_the_policy(app: Application, phones: Line) -> None:
    phones.dial("sip:+33142685300@127.0.0.1")
    refusal = await aside(phones.pbx.expect, "403 INVITE")
    assert refusal.first(b"warning") == b'399 trunkwarden "COUNTRY Destination Country Not Whitelisted"'
    assert decisions(app) == {("office", "refused", "COUNTRY"): 1}


async def test_emergency_call(app: Application, phones: Line) -> None:
    ok = await aside(phones.talk, "sip:112@127.0.0.1")
    assert await app.ledger.calls() == []
    await aside(phones.hang_up, ok)
    await until(lambda: not app.accounting.live)
    assert app.metrics.calls_active == {"office": 0}


async def test_silent_provider_and_retransmissions(
    empty_server: Server, phones: Line, tmp_path: Path
) -> None:
    content = configuration(phones, ledger={"url": empty_server.url}, timers={"t1_ms": "50"})
    async with running(tmp_path, content, phones) as app:
        be_impatient(app, 0.4)
        phones.dial()
        first = await aside(phones.provider.expect, "INVITE")
        again = await aside(phones.provider.expect, "INVITE")
        assert again.via.branch == first.via.branch
        await aside(phones.pbx.expect, "408 INVITE")
        await settled(app.ledger)
        assert await app.ledger.calls() == []


async def test_strangers_are_counted_and_sampled(
    app: Application, phones: Line, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Peer("127.0.0.9")
    for number in range(20):
        stranger.send(invite(branch=f"z9hG4bK-{number}", call_id=f"c{number}"), phones.proxy)
    for _ in range(20):
        await aside(stranger.expect, "403 INVITE")
    stranger.close()
    assert decisions(app) == {("", "refused", "SOURCE"): 20}
    warnings = [record for record in caplog.records if record.name == "proxy.server"]
    assert 1 <= len(warnings) <= 10
    assert app.server.stack.transactions == 0
    assert await app.ledger.records("decisions", 10) == []


async def test_panic_ends_a_talking_and_a_ringing_call(app: Application, phones: Line) -> None:
    await aside(phones.talk)
    await aside(phones.ring)
    app.server.hang_up_calls([account.session for account in app.accounting.live.values()])
    for bye in await aside(phones.take_byes):
        assert bye.first(b"reason") == b'Q.850;cause=31;text="Ended By Operator"'
    await aside(phones.pbx.expect, "480 INVITE")
    await aside(phones.provider.expect, "CANCEL")
    await until(lambda: not app.accounting.live)


async def test_hang_up_names_its_reason(app: Application, phones: Line) -> None:
    await aside(phones.talk)
    (account,) = app.accounting.live.values()
    app.server.hang_up(account.session, ReasonCode.SPEND)
    for bye in await aside(phones.take_byes):
        assert bye.first(b"reason") == b'Q.850;cause=21;text="Spend Limit Reached"'


async def test_ledger_away_is_answered_at_once(own_server: Server, phones: Line, tmp_path: Path) -> None:
    content = configuration(phones, ledger={"url": own_server.url})
    async with running(tmp_path, content, phones) as app:
        own_server.kill()
        await until(lambda: not app.ledger.connected)
        phones.dial()
        refusal = await aside(phones.pbx.expect, "503 INVITE")
        assert refusal.first(b"retry-after") == b"2"
        ok = await aside(phones.talk, "sip:112@127.0.0.1")
        await aside(phones.hang_up, ok)
        own_server.start()
        await until(lambda: app.ledger.connected)


# --- defects stay where they are ---


async def test_defect_in_one_message_costs_no_other(
    app: Application, phones: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handle = app.core.handle

    def fails_for_one(event: Any, now: float) -> None:
        if getattr(event, "request", None) is not None and event.request.call_id == b"call-1":
            raise RuntimeError("a defect")
        handle(event, now)

    monkeypatch.setattr(app.core, "handle", fails_for_one)
    phones.dial()
    ok = await aside(phones.talk)
    assert "could not be handled" in caplog.text
    assert ok.call_id == b"call-2"


async def test_defect_in_one_command_costs_no_other(
    app: Application, phones: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app.accounting, "answered", None)
    first = await aside(phones.talk)
    assert "Answered could not be executed" in caplog.text
    second = await aside(phones.talk)
    for ok in (first, second):
        await aside(phones.hang_up, ok)
    await until(lambda: not app.accounting.live)
    assert app.ledger.connected


async def test_defect_after_the_ledgers_answer_keeps_the_ledger(
    app: Application, phones: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    admitted, broken = CallSession.admitted, iter([True])

    def fails_once(session: CallSession, now: float) -> None:
        if next(broken, False):
            raise RuntimeError("a defect")
        admitted(session, now)

    monkeypatch.setattr(CallSession, "admitted", fails_once)
    phones.dial()
    await until(lambda: "could not go on" in caplog.text)
    await aside(phones.talk)
    assert app.ledger.connected


async def test_defect_in_a_timer_keeps_the_timers(
    app: Application, phones: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alarms, broken = app.core.handle_alarms, iter([True])

    def fails_once(now: float) -> None:
        if next(broken, False):
            raise RuntimeError("a defect")
        alarms(now)

    monkeypatch.setattr(app.core, "handle_alarms", fails_once)
    be_impatient(app, 0.2)
    phones.dial()
    await aside(phones.pbx.expect, "408 INVITE")
    assert "what was due could not be handled" in caplog.text


async def test_malformed_datagrams_between_good_ones(app: Application, phones: Line) -> None:
    for rubbish in (
        b"",
        b"\r\n\r\n",
        b"\x00" * 2000,
        b"INVITE",
        b"INVITE sip: SIP/2.0\r\n\r\n",
        b"\xff" * 70,
    ):
        phones.pbx.send(rubbish, phones.proxy)
    ok = await aside(phones.talk)
    phones.pbx.send(in_dialog("BYE", ok, cseq=2)[:60], phones.proxy)
    await aside(phones.hang_up, ok)


async def test_closed_server_sends_and_reads_nothing(app: Application, phones: Line) -> None:
    outgoing = await aside(phones.ring)
    app.server.close()
    phones.provider.send(answer(outgoing, 200), phones.proxy)
    assert await aside(phones.pbx.silent)
    assert app.accounting.live  # calls stay as they are


async def test_answer_without_a_transaction_is_dropped(app: Application, phones: Line) -> None:
    outgoing = await aside(phones.ring)
    forged = build_response(outgoing, 200, b"OK", to_tag=b"x").replace(b"z9hG4bKtw", b"z9hG4bKxx", 1)
    phones.provider.send(forged, phones.proxy)
    assert await aside(phones.pbx.silent)


async def test_many_at_once_against_a_capacity(
    empty_server: Server, phones: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_pause_is_no_overload(monkeypatch)
    content = configuration(phones, ledger={"url": empty_server.url}, trunk={"capacity_limit": "5"})
    async with running(tmp_path, content, phones) as app:
        for _ in range(60):
            phones.dial()
        await until(lambda: sum(decisions(app).values()) == 60)
        assert decisions(app) == {("office", "admitted", ""): 5, ("office", "refused", "CAPACITY"): 55}
        calls = {(await aside(phones.provider.expect, "INVITE")).call_id for _ in range(5)}
        assert len(calls) == 5
        assert len(await app.ledger.calls()) == 5


# --- more than can be served at once ---


class Behind:
    """Stands in for the overload controller of an instance that is behind for good."""

    def caught_up(self, now: float) -> None:
        """It never is."""

    def stands(self, now: float) -> bool:
        return True

    def begin_turn(self, behind: bool, now: float) -> None:
        """All are alike."""

    def sheds(self) -> bool:
        return True


async def test_burst_that_does_not_fit_into_one_turn_is_served_whole(
    empty_server: Server, phones: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_pause_is_no_overload(monkeypatch)
    content = configuration(phones, ledger={"url": empty_server.url}, trunk={"capacity_limit": "5"})
    async with running(tmp_path, content, phones) as app:
        # Nothing came for so long.
        app.server._overload = Overload(asyncio.get_running_loop().time() - 7200.0)
        for _ in range(150):
            phones.dial()
        await until(lambda: sum(decisions(app).values()) == 150)
        assert decisions(app) == {("office", "admitted", ""): 5, ("office", "refused", "CAPACITY"): 145}


async def test_calls_are_shed_and_nothing_else(
    app: Application, phones: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_pause_is_no_overload(monkeypatch)
    ok = await aside(phones.talk)
    await until(lambda: app.core.judging == 0)
    monkeypatch.setattr(app.server, "_overload", Behind())
    for _ in range(100):
        phones.dial()
    phones.pbx.send(in_dialog("BYE", ok, cseq=2, branch="z9hG4bK-bye"), phones.proxy)
    phones.dial("sip:112@127.0.0.1")
    assert (await aside(phones.provider.expect, "BYE")).call_id == ok.call_id
    assert (await aside(phones.provider.expect, "INVITE")).uri.startswith(b"sip:112@")
    for _ in range(100):
        refusal = await aside(phones.pbx.expect, "503 INVITE")
        assert refusal.first(b"warning") == b'399 trunkwarden "OVERLOAD Service Unavailable"'
    assert decisions(app)[("office", "refused", "OVERLOAD")] == 100
    assert decisions(app)[("office", "admitted", "")] == 2
    said = [record for record in caplog.records if "turned away" in record.message]
    assert 1 <= len(said) <= 10
    app.log.flush()
    await settled(app.ledger)
    assert len(await app.ledger.records("decisions", 10)) == 2


async def test_connections_shed_by_how_late_timers_are(app: Application) -> None:
    """What comes by connections waits in the system, where nobody sees how long."""
    now = asyncio.get_running_loop().time()
    server, late = app.server, Lateness()
    server._lateness = late
    for step in range(15):
        at = now - 1.5 + step / 10
        late.fired(at - 0.3, at)
    server.on_messages([])
    assert app.core.overloaded
    late.fired(now, now)
    server.on_messages([])
    assert not app.core.overloaded


async def test_timers_that_are_late_are_no_queue(app: Application, phones: Line) -> None:
    """On a machine that gives us our time in pieces everything is late, and all of it may be served."""
    now = asyncio.get_running_loop().time()
    app.server._overload = Overload(now - 10.0)
    for step in range(15):
        app.server._lateness.fired(now - 2.0, now - 1.5 + step / 10)
    await aside(phones.talk)
    assert not app.server._overload.stands(now + 0.5)
