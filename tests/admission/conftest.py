from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from policy.compiled import Policy
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from tests.admission.bench import Bench
from tests.ledger.servers import PATIENT, Server


@pytest.fixture
def server(empty_server: Server) -> Server:
    return empty_server


@pytest.fixture
async def ledger(server: Server) -> AsyncIterator[RedisLedger]:
    opened = await open_ledger(server.url, server.folder, lease_seconds=30, owner="one", deadline=PATIENT)
    yield opened
    await opened.close()


@pytest.fixture
async def frail_ledger(own_server: Server) -> AsyncIterator[RedisLedger]:
    """A ledger on a server that the test may kill."""
    opened = await open_ledger(
        own_server.url, own_server.folder, lease_seconds=30, owner="one", deadline=PATIENT
    )
    yield opened
    await opened.close()


@pytest.fixture
async def hasty_ledger(own_server: Server) -> AsyncIterator[RedisLedger]:
    """A ledger on a server that the test may stop; it waits a second for an answer."""
    opened = await open_ledger(own_server.url, own_server.folder, lease_seconds=30, owner="one", deadline=1.0)
    yield opened
    await opened.close()


@pytest.fixture
def bench(ledger: RedisLedger) -> Callable[[Policy], Bench]:
    return lambda compiled: Bench(ledger, compiled)
