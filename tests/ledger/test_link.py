"""What callers see while the server is slow, stopped, killed, or back."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from proxy.ledger.ledger import LedgerUnavailable, Renewal, Renewed, Reservation
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from tests.ledger.servers import PATIENT, Opener, Server, Stopwatch, claim, scope, settled, until


class Observer:
    def __init__(self) -> None:
        self.errors: list[str] = []
        self.seconds: list[tuple[str, float]] = []

    def ledger_seconds(self, verb: str, seconds: float) -> None:
        self.seconds.append((verb, seconds))

    def ledger_error(self, kind: str) -> None:
        self.errors.append(kind)


async def unavailable(ledger: RedisLedger, ref: str) -> tuple[LedgerUnavailable, float]:
    async with Stopwatch() as watch:
        with pytest.raises(LedgerUnavailable) as error:
            await ledger.reserve(claim(ref, scope()))
    return error.value, watch.seconds


async def test_a_killed_server_fails_fast_and_is_found_again(server: Server, opener: Opener) -> None:
    server.client().config_set("appendfsync", "always")  # else it may forget what it did last
    ledger = await opener(server.url)
    trunk = scope()
    await ledger.reserve(claim("before", trunk, hold=3))
    server.kill()
    await until(lambda: not ledger.connected)
    took: list[float] = []
    for n in range(20):
        error, seconds = await unavailable(ledger, f"away{n}")
        assert error.kind == "connection"
        assert not error.sent
        took.append(seconds)
    assert sorted(took)[10] < 0.25  # some may fall into a moment in which the machine does something else
    with pytest.raises(LedgerUnavailable):
        await ledger.usage([trunk])
    with pytest.raises(LedgerUnavailable):
        await ledger.renew([Renewal("before", 1, 1, (trunk,))] * 100)
    server.start()
    await until(lambda: ledger.connected, 3.0)
    (usage,) = await ledger.usage([trunk])
    assert (usage.active_calls, usage.reserved) == (1, 3)
    assert isinstance(await ledger.reserve(claim("after", trunk)), Reservation)


async def test_what_was_under_way_when_it_was_killed(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    os.kill(server.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    waiting = [asyncio.ensure_future(ledger.reserve(claim(f"r{n}", scope()))) for n in range(50)]  # noqa: TID251
    await asyncio.sleep(0.05)
    server.kill()
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENT / 2)
    assert {(type(one), getattr(one, "kind", ""), getattr(one, "sent", "")) for one in outcomes} == {
        (LedgerUnavailable, "connection", True)
    }


async def test_a_stopped_server_times_out_and_its_late_effect_is_released(
    server: Server, opener: Opener
) -> None:
    """The reservation that timed out may still happen; the release that follows wins, in any order."""
    ledger = await opener(server.url, deadline=1.0)
    trunk = scope()
    os.kill(server.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    start = asyncio.get_running_loop().time()
    error, seconds = await unavailable(ledger, "late")
    assert error.kind == "timeout"
    assert error.sent
    assert asyncio.get_running_loop().time() - start > 0.99
    assert seconds < 5.0
    ledger.release("late")
    error, seconds = await unavailable(ledger, "next")
    assert seconds < 0.9  # at once: nobody waits for the deadline again
    os.kill(server.process.pid, signal.SIGCONT)  # type: ignore[union-attr]
    await until(lambda: ledger.connected, 3.0)
    await settled(ledger)
    (usage,) = await ledger.usage([trunk])
    assert usage.active_calls == 0
    assert await ledger.calls() == []


async def test_script_flush_fails_no_call(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    trunk = scope(capacity=1000)
    client = server.client()
    for n in range(300):
        if n % 7 == 0:
            client.script_flush()
        assert isinstance(await ledger.reserve(claim(f"r{n}", trunk)), Reservation)
        if n % 5 == 0:
            client.script_flush()
        ledger.answered(f"r{n}", 0.0)
        assert await ledger.renew([Renewal(f"r{n}", 1, 0, (trunk,))]) == [Renewed.GRANTED]
        ledger.settle(f"r{n}", 2)
    (usage,) = await ledger.usage([trunk])
    assert (usage.active_calls, usage.spent) == (0, 600)


async def test_no_sweep_in_the_first_lease_after_a_reconnection(server: Server, opener: Opener) -> None:
    server.client().config_set("appendfsync", "always")  # else it may forget what it did last
    ledger = await opener(server.url, lease_seconds=1.2)
    trunk = scope()
    await ledger.reserve(claim("r1", trunk))
    server.kill()
    await asyncio.sleep(1.3)
    server.start()
    await until(lambda: ledger.connected)
    assert await ledger.sweep() == 0
    assert await ledger.renew([Renewal("r1", 0, 0, (trunk,))]) == [Renewed.GRANTED]
    await ledger.reserve(claim("r2", trunk))
    await asyncio.sleep(1.25)
    assert await ledger.sweep() == 2


async def test_refusals_of_the_server_have_their_kind(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    client = server.client()
    await ledger.reserve(claim("r1", scope(), hold=5))
    client.config_set("maxmemory", "1mb")
    error, _ = await unavailable(ledger, "r2")
    assert error.kind == "oom"
    # What gives memory and money back goes on.
    ledger.settle("r1", 5)
    await settled(ledger)
    (usage,) = await ledger.usage([scope()])
    assert (usage.active_calls, usage.spent) == (0, 5)
    client.config_set("maxmemory", "0")
    client.replicaof("127.0.0.1", "1")
    error, _ = await unavailable(ledger, "r3")
    assert error.kind == "readonly"
    client.replicaof("NO", "ONE")
    client.set("{tw}:clock", "nonsense")
    error, _ = await unavailable(ledger, "r4")
    assert error.kind == "script"
    client.delete("{tw}:clock")
    client.hset("{tw}:clock", "a", "b")
    error, _ = await unavailable(ledger, "r5")
    assert error.kind == "other"


async def test_the_observer_hears_of_it(server: Server, folder: object) -> None:
    observer = Observer()
    ledger = await open_ledger(
        server.url, server.folder, lease_seconds=30, owner="x", observer=observer, deadline=PATIENT
    )
    keeping = ledger._membership._keeping
    assert keeping is not None
    keeping.cancel()  # it asks each second
    await ledger.reserve(claim("r1", scope()))
    ledger.settle("r1", 0)
    await ledger.ping()
    verbs = [verb for verb, _ in observer.seconds if verb != "join"]
    assert verbs == ["reserve", "settle", "ping"]
    assert all(0 < seconds < PATIENT for _, seconds in observer.seconds)
    server.kill()
    await until(lambda: not ledger.connected)
    with pytest.raises(LedgerUnavailable):
        await ledger.ping()
    assert observer.errors == ["connection"]
    await ledger.close()
