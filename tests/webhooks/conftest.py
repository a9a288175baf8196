from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ledger.servers import Server
from tests.webhooks.queues import running_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started
