"""A stream endpoint on loopback with its surroundings: what it brought, what it closed, and peers to talk to
it."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from proxy.sip.counters import SipCounters
from proxy.sip.message import Flow
from proxy.transport.contexts import TlsFiles
from proxy.transport.identity import PeerNames
from proxy.transport.limits import StreamLimits
from proxy.transport.tcp import Messages, TcpEndpoint
from proxy.transport.tls import TlsEndpoint

PATIENCE = 20.0


def memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def request(
    method: str = "OPTIONS", via: str = "127.0.0.1:5060", body: bytes = b"", extra: str = ""
) -> bytes:
    """A message of a peer, with a sent-by to answer to."""
    head = (
        f"{method} sip:h SIP/2.0\r\nVia: SIP/2.0/TCP {via};branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
        f"To: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def response(via: str = "127.0.0.1:5060", body: bytes = b"") -> bytes:
    """An answer to what came with this Via."""
    return request(via=via, body=body).replace(b"OPTIONS sip:h SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", 1)


class Stage:
    """Records what an endpoint tells. `react` is called with each batch."""

    def __init__(self) -> None:
        self.batches: list[Messages] = []
        self.closed: list[Flow] = []
        self.counters = SipCounters()
        self.names = PeerNames()
        self.react: Callable[[Messages], None] = lambda batch: None
        self.known: Callable[[str], bool] = lambda host: True
        self.in_use: Callable[[Flow], bool] = lambda flow: False
        self.endpoints: list[TcpEndpoint] = []

    @property
    def messages(self) -> list[bytes]:
        return [data for batch in self.batches for data, _ in batch]

    @property
    def flows(self) -> list[Flow]:
        return [flow for batch in self.batches for _, flow in batch]

    def took(self, batch: Messages) -> None:
        self.batches.append(batch)
        self.react(batch)

    def answer(self, batch: Messages) -> None:
        """A `react` that sends each message back as a response to it."""
        for _, flow in batch:
            self.endpoints[0].send(response(), flow)

    def tcp(self, limits: StreamLimits | None = None, host: str = "127.0.0.1") -> TcpEndpoint:
        endpoint = TcpEndpoint(
            host,
            0,
            self.took,
            self.closed.append,
            self.counters,
            limits,
            known=lambda source: self.known(source),
            in_use=lambda flow: self.in_use(flow),
        )
        return self._started(endpoint)

    def tls(self, files: TlsFiles, limits: StreamLimits | None = None) -> TlsEndpoint:
        endpoint = TlsEndpoint(
            "127.0.0.1",
            0,
            self.took,
            self.closed.append,
            self.counters,
            files,
            self.names,
            limits,
            known=lambda source: self.known(source),
            in_use=lambda flow: self.in_use(flow),
        )
        self._started(endpoint)
        return endpoint

    def _started(self, endpoint: TcpEndpoint) -> TcpEndpoint:
        endpoint.start()
        self.endpoints.append(endpoint)
        return endpoint

    def pass_by(self, seconds: float) -> None:
        """So much time passes for every connection; what has outlived its time is closed."""
        for endpoint in self.endpoints:
            for connection in endpoint._all:
                connection.deadline -= seconds
            if endpoint._sweeper is not None:
                endpoint._sweeper.cancel()
            endpoint._sweep()

    def mid_message(self) -> bool:
        """Whether the beginning of a message has come, and not its end."""
        return any(connection._mid_message for endpoint in self.endpoints for connection in endpoint._all)

    async def close(self) -> None:
        for endpoint in self.endpoints:
            await endpoint.close()
        for peer in Peer.left:
            peer.reset()
        Peer.left.clear()
        await asyncio.sleep(0)


class Peer:
    """A connection of a peer, with asyncio's own streams; a stage that closes ends what is left of them."""

    left: ClassVar[list[Peer]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, endpoint: TcpEndpoint, tls: ssl.SSLContext | None = None, **more: Any) -> Peer:
        peer = cls(*await asyncio.open_connection(*endpoint.local, ssl=tls, **more))
        cls.left.append(peer)
        return peer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self, length: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(length)

    async def hear_message(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def hear_end(self) -> bytes:
        """All that comes until the endpoint closes; a reset is an end, too."""
        heard = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while chunk := await self.reader.read(65536):
                    heard += chunk
            except ConnectionResetError:
                pass
        return heard

    @property
    def port(self) -> int:
        port: int = self.writer.get_extra_info("sockname")[1]
        return port

    def leave(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class FarEnd:
    """A peer that listens: keeps each connection, and what each brought."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.heard: list[bytearray] = []
        self.address = ("", 0)
        self._server: asyncio.Server
        self.mute = False

    @classmethod
    async def at(
        cls, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None, *, mute: bool = False
    ) -> FarEnd:
        """`mute`: reads nothing."""
        far = cls()
        far.mute = mute
        far._server = await asyncio.start_server(far._connected, host, port, ssl=tls)
        address = far._server.sockets[0].getsockname()
        far.address = (address[0], address[1])
        return far

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        self.peers.append(Peer(reader, writer))
        self.heard.append(heard)
        if self.mute:
            return
        try:
            while chunk := await reader.read(65536):
                heard += chunk
        except (ConnectionError, ssl.SSLError):
            pass
        writer.close()

    async def close(self) -> None:
        self._server.close()
        for peer in self.peers:
            peer.leave()
        await asyncio.sleep(0)


def files_of(folder: Path, name: str, **more: Any) -> TlsFiles:
    """The certificate and key called `name` in `folder`."""
    return TlsFiles(folder / f"{name}.pem", folder / f"{name}.key", **more)
