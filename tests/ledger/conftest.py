"""The ledger's tests run on both servers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from proxy.ledger.keys import WHOLE
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from proxy.ledger.sharded_ledger import ShardedLedger, open_sharded_ledger
from tests.ledger.fleet import ClusterFleet
from tests.ledger.parts import ShardedOpener
from tests.ledger.servers import PATIENT, Opener, Server, need_faketime


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
    need_faketime()
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


@pytest.fixture(params=["redis", "valkey"])
def cluster(request: pytest.FixtureRequest, folder: Path) -> Iterator[ClusterFleet]:
    fleet = ClusterFleet(request.param, folder, key_slot(WHOLE.clock))
    yield fleet
    fleet.close()
