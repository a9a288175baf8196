"""A real server that speaks TLS, and peers that begin to and no more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from proxy.admin.doorway import Doorway
from proxy.admin.patience import patient
from proxy.admin.tls import make_context
from proxy.observe.tasks import TaskKeeper
from tests.certificates import Authority

MOST = 4
LIMIT = 30.0
HELLO = bytes.fromhex("1603010200010001fc0303")
"""How a ClientHello begins."""


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@contextlib.asynccontextmanager
async def serving(
    authority: Authority, seconds: float, idle: float = 600.0
) -> AsyncIterator[tuple[int, Doorway]]:
    files = authority.issue("proxy", "IP:127.0.0.1")
    context = make_context(Path(files["certificate_file"]), Path(files["key_file"]), None)
    doorway = Doorway(socket.create_server(("127.0.0.1", 0)).detach(), MOST, seconds)
    config = uvicorn.Config(
        _app,
        http=patient(seconds=idle, doorway=doorway),
        lifespan="off",
        log_config=None,
        ws="none",
        ssl_context_factory=lambda *_: context,
    )
    server = uvicorn.Server(config)
    running = TaskKeeper().start(server.serve([doorway]), name="server")
    try:
        yield doorway.getsockname()[1], doorway
    finally:
        server.should_exit = True
        await running


class Client:
    """One that finishes its handshake, and then says goodbye to nobody."""

    def __init__(self, port: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.secure = context.wrap_socket(socket.create_connection(("127.0.0.1", port), LIMIT))

    def ask(self) -> bytes:
        self.secure.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            answer += self.secure.recv(4096)
        return answer.split()[1]

    def rest(self) -> None:
        """Read what comes, as bytes of the connection, until it ends."""
        with socket.socket(fileno=self.secure.detach()) as plain:
            plain.settimeout(LIMIT)
            while plain.recv(4096):
                pass


async def _closed(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(LIMIT):
        with contextlib.suppress(ConnectionError):
            await reader.read()


@pytest.mark.parametrize("said", [b"", HELLO], ids=["nothing", "half"])
async def test_who_does_not_finish_keeps_nobody_out(authority: Authority, said: bytes) -> None:
    async with serving(authority, seconds=600.0) as (port, _):
        first = await asyncio.to_thread(Client, port)
        waiting = []
        for _ in range(5 * MOST):
            waiting.append(await asyncio.open_connection("127.0.0.1", port))
            waiting[-1][1].write(said)
        for reader, _ in waiting[:-MOST]:
            await _closed(reader)
        assert not any(reader.at_eof() for reader, _ in waiting[1 - MOST :])
        second = await asyncio.to_thread(Client, port)
        for client in (first, second, first):
            assert await asyncio.to_thread(client.ask) == b"200"
        for client in (first, second):
            client.secure.close()
        for _, writer in waiting:
            writer.close()


async def test_a_handshake_has_its_time(authority: Authority) -> None:
    async with serving(authority, seconds=600.0) as (port, doorway):
        client = await asyncio.to_thread(Client, port)
        doorway._seconds = 0.3
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HELLO)
        await _closed(reader)
        writer.close()
        assert await asyncio.to_thread(client.ask) == b"200"
        client.secure.close()


async def test_who_does_not_say_goodbye_is_gone_nevertheless(authority: Authority) -> None:
    async with serving(authority, seconds=600.0, idle=0.3) as (port, _):
        client = await asyncio.to_thread(Client, port)
        await asyncio.to_thread(client.rest)
