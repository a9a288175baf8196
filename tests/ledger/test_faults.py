"""Faults of the server and of instances, one by one, with the bound that docs/failure-modes.md states."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.ledger.ledger import LedgerUnavailable, Registration, Renewal, Renewed, Reservation
from proxy.ledger.redis_ledger import RedisLedger
from tests.ledger.servers import (
    FAKETIME,
    Opener,
    Server,
    Stopwatch,
    claim,
    is_busy,
    need_faketime,
    scope,
    settled,
    until,
)

TRUNK = (scope(threshold=1000, capacity=50),)
INSTANCE = """
import asyncio, sys
from pathlib import Path
from proxy.ledger.ledger import Renewal
from proxy.ledger.redis_ledger import open_ledger
from tests.ledger.servers import claim, scope, settled
TRUNK = (scope(threshold=1000, capacity=50),)

async def main(url, folder):
    ledger = await open_ledger(url, Path(folder), lease_seconds=0.4, owner="child", deadline=10.0)
    for n in range(3):
        await ledger.reserve(claim(f"r{n}", *TRUNK, hold=100))
        ledger.answered(f"r{n}", asyncio.get_running_loop().time(), state=b"dialog")
    await settled(ledger)
    print("up", flush=True)
    while True:
        outcomes = await ledger.renew([Renewal(f"r{n}", 10, 90, TRUNK) for n in range(3)])
        if "fenced" in outcomes:
            for n in range(3):
                ledger.settle(f"r{n}", 900, TRUNK)
                ledger.release(f"r{n}")
            await settled(ledger)
            print(" ".join(outcomes), flush=True)
            return
        await asyncio.sleep(0.05)

asyncio.run(main(*sys.argv[1:]))
"""


async def numbers(ledger: RedisLedger) -> tuple[int, int, int]:
    (usage,) = await ledger.usage(TRUNK)
    return usage.active_calls, usage.spent, usage.reserved


async def adopted(ledger: RedisLedger, count: int) -> list[str]:
    for _ in range(500):
        refs = await ledger.lapsed()
        if len(refs) == count:
            break
        await asyncio.sleep(0.02)
    return [call.ref for call in await ledger.adopt(refs)]


async def child(server: Server, **environment: str) -> asyncio.subprocess.Process:
    """Another instance, as a process of its own, with three calls up."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        INSTANCE,
        server.url,
        str(server.folder),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment},
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"up\n"
    return process


async def test_instance_killed(server: Server, opener: Opener) -> None:
    """kill -9 with calls up: they stay counted, and a survivor has them within a lease. Nothing is lost."""
    survivor = await opener(server.url, "survivor")
    process = await child(server)
    process.kill()
    await process.wait()
    assert sorted(await adopted(survivor, 3)) == ["r0", "r1", "r2"]
    calls, spent, reserved = await numbers(survivor)
    assert (calls, spent + reserved) == (3, 300)
    for n in range(3):
        survivor.settle(f"r{n}", 40, TRUNK, epoch=2)
    await settled(survivor)
    assert await numbers(survivor) == (0, 120, 0)


@pytest.mark.parametrize("clock", ["", "-3 days"])
async def test_instance_that_slept_is_fenced(server: Server, opener: Opener, clock: str) -> None:
    """SIGSTOP past the lease, then SIGCONT: it neither charges nor releases, whatever its clock says."""
    if clock:
        need_faketime()
    environment = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    survivor = await opener(server.url, "survivor")
    process = await child(server, **(environment if clock else {}))
    assert process.stdout is not None
    await asyncio.sleep(0.2)
    os.kill(process.pid, signal.SIGSTOP)
    assert len(await adopted(survivor, 3)) == 3
    before = await numbers(survivor)
    os.kill(process.pid, signal.SIGCONT)
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"fenced fenced fenced\n"
    await process.wait()
    assert await numbers(survivor) == before
    assert before[0] == 3


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_killed_in_a_burst(server: Server, opener: Opener, fsync: str) -> None:
    """The server's process is killed amid reservations: nothing that was answered is lost, nothing leaks."""
    server.client().config_set("appendfsync", fsync)
    ledger = await opener(server.url)
    admitted: list[str] = []

    async def tell(*_: object) -> None:
        """With `everysec` a server may answer before it has written, while its disk is busy."""
        await ledger.register(
            [Registration(ref, "t", TRUNK, 1, 1.0, 1.0, 0, 0, 1, b"{}") for ref in admitted]
        )

    async def one(n: int) -> None:
        await asyncio.sleep(n / 2000)
        try:
            if isinstance(await ledger.reserve(claim(f"r{n}", *TRUNK, hold=1)), Reservation):
                admitted.append(f"r{n}")
        except LedgerUnavailable as error:
            if error.sent:
                ledger.release(f"r{n}")

    ledger.on_loss(tell)
    burst = asyncio.gather(*[one(n) for n in range(200)])
    await asyncio.sleep(0.01)
    server.kill()
    server.start()
    await burst
    await until(lambda: ledger.connected)
    await settled(ledger)
    assert await numbers(ledger) == (len(admitted), 0, len(admitted))
    assert {call.ref for call in await ledger.calls()} == set(admitted)
    assert len(admitted) <= 50


async def refused(ledger: RedisLedger, ref: str) -> str:
    with pytest.raises(LedgerUnavailable) as error:
        await ledger.reserve(claim(ref, *TRUNK))
    return error.value.kind


async def test_every_refusal_of_the_server_closes_and_opens_again(server: Server, opener: Opener) -> None:
    """NOAUTH, maxclients, MISCONF, WRONGTYPE: no call is admitted, none leaks, right again within 2 s."""
    server.kill()
    server.options = ("--enable-protected-configs", "yes")
    server.start()
    ledger = await opener(server.url)
    client = server.client()

    async def right_again(ref: str) -> None:
        await until(lambda: ledger.connected, 2.5)
        assert isinstance(await ledger.reserve(claim(ref, *TRUNK)), Reservation)
        ledger.release(ref)
        await settled(ledger)
        assert (await numbers(ledger))[0] == 0

    async def refused_as(ref: str, *kinds: str) -> None:
        """Refused for one of these reasons, once the server has been tried again."""
        async with asyncio.timeout(10):
            while await refused(ledger, ref) not in kinds:  # noqa: ASYNC110 -- nobody tells when
                await asyncio.sleep(0.02)

    client.config_set("requirepass", "secret")
    client.client_kill_filter(_type="normal", skipme=True)
    await until(lambda: not ledger.connected)
    await refused_as("a", "noauth")
    client.config_set("requirepass", "")
    await right_again("b")

    client.config_set("maxclients", 1)
    client.client_kill_filter(_type="normal", skipme=True)
    await until(lambda: not ledger.connected)
    await refused_as("c", "busy", "connection")  # it says why, and hangs up
    client.config_set("maxclients", 1000)
    await right_again("d")

    (server.folder / "taken").mkdir()
    client.config_set("save", "100000 100000")
    client.config_set("dbfilename", "taken")
    client.bgsave()
    await until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    assert await refused(ledger, "e") == "readonly"
    client.config_set("stop-writes-on-bgsave-error", "no")
    await right_again("f")

    client.delete("{tw}:s:trunk:t")
    client.rpush("{tw}:s:trunk:t", "nonsense")
    assert await refused(ledger, "g") == "other"
    assert isinstance(await ledger.reserve(claim("h", scope("trunk:other"))), Reservation)  # no other trunk's
    server.kill()
    server.start()  # a scope that is no hash does not keep the ledger from being rebuilt
    client = server.client()
    async with asyncio.timeout(30):
        while True:
            with suppress(LedgerUnavailable):
                assert isinstance(await ledger.reserve(claim("j", scope("trunk:other"))), Reservation)
                break
            await asyncio.sleep(0.02)
    client.delete("{tw}:s:trunk:t")
    await right_again("i")


async def test_a_script_that_runs_for_ever_is_busy(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    client = server.client()
    client.config_set("busy-reply-threshold", 50)
    waiting = asyncio.gather(
        asyncio.to_thread(server.client().eval, "while true do end", 0), return_exceptions=True
    )
    await until(lambda: is_busy(client))
    assert await refused(ledger, "a") == "busy"
    client.script_kill()
    await waiting
    await until(lambda: ledger.connected, 2.5)
    assert isinstance(await ledger.reserve(claim("b", *TRUNK)), Reservation)
    ledger.release("a")
    await settled(ledger)
    assert (await numbers(ledger))[0] == 1


async def test_a_slow_ledger_answers_within_its_deadline(server: Server, opener: Opener) -> None:
    """750 ms on the way: what is asked is answered, what is told waits in order, nothing happens twice."""
    relay_path = server.folder / "slow.sock"

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(server.socket))
        loop = asyncio.get_running_loop()

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
            while data := await source.read(65536):
                loop.call_later(delay, sink.write, data)

        await asyncio.gather(pump(reader, back, 0.375), pump(there, writer, 0.375), return_exceptions=True)
        back.close()
        writer.close()

    slow = await asyncio.start_unix_server(relay, str(relay_path))
    direct = await opener(server.url, "direct")
    loop = asyncio.get_running_loop()
    ledger: RedisLedger | None = None
    try:
        ledger = await opener(f"unix://{relay_path}", "slow", deadline=20.0)
        claims = [claim(f"r{n}", *TRUNK, hold=1) for n in range(60)]
        start = loop.time()
        async with Stopwatch() as watch:
            answers = await asyncio.gather(*[ledger.reserve(one) for one in claims])
        assert loop.time() - start > 0.7
        assert watch.seconds < 5
        assert sum(isinstance(answer, Reservation) for answer in answers) == 50
        for n in range(60):
            ledger.settle(f"r{n}", 1)
            ledger.settle(f"r{n}", 1)
        await until(lambda: ledger is not None and ledger.waiting == 0, 10)
        assert await numbers(direct) == (0, 50, 0)
        assert await ledger.renew([Renewal("r1", 1, 1, TRUNK)]) == [Renewed.FENCED]
    finally:
        slow.close()
