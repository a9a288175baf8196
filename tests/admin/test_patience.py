"""A real server and real connections that say little."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from proxy.admin.patience import patient
from proxy.observe.tasks import TaskKeeper

MOST, CONCURRENT = 4, 8
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
LIMIT = 30.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def serving(seconds: float) -> AsyncIterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(
            _app,
            http=patient(MOST, seconds),
            limit_concurrency=CONCURRENT,
            lifespan="off",
            log_config=None,
            ws="none",
        )
    )
    listener = socket.create_server(("127.0.0.1", 0))
    tasks = TaskKeeper()
    running = tasks.start(server.serve([listener]), name="server")
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def _answer(connection: Connection) -> bytes:
    reader, writer = connection
    writer.write(HEAD + b"\r\n")
    async with asyncio.timeout(LIMIT):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
    return head.split()[1]


@pytest.mark.parametrize("said", [b"", HEAD, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", None])
async def test_who_asks_nothing_keeps_nobody_out(said: bytes | None) -> None:
    """None: they have asked, and stay."""
    async with serving(seconds=600.0) as port:
        idle = []
        for _ in range(3 * CONCURRENT):
            connection = await asyncio.open_connection("127.0.0.1", port)
            idle.append(connection)
            if said is None:
                assert await _answer(connection) == b"200"
            else:
                connection[1].write(said)
        assert await _answer(await asyncio.open_connection("127.0.0.1", port)) == b"200"
        # The oldest were closed, the youngest were not.
        async with asyncio.timeout(LIMIT):
            for reader, _ in idle[: len(idle) - MOST]:
                with contextlib.suppress(ConnectionError):
                    await reader.read()
        for reader, _ in idle[1 - MOST :]:
            assert not reader.at_eof()
        for _, writer in idle:
            writer.close()


async def test_a_request_has_its_time_to_arrive() -> None:
    async with serving(seconds=1.5) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b""
        writer.close()
        again = await asyncio.open_connection("127.0.0.1", port)
        assert [await _answer(again) for _ in range(3)] == [b"200"] * 3
        again[1].close()
