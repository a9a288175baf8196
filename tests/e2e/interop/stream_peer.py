"""StreamPeer: a Peer on one TCP or TLS connection that it opens itself."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time

from tests.e2e.peer import Datagram, Peer
from tests.e2e.sip_text import Message

CONNECT_SECONDS = 5.0
_TICK_SECONDS = 0.05


class StreamPeer(Peer):
    """Connects from `host` to `target` at once; over TLS where `context` is given. `closed` is set when the
    other side has closed. `send` needs no target, and writes the transport into a request's Via."""

    def __init__(
        self,
        host: str,
        target: tuple[str, int],
        context: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        stream = socket.create_connection(target, CONNECT_SECONDS, (host, 0))
        self.transport = b"TCP"
        if context is not None:
            stream = context.wrap_socket(stream, server_hostname=server_name or target[0])
            self.transport = b"TLS"
        self._socket = stream
        self._target = target
        self.address: tuple[str, int] = stream.getsockname()
        self.reaction = None
        self.received: list[Datagram] = []
        self.closed = threading.Event()
        self._taken: set[int] = set()
        self._news = threading.Condition()
        # TLS is not for two threads at once.
        self._using = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._read, name=f"stream peer {self.address}", daemon=True)
        self._thread.start()

    def send(self, data: bytes, target: tuple[str, int]) -> None:
        """One message. `target` is where the connection leads, whatever it says."""
        if not data.startswith(b"SIP/2.0 "):
            data = data.replace(b"Via: SIP/2.0/UDP", b"Via: SIP/2.0/" + self.transport, 1)
        with self._using:
            self._socket.settimeout(CONNECT_SECONDS)
            self._socket.sendall(data)

    def _read(self) -> None:
        pending = b""
        while not self._closed:
            if not select.select([self._socket], [], [], _TICK_SECONDS)[0]:
                continue
            try:
                with self._using:
                    self._socket.settimeout(_TICK_SECONDS)
                    data = self._socket.recv(65_536)
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except OSError:
                break
            if not data:
                break
            pending = self._take(pending + data)
        self.closed.set()

    def _take(self, pending: bytes) -> bytes:
        """Keep the whole messages; what is left."""
        while True:
            pending = pending.lstrip(b"\r\n")
            head, found, rest = pending.partition(b"\r\n\r\n")
            if not found:
                return pending
            length = int(Message.parse(head + found).one("content-length"))
            if len(rest) < length:
                return pending
            message = Message.parse(head + found + rest[:length])
            pending = rest[length:]
            with self._news:
                self.received.append(Datagram(message, self._target, time.monotonic()))
                self._news.notify_all()
