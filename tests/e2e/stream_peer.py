"""StreamPeer: a TCP or TLS connection that keeps every message it receives; a listener that makes them."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
import threading
import time

from tests.e2e.peer import Peer, Reaction
from tests.e2e.sip_text import Message

PATIENCE = 10.0
_TICK_SECONDS = 0.05
_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*(\d+)", re.IGNORECASE)


class StreamPeer(Peer):
    """A connection to `target` from `host`, used like a Peer: what is sent goes over the connection, whatever
    the target. `names` are those of the certificate that the far end showed, where it was asked and verified;
    `pongs` counts what came between messages, in bytes; `ended` is true once the far end has
    closed or reset."""

    transport = "TCP"
    names: frozenset[str] | set[str] = frozenset()

    def __init__(
        self,
        host: str,
        target: tuple[str, int],
        reaction: Reaction | None = None,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
    ) -> None:
        self._start(socket.create_connection(target, PATIENCE, (host, 0)), reaction, tls, name)

    @classmethod
    def taken(
        cls, accepted: socket.socket, reaction: Reaction | None, tls: ssl.SSLContext | None
    ) -> StreamPeer:
        """The other end of a connection that somebody made."""
        made = cls.__new__(cls)
        made._start(accepted, reaction, tls, None, server=True)
        return made

    def _start(
        self,
        made: socket.socket,
        reaction: Reaction | None,
        tls: ssl.SSLContext | None,
        name: str | None,
        server: bool = False,
    ) -> None:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(PATIENCE)
        if tls is not None:
            self.transport = "TLS"
            made = tls.wrap_socket(made, server_side=server, server_hostname=None if server else name)
            self.names = {value for _, value in (made.getpeercert() or {}).get("subjectAltName", ())}
        self._socket = made
        self.address = made.getsockname()[:2]
        self.remote = made.getpeername()[:2]
        self.reaction = reaction
        self.received = []
        self.pongs = 0
        self.ended = False
        self._taken: set[int] = set()
        self._had: set[bytes] = set()
        self._news = threading.Condition()
        self._closed = False
        self._using = threading.Lock()
        self._thread = threading.Thread(target=self._read, name=f"stream peer {self.address}", daemon=True)
        self._thread.start()

    def send(self, data: bytes, target: tuple[str, int] = ("", 0)) -> None:
        """Bytes into the stream."""
        with self._using:
            self._socket.settimeout(PATIENCE)
            self._socket.sendall(data)

    def _read(self) -> None:
        buffer = b""
        while not self._closed:
            if not select.select([self._socket], [], [], _TICK_SECONDS)[0]:
                continue
            chunk = self._receive()
            if chunk is None:
                continue
            if not chunk:
                break
            buffer = self._cut(buffer + chunk)
        with self._news:
            self.ended = True
            self._news.notify_all()

    def _receive(self) -> bytes | None:
        """All that is there: b"" at the end, None when it is no whole record yet."""
        chunks = []
        with self._using:
            self._socket.settimeout(0.0)
            while True:
                try:
                    chunk = self._socket.recv(65_536)
                except (BlockingIOError, ssl.SSLWantReadError):
                    return b"".join(chunks) or None
                except OSError:
                    chunk = b""
                if not chunk:
                    return b"".join(chunks)
                chunks.append(chunk)

    def _cut(self, data: bytes) -> bytes:
        while True:
            message = data.lstrip(b"\r\n")
            self.pongs += len(data) - len(message)
            head, mark, body = message.partition(b"\r\n\r\n")
            found = _LENGTH.search(head)
            length = int(found.group(1)) if found is not None else 0
            if not mark or len(body) < length:
                return message
            self._took(Message.parse(head + mark + body[:length]), self.remote)
            data = body[length:]

    def wait_end(self, limit: float = PATIENCE) -> None:
        """Until the far end has closed. Raises AssertionError."""
        with self._news:
            assert self._news.wait_for(lambda: self.ended, limit), f"not closed within {limit} s"

    def wait_pongs(self, count: int, limit: float = PATIENCE) -> None:
        """Until so many bytes came between messages."""
        deadline = time.monotonic() + limit
        while self.pongs < count:
            assert time.monotonic() < deadline, f"{self.pongs} bytes of pong, not {count}"
            time.sleep(0.01)

    def reset(self) -> None:
        """Close with RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection and end the thread."""
        self._closed = True
        self._thread.join()
        self._socket.close()


class StreamListener:
    """Listens at `host`, and makes a StreamPeer of each connection."""

    def __init__(
        self, host: str, reaction: Reaction | None = None, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self._socket = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self._socket.settimeout(_TICK_SECONDS)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.peers: list[StreamPeer] = []
        self._reaction = reaction
        self._tls = tls
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name=f"listener {self.address}", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                accepted, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with contextlib.suppress(OSError):
                self.peers.append(StreamPeer.taken(accepted, self._reaction, self._tls))

    def peer(self, index: int = 0, limit: float = PATIENCE) -> StreamPeer:
        """The connection that came as this one in order."""
        deadline = time.monotonic() + limit
        while len(self.peers) <= index:
            assert time.monotonic() < deadline, f"{len(self.peers)} connections came, not {index + 1}"
            time.sleep(0.01)
        return self.peers[index]

    def close(self) -> None:
        """Close all."""
        self._closed = True
        self._thread.join()
        self._socket.close()
        for peer in self.peers:
            peer.close()
