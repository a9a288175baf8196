"""A peer that does exactly what a test says: a bare socket that sends and receives lines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

CRLF = b"\r\n"


class Wire:
    """A UDP socket on 127.0.0.1 and what it received."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        wire = self

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                wire.received.put_nowait(data)

        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))

    @property
    def address(self) -> tuple[str, int]:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return host, port

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(data, to)

    async def next(self, start: bytes) -> bytes:
        """The next message that begins so; others are passed over."""
        async with asyncio.timeout(30):
            while True:
                data = await self.received.get()
                if data.startswith(start):
                    return data

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


def request(
    method: bytes,
    wire: Wire,
    *,
    uri: bytes = b"sip:100@127.0.0.1",
    to: bytes = b"<sip:100@127.0.0.1>",
    cseq: int = 1,
    branch: bytes = b"z9hG4bKtest",
    more: Iterable[bytes] = (),
) -> bytes:
    """A request of the test's own making; its From tag is `wire`, its Call-ID `wire-call`."""
    port = wire.address[1]
    lines = (
        method + b" " + uri + b" SIP/2.0",
        b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=%s;rport" % (port, branch),
        b"Max-Forwards: 70",
        b"From: <sip:test@127.0.0.1>;tag=wire",
        b"To: " + to,
        b"Call-ID: wire-call",
        b"CSeq: %d %s" % (cseq, method),
        b"Contact: <sip:test@127.0.0.1:%d>" % port,
        *more,
        b"Content-Length: 0",
    )
    return CRLF.join(lines) + CRLF + CRLF


def response(request: bytes, status: bytes, wire: Wire, *, tag: bytes = b"far") -> bytes:
    """The answer to a request that was received."""
    lines = [b"SIP/2.0 " + status]
    for line in request.partition(CRLF + CRLF)[0].split(CRLF)[1:]:
        name = line.partition(b":")[0]
        if name == b"To" and b";tag=" not in line:
            lines.append(line + b";tag=" + tag)
        elif name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq"):
            lines.append(line)
    lines += [b"Contact: <sip:far@127.0.0.1:%d>" % wire.address[1], b"Content-Length: 0"]
    return CRLF.join(lines) + CRLF + CRLF


def header(data: bytes, name: bytes) -> bytes:
    """The value of the first header called so."""
    for line in data.split(CRLF):
        if line.startswith(name + b": "):
            return line.partition(b": ")[2]
    raise AssertionError(f"no {name.decode()} in {data!r}")
