"""Fixtures of the end-to-end tests: the program, its ledger and its peers are real processes and sockets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.peer import BUSY, Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.redis_server import RedisServer
from tests.e2e.sipp import Sipp
from tests.e2e.trunkwarden_process import RUNNING, Trunkwarden

Serve = Callable[..., Trunkwarden]
NewPeer = Callable[..., Peer]
NewSipp = Callable[..., Sipp]

TOOLS = {"sipp": "sip-tester", "redis-server": "redis-server"}


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    """Skip with the reason where a tool is missing; under CI that is a failure."""
    missing = [f"{tool} (Debian: {package})" for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A failing test shows what every running program had to say."""
    report = yield
    if report.failed:
        report.sections.extend((f"trunkwarden {one.process.pid}", one.diagnostics()) for one in RUNNING)
    return report


def _servers(root: Path) -> Iterator[Serve]:
    started: list[Trunkwarden] = []

    def serve(config: dict[str, Any], *options: str) -> Trunkwarden:
        started.append(Trunkwarden(config, root / f"server-{len(started)}", *options))
        return started[-1]

    try:
        yield serve
    finally:
        for one in started:
            one.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts the program; it is stopped with the test."""
    yield from _servers(tmp_path)


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts the program; it is stopped with the module."""
    yield from _servers(tmp_path_factory.mktemp("e2e"))


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """A real redis-server for this module."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A real redis-server for one test, to be ill-treated."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def provider() -> Iterator[Peer]:
    """The forced provider of this module, without reactions of its own."""
    peer = Peer(PROVIDER)
    yield peer
    peer.close()


@pytest.fixture
def busy(provider: Peer) -> Iterator[Peer]:
    """The provider answers every call with 486: what reaches it was admitted."""
    provider.reaction = BUSY
    yield provider
    provider.reaction = None


@pytest.fixture
def new_peer() -> Iterator[NewPeer]:
    """Makes peers that are closed with the test."""
    made: list[Peer] = []

    def make(host: str, *arguments: Any, **options: Any) -> Peer:
        made.append(Peer(host, *arguments, **options))
        return made[-1]

    yield make
    for peer in made:
        peer.close()


@pytest.fixture
def sipp(tmp_path: Path) -> Iterator[NewSipp]:
    """Starts SIPp processes that do not outlive the test."""
    made: list[Sipp] = []

    def make(name: str, address: tuple[str, int], **options: Any) -> Sipp:
        made.append(Sipp(name, tmp_path / f"sipp-{len(made)}", address, **options))
        return made[-1]

    yield make
    for process in made:
        process.kill()
