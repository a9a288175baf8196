"""What tests of several folders stand on: real servers for the ledger, and peers to call from and to."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.ledger.servers import Server
from tests.live import Line, line
from tests.routing.dns_server import DnsServer
from tests.webhooks.receiver import Receiver

# An example that takes long because the machine had something else to do is no failure; and the same tests
# have the same examples each time, but for soaks (see the Makefile).
settings.register_profile(
    "ours",
    deadline=None,
    derandomize="TRUNKWARDEN_LEDGER_RUNS" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ours")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, then those with many tests: what is left for the end is short."""
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: ("long" not in item.keywords, -count[item.path]))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Short enough for a Unix socket, whatever pytest calls its own."""
    path = Path(tempfile.mkdtemp(prefix="tw"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="tw"))
    started = Server("valkey", folder)
    yield started
    started.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_server(shared_server: Server) -> Server:
    """A server that holds nothing; it is not to be stopped."""
    shared_server.client().flushall()
    return shared_server


@pytest.fixture
def own_server(short_folder: Path) -> Iterator[Server]:
    """A server that the test may stop and kill."""
    started = Server("valkey", short_folder)
    yield started
    started.kill()


@pytest.fixture
def phones() -> Iterator[Line]:
    """A PBX and a provider."""
    with line() as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where webhooks are sent."""
    started = Receiver()
    yield started
    started.close()


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    """A name server that knows nothing yet."""
    server = DnsServer()
    yield server
    server.close()


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """The commands configure logging for their whole process: put back what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
