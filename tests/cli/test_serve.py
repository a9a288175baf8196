"""`trunkwarden serve` as a process: its one line, its signals, its exit codes, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.cli.serve import run
from proxy.configuration import load_policy
from proxy.ledger import redis_ledger
from tests.call.playbook import answer
from tests.live import Line, alive, configuration, descendants, only_linux, write

READY = re.compile(
    r"ready sip=udp:127\.0\.0\.1:(\d+) admin=(http://127\.0\.0\.1:\d+) ledger=embedded policy=([0-9a-f]+)\n"
)


AT_ONCE, DRAIN = 20.0, "60"
"""Seconds in which a busy machine ends a program that waits for nothing; and of one that waits for calls."""


def eventually(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)
    return found


class Serving:
    """The program, ready."""

    def __init__(self, folder: Path, phones: Line, *options: str) -> None:
        only_linux()
        self.folder = folder
        self.content = configuration(phones, ledger={"data_dir": str(folder / "data")})
        self.path = write(folder, self.content)
        self.errors = (folder / "stderr").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proxy.cli", "serve", "-c", str(self.path), *options],
            stdout=subprocess.PIPE, stderr=self.errors, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        ready = READY.fullmatch(self.line)
        assert ready is not None, (self.line, (folder / "stderr").read_text())
        self.admin, self.version = ready[2], ready[3]
        phones.proxy = ("127.0.0.1", int(ready[1]))
        self.children = descendants(self.process.pid)

    def policy(self) -> dict[str, Any]:
        """GET /v1/policy."""
        return dict(httpx.get(f"{self.admin}/v1/policy", timeout=30).json())

    def failing(self) -> list[str]:
        """The parts that make the instance not ready."""
        return list(httpx.get(f"{self.admin}/readyz", timeout=30).json()["failing"])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, within: float = 30.0) -> int:
        """Its exit code; nothing of it is left."""
        code = self.process.wait(within)
        assert not [pid for pid in self.children if alive(pid)]
        assert self.process.stdout is not None
        assert self.process.stdout.read() == ""  # one line, no more
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()


@pytest.fixture
def serving(short_folder: Path, phones: Line) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(*options: str) -> Serving:
        started.append(Serving(short_folder, phones, *options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


# --- the life of an instance ---


def test_ready_reload_drain_end(serving: Callable[..., Serving], phones: Line) -> None:
    app = serving()
    assert app.version == load_policy(app.path).policy.version  # type: ignore[union-attr]
    assert len(app.children) == 2
    eventually(lambda: app.failing() == [])

    write(app.folder, {**app.content, "providers": "none"})
    app.signal(signal.SIGHUP)
    state = eventually(lambda: (found := app.policy())["problems"] and found)
    assert state["version"] == app.version
    ok = phones.talk()

    write(app.folder, {**app.content, "refusals": {"COUNTRY": "404"}})
    app.signal(signal.SIGHUP)
    state = eventually(lambda: (found := app.policy())["version"] != app.version and found)
    assert state["problems"] == []
    phones.dial("sip:+33142685300@127.0.0.1")
    phones.pbx.expect("404 INVITE")

    ringing = phones.ring()
    app.signal(signal.SIGTERM)
    eventually(lambda: app.failing() == ["accepting"])
    phones.dial()
    refusal = phones.pbx.expect("503 INVITE")
    assert int(refusal.first(b"retry-after")) > 0
    assert refusal.first(b"warning") == b'399 trunkwarden "DRAINING Service Unavailable"'
    phones.provider.send(answer(ringing, 486, "Busy Here"), phones.proxy)
    phones.pbx.expect("486 INVITE")
    assert app.process.poll() is None  # one call is still up
    phones.hang_up(ok)
    assert app.ends() == 0


def test_second_sigterm_stops_at_once(serving: Callable[..., Serving], phones: Line) -> None:
    app = serving("--drain-seconds", DRAIN)
    phones.talk()
    app.signal(signal.SIGTERM)
    eventually(lambda: app.failing() == ["accepting"])
    app.signal(signal.SIGTERM)
    assert app.ends(AT_ONCE) == 0
    assert phones.provider.silent()  # calls are left, not cut


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end_with_a_live_call(serving: Callable[..., Serving], phones: Line, number: signal.Signals) -> None:
    """SIGTERM waits no longer than it may; SIGINT does not wait at all."""
    app = serving("--drain-seconds", "0.1" if number is signal.SIGTERM else DRAIN)
    phones.talk()
    app.signal(number)
    assert app.ends(AT_ONCE) == 0
    assert "Traceback" not in (app.folder / "stderr").read_text()


def test_killed_instance_leaves_nothing_running(serving: Callable[..., Serving]) -> None:
    app = serving()
    app.signal(signal.SIGKILL)
    app.process.wait(30)
    eventually(lambda: not [pid for pid in app.children if alive(pid)])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_nobody_to_tell_that_it_is_ready_is_no_reason_to_end(short_folder: Path, phones: Line) -> None:
    path = write(short_folder, configuration(phones, ledger={"data_dir": str(short_folder / "data")}))
    said = short_folder / "stderr"
    with open("/dev/full", "wb") as full, said.open("wb") as errors:
        arguments = [sys.executable, "-m", "proxy.cli", "serve", "-c", str(path)]
        process = subprocess.Popen(arguments, stdout=full, stderr=errors, stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: "No space left on device; ready sip=udp:" in said.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(AT_ONCE) == 0
        assert "Traceback" not in said.read_text()
    finally:
        process.kill()
        process.wait()


# --- exit codes ---


def test_bad_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str], kept_logging: None) -> None:
    path = write(tmp_path, "listn: []\ntrunks: [{name: x}]\n")
    assert run(path, None, 30) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{path}:1: listn: " in shown.err
    assert f"{path}:2: trunks[0]" in shown.err


def cannot_serve(path: Path, capsys: pytest.CaptureFixture[str], ledger: str | None = None) -> str:
    """What is said on stderr by a start that fails; nothing runs afterwards."""
    only_linux()
    before = descendants(os.getpid())
    assert run(path, ledger, 30) == 4
    after = descendants(os.getpid())
    assert not [pid for pid in after - before if alive(pid)]
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_sip_port_taken(short_folder: Path, capsys: pytest.CaptureFixture[str], kept_logging: None) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"udp:127.0.0.1:{taken.getsockname()[1]}"
        content = configuration(listen=[listen], ledger={"data_dir": str(short_folder / "data")})
        said = cannot_serve(write(short_folder, content), capsys)
    assert f"cannot serve: cannot bind {listen}: Address already in use" in said


def test_http_port_taken(short_folder: Path, capsys: pytest.CaptureFixture[str], kept_logging: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        content = configuration(admin={"listen": where}, ledger={"data_dir": str(short_folder / "data")})
        said = cannot_serve(write(short_folder, content), capsys)
    assert f"cannot serve: cannot bind {where} for HTTP" in said


@pytest.mark.parametrize("address", ["unix:///nowhere/ledger.sock", "redis://127.0.0.1:1"])
def test_ledger_out_of_reach(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kept_logging: None,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    monkeypatch.setattr(redis_ledger, "PATIENCE", 0.05)
    said = cannot_serve(write(tmp_path, configuration()), capsys, address)
    assert "cannot serve: " in said


def test_data_folder_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept_logging: None
) -> None:
    (tmp_path / "data").write_text("a file")
    said = cannot_serve(write(tmp_path, configuration(ledger={"data_dir": str(tmp_path / "data")})), capsys)
    assert "the ledger's data folder" in said


@pytest.mark.parametrize(
    "address", ["nonsense", "redis+cluster://", "redis://127.0.0.1/first", "http://127.0.0.1"]
)
def test_ledger_option_that_is_no_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept_logging: None, address: str
) -> None:
    assert run(write(tmp_path, configuration()), address, 30) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith("--ledger: ")
