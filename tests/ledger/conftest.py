"""The ledger's tests run on both servers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from proxy.ledger.sharded_ledger import ShardedLedger, open_sharded_ledger
from tests.ledger.parts import ShardedOpener
from tests.ledger.servers import FAKETIME, PATIENT, Opener, Server


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a Unix socket, whatever pytest calls its own."""
    path = Path(tempfile.mkdtemp(prefix="tw"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Server]:
    started = Server(request.param, folder)
    yield started
    started.kill()


@pytest.fixture(params=["redis", "valkey"])
def timed_server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Server]:
    """A server whose clock the test moves."""
    if not FAKETIME.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("libfaketime is missing: apt-get install faketime")
        pytest.skip("libfaketime is missing: apt-get install faketime")
    started = Server(request.param, folder, faketime=True)
    yield started
    started.kill()


@pytest.fixture
async def opener(folder: Path) -> AsyncIterator[Opener]:
    """Opens ledgers and closes them after the test."""
    opened: list[RedisLedger] = []

    async def open_one(
        url: str, owner: str = "one", lease_seconds: float = 30.0, deadline: float = PATIENT
    ) -> RedisLedger:
        ledger = await open_ledger(
            url, folder / "data", lease_seconds=lease_seconds, owner=owner, deadline=deadline
        )
        opened.append(ledger)
        return ledger

    yield open_one
    for ledger in opened:
        await ledger.close()


@pytest.fixture
async def ledger(server: Server, opener: Opener) -> RedisLedger:
    return await opener(server.url)


@pytest.fixture
async def timed_ledger(timed_server: Server, opener: Opener) -> RedisLedger:
    return await opener(timed_server.url)


@pytest.fixture
async def sharded_opener(folder: Path) -> AsyncIterator[ShardedOpener]:
    opened: list[ShardedLedger] = []

    async def open_one(url: str, owner: str = "one", lease_seconds: float = 30.0) -> ShardedLedger:
        ledger = await open_sharded_ledger(
            url, folder / "data", lease_seconds=lease_seconds, owner=owner, deadline=PATIENT
        )
        opened.append(ledger)
        return ledger

    yield open_one
    for ledger in opened:
        await ledger.close()
