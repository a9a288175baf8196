from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.control_server import ControlServer
from proxy.ledger.ledger import LedgerUnavailable
from tests.admin.stage import Target


class Wire:
    """The control socket without the client's code."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, line: bytes) -> None:
        self.writer.write(line)

    async def answer(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            line = await self.reader.readline()
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
async def server(target: Target, tmp_path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(target, target.ready.append)
    await server.start(tmp_path / "control")
    yield server
    await server.stop()


@pytest.fixture
async def wire(server: ControlServer, tmp_path: Path) -> Wire:
    return Wire(*await asyncio.open_unix_connection(str(tmp_path / "control")))


async def test_only_the_owner_may_open_the_socket(server: ControlServer, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "control").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ("heartbeat", {"parts": {"sockets": True, "ledger": True, "policy": True}, "detail": {}}),
        ("policy", {"version": "v1", "loaded_at": "2025-03-01T12:00:00.000Z", "problems": []}),
        ("reload", {"version": "v2", "problems": []}),
        ("explain", {"decision": "refused", "reason": "COUNTRY"}),
        ("trunk", None),
    ],
)
async def test_operations(wire: Wire, operation: str, result: Any) -> None:
    wire.send(json.dumps({"id": 7, "op": operation}).encode() + b"\n")
    assert await wire.answer() == {"id": 7, "ok": True, "result": result}


async def test_trunks(wire: Wire) -> None:
    wire.send(b'{"id": 1, "op": "trunk", "args": {"name": "office"}}\n{"id": 2, "op": "trunks"}\n')
    answers = {answer["id"]: answer["result"] for answer in (await wire.answer(), await wire.answer())}
    office = {
        "id": "trunk:office",
        "name": "office",
        "capacity_limit": 3,
        "cps_limit": None,
        "threshold": 100_000_000,
        "window": "rolling_24h",
        "shard": "",
        "account": None,
    }
    assert answers[1] == office
    assert [trunk["name"] for trunk in answers[2]] == ["office", "open"]


async def test_an_answer_does_not_wait_for_the_one_before(wire: Wire, target: Target) -> None:
    target.gate = asyncio.Event()
    wire.send(b'{"id": 1, "op": "heartbeat"}\n{"id": 2, "op": "policy"}\n')
    assert (await wire.answer())["id"] == 2
    target.gate.set()
    assert (await wire.answer())["id"] == 1


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (ValueError("`x` is no address"), "invalid", "`x` is no address"),
        (LedgerUnavailable("timeout", "away"), "ledger", "away"),
        (KeyError("secret"), "internal", "the SIP process failed; its log says why"),
    ],
)
async def test_failures_are_told_by_kind(
    wire: Wire, target: Target, failure: Exception, kind: str, message: str
) -> None:
    target.failure = failure
    wire.send(b'{"id": 3, "op": "explain", "args": {}}\n')
    assert await wire.answer() == {"id": 3, "ok": False, "kind": kind, "message": message}


async def test_an_unknown_operation_is_the_askers_fault(wire: Wire) -> None:
    wire.send(b'{"id": 3, "op": "__init__"}\n')
    answer = await wire.answer()
    assert (answer["ok"], answer["kind"]) == (False, "invalid")


async def test_garbage_ends_the_connection_and_nothing_else(wire: Wire, tmp_path: Path) -> None:
    wire.send(b"\xff\x00garbage\n")
    async with asyncio.timeout(30):
        assert await wire.reader.readline() == b""
    again = Wire(*await asyncio.open_unix_connection(str(tmp_path / "control")))
    again.send(b'{"id": 1, "op": "policy"}\n')
    assert (await again.answer())["ok"] is True


async def test_a_child_reports_itself(wire: Wire, target: Target) -> None:
    wire.send(b'{"id": 1, "op": "ready", "args": {"pid": 4711}}\n')
    assert (await wire.answer())["ok"] is True
    assert target.ready == [4711]


async def test_stop_ends_connections_and_what_is_under_way(
    server: ControlServer, wire: Wire, target: Target
) -> None:
    target.gate = asyncio.Event()
    wire.send(b'{"id": 1, "op": "heartbeat"}\n')
    while not target.heartbeats:  # noqa: ASYNC110
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await server.stop()
        assert await wire.reader.read() == b""
