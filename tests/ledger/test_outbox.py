"""What is behind the wire arrives, once in effect, whatever happens to the server meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from proxy.ledger import outbox
from tests.ledger.servers import Opener, Server, Stopwatch, claim, scope, settled, until


async def test_settlements_survive_a_restart(server: Server, opener: Opener) -> None:
    server.client().config_set("appendfsync", "always")  # else it may forget what it did last
    ledger = await opener(server.url, deadline=10.0)
    trunk = scope()
    refs = [f"r{n}" for n in range(1500)]
    await asyncio.gather(*[ledger.reserve(claim(ref, trunk, hold=10)) for ref in refs])
    os.kill(server.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    for ref in refs[:700]:
        ledger.answered(ref, 0.0)
        ledger.settle(ref, 3)
    await asyncio.sleep(0.05)
    server.kill()
    await until(lambda: not ledger.connected)
    for ref in refs[700:]:
        ledger.settle(ref, 4)
    assert ledger.waiting == 700 * 2 + 800
    server.start()
    await settled(ledger)
    (usage,) = await ledger.usage([trunk])
    assert (usage.active_calls, usage.spent, usage.reserved) == (0, 700 * 3 + 800 * 4, 0)


async def test_answers_that_were_lost_have_one_effect(server: Server, opener: Opener) -> None:
    """The server did it, but nobody heard: what is sent again changes nothing."""
    patient, ledger = await opener(server.url), await opener(server.url, deadline=1.5)
    trunk = scope()
    for n in range(100):
        await patient.reserve(claim(f"r{n}", trunk, hold=10))
    os.kill(server.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    for n in range(50):
        ledger.settle(f"r{n}", 7)
    await until(lambda: not ledger.connected)
    os.kill(server.process.pid, signal.SIGCONT)  # type: ignore[union-attr]
    await settled(ledger)
    (usage,) = await patient.usage([trunk])
    assert (usage.active_calls, usage.spent, usage.reserved) == (50, 350, 500)


async def test_an_awaited_verb_does_not_stand_behind_a_long_backlog(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    server.kill()
    await until(lambda: not ledger.connected)
    for n in range(20_000):
        ledger.release(f"r{n}")
    server.start()
    await until(lambda: ledger.connected)
    await ledger.ping()
    assert ledger.waiting > 1000
    await until(lambda: ledger.waiting == 0, 60)


async def test_answered_keeps_its_moment_over_an_outage(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    server.client().config_set("appendfsync", "always")  # else it may forget what it did last
    loop = asyncio.get_running_loop()
    before = loop.time()
    await ledger.reserve(claim("r1", scope()))
    reserved = loop.time()
    await asyncio.sleep(0.2)
    server.kill()
    await until(lambda: not ledger.connected)
    at = loop.time()
    ledger.answered("r1", at)
    await asyncio.sleep(2.0)
    server.start()
    await settled(ledger)
    after = loop.time() - 2.0  # which is how long the server was away at least
    (call,) = await ledger.calls()
    assert call.answered_ms is not None
    assert at - reserved - 0.05 < (call.answered_ms - call.reserved_ms) / 1000 < after - before + 0.05


async def test_a_server_that_refuses_is_tried_again(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    trunk = scope()
    await ledger.reserve(claim("r1", trunk, hold=10))
    server.client().replicaof("127.0.0.1", "1")
    ledger.settle("r1", 10)
    ledger.append_records("calls", [b"{}"])
    await asyncio.sleep(0.3)
    await until(lambda: ledger.waiting == 1)
    assert ledger.records_dropped <= 1
    server.client().replicaof("NO", "ONE")
    await settled(ledger)
    (usage,) = await ledger.usage([trunk])
    assert usage.spent == 10


async def test_what_can_never_be_done_is_given_up(
    server: Server, opener: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "PAUSE", 0.001)
    ledger = await opener(server.url)
    await ledger.reserve(claim("r1", scope("trunk:damaged")))
    await ledger.reserve(claim("r2", scope()))
    server.client().delete("{tw}:s:trunk:damaged")
    server.client().set("{tw}:s:trunk:damaged", "not a hash")
    with caplog.at_level(logging.ERROR):
        ledger.settle("r1", 1)
        ledger.settle("r2", 1)
        await settled(ledger)
    assert "settle of call r1 was given up: WRONGTYPE" in caplog.text
    assert [call.ref for call in await ledger.calls()] == ["r1"]


async def test_records_are_bounded_and_counted(
    server: Server, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_RECORDS", 100)
    ledger = await opener(server.url)
    server.kill()
    await until(lambda: not ledger.connected)
    ledger.append_records("calls", [b"%d" % n for n in range(150)])
    assert ledger.records_dropped == 50
    server.start()
    await settled(ledger)
    lines = await ledger.records("calls", 1000)
    assert (len(lines), lines[0], lines[-1]) == (100, b"149", b"50")


async def test_the_queue_is_bounded(
    server: Server, opener: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "MOST_KEPT", 10)
    ledger = await opener(server.url)
    server.kill()
    await until(lambda: not ledger.connected)
    for n in range(12):
        ledger.settle(f"r{n}", 1)
    assert ledger.waiting == 10
    assert "settle of call r0 was given up" in caplog.text
    server.start()
    await settled(ledger)


async def test_close_sends_what_is_queued(server: Server, opener: Opener) -> None:
    ledger, other = await opener(server.url), await opener(server.url)
    for n in range(2000):
        ledger.release(f"r{n}")
    await ledger.close()
    assert server.client().exists("{tw}:k:r1999") == 1
    await other.ping()
    server.kill()
    await until(lambda: not other.connected)
    other.settle("x", 1)
    async with Stopwatch() as watch:
        await other.close()
    assert watch.seconds < 3


async def test_records_share_commands_and_keep_their_streams(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    keeping = ledger._membership._keeping
    assert keeping is not None
    keeping.cancel()  # it runs a script each second
    client = server.client()
    client.config_resetstat()
    ledger.append_records("decisions", [b"d%d" % n for n in range(outbox.RECORDS_AT_ONCE + 1)])
    ledger.append_records("calls", [b"c0", b"c1"])
    await settled(ledger)
    assert await ledger.records("calls", 9) == [b"c1", b"c0"]
    lines = await ledger.records("decisions", 1000)
    assert lines == [b"d%d" % n for n in reversed(range(outbox.RECORDS_AT_ONCE + 1))]
    statistics = client.info("commandstats")
    scripts = [name for name in statistics if name.startswith("cmdstat_eval")]
    assert sum(statistics[name]["calls"] for name in scripts) <= 3 + 1  # NOSCRIPT comes once


async def test_records_that_the_server_refuses_are_counted_one_by_one(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    server.client().set("{tw}:records:calls", "no stream")
    ledger.append_records("calls", [b"c0", b"c1", b"c2"])
    await until(lambda: ledger.waiting == 0)
    assert ledger.records_dropped == 3
