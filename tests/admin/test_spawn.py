from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from proxy.admin import spawn
from proxy.admin.settings import AdminSettings
from proxy.admin.spawn import AdminProcess
from tests.admin.stage import Target, until, until_ready


def _settings(host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> AdminSettings:
    return AdminSettings(host, port, token, "unix:///nowhere", Path("."))


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., AdminProcess]]:
    made: list[AdminProcess] = []

    def build(**settings: object) -> AdminProcess:
        made.append(AdminProcess(_settings(**settings), Target()))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for admin in made:
        await admin.stop()


async def test_it_serves_when_start_returns(make: Callable[..., AdminProcess]) -> None:
    admin = make()
    url = admin.bind()
    await admin.start(60)
    assert admin.pid is not None
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        await until_ready(http)
    await admin.stop()
    assert admin.pid is None
    async with httpx.AsyncClient(base_url=url) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/healthz")


async def test_a_token_is_asked_for(make: Callable[..., AdminProcess]) -> None:
    admin = make(host="0.0.0.0", token="s3cret")
    port = admin.bind().rpartition(":")[2]
    await admin.start(60)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        assert (await http.get("/v1/policy")).status_code == 401
        assert (await http.get("/v1/policy", headers={"Authorization": "Bearer s3cret"})).status_code == 200
        assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_a_token_only_loopback_is_served(host: str) -> None:
    with pytest.raises(ValueError, match="needs a token"):
        AdminProcess(_settings(host=host), Target()).bind()


def test_an_empty_token_is_no_token() -> None:
    with pytest.raises(ValueError, match="empty"):
        AdminProcess(_settings(token=""), Target()).bind()


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        AdminProcess(_settings(port=taken.getsockname()[1]), Target()).bind()


async def test_ipv6(make: Callable[..., AdminProcess]) -> None:
    admin = make(host="::1")
    try:
        url = admin.bind()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert url.startswith("http://[::1]:")
    await admin.start(60)
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        assert (await http.get("/v1/policy")).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_process_that_ends_is_started_again(
    make: Callable[..., AdminProcess], number: signal.Signals
) -> None:
    admin = make()
    url = admin.bind()
    await admin.start(60)
    first = admin.pid
    assert first is not None
    os.kill(first, number)
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=url, timeout=60) as http:
        while admin.pid in (first, None):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # Whoever connects before the new one listens waits for it: the port never went away.
        assert (await http.get("/healthz")).status_code == 200
        await until_ready(http)
    assert admin.restarts == 1


async def test_one_that_never_starts_is_given_up(
    make: Callable[..., AdminProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    admin = make()
    admin.bind()
    with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        await admin.start(0.2)
    assert admin.pid is None


async def test_restarts_come_slower_and_slower(
    make: Callable[..., AdminProcess], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(spawn, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(spawn, "_LONGEST_PAUSE", 0.04)
    admin = make()
    admin.bind()
    starting = asyncio.get_running_loop().create_task(admin.start(60))

    def pauses() -> list[object]:
        told = [record for record in caplog.records if record.name == spawn.__name__]
        return [record.args[1] for record in told if isinstance(record.args, tuple)]

    async def four() -> bool:
        return len(pauses()) >= 4

    await until(four, 30)
    starting.cancel()
    await asyncio.wait([starting])
    assert pauses()[:4] == [0.01, 0.02, 0.04, 0.04]


async def test_the_control_socket_is_for_us_alone_and_goes_with_us(
    make: Callable[..., AdminProcess], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    admin = make()
    admin.bind()
    await admin.start(60)
    (folder,) = os.scandir(tmp_path)
    assert folder.stat().st_mode & 0o077 == 0
    assert os.listdir(folder) == ["control"]
    await admin.stop()
    assert os.listdir(tmp_path) == []


async def test_no_file_of_the_working_directory_is_taken_for_ours(
    make: Callable[..., AdminProcess], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not the json you wanted')")
    (tmp_path / "proxy.py").write_text("raise SystemExit('not the proxy you wanted')")
    monkeypatch.chdir(tmp_path)
    admin = make()
    admin.bind()
    await admin.start(60)
    assert admin.restarts == 0
