"""UDP sockets: drained until they would block, once per wake-up of the event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from proxy.sip.message import Flow

# Read ahead of what is served, so that nothing is lost for want of room in the system's buffer, which is
# often small; bounded, so that a flood on one socket keeps the loop from nothing else.
BATCH: Final = 512
LARGEST: Final = 65535
_BUFFER: Final = 4 * 1024 * 1024
# socket(7); Python has no names for them.
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})

Datagrams = list[tuple[bytes, Flow]]


class UdpEndpoint:
    """One bound socket. `on_datagrams` gets each batch with the flows that it came on; `on_readable` of an
    idle loop costs one system call more than there were datagrams."""

    def __init__(self, host: str, port: int, on_datagrams: Callable[[Datagrams], None]) -> None:
        """Bind at once; port 0 lets the system choose. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _enlarge(self._socket)
            self._socket.setblocking(False)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._on_datagrams = on_datagrams
        self.local: tuple[str, int] = (host, self._socket.getsockname()[1])
        self.unsent = 0

    def start(self) -> None:
        """Begin to read, on the running loop."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._drain)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one datagram. What the system cannot take now is lost, as any datagram may be, and counted."""
        try:
            self._socket.sendto(data, flow.remote)
        except (OSError, OverflowError, TypeError, ValueError):  # all but the first: an address that is none
            self.unsent += 1

    def close(self) -> None:
        """Stop reading and close."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()

    def _drain(self) -> None:
        receive = self._socket.recvfrom
        local = self.local
        batch: Datagrams = []
        for _ in range(BATCH):
            try:
                data, address = receive(LARGEST)
            except BlockingIOError:
                break
            except OSError as error:
                # An ICMP error of something sent earlier; the timers of its transaction deal with it.
                if error.errno in REFUSED:
                    continue
                break
            batch.append((data, Flow("udp", local, (address[0], address[1]))))
        if batch:
            self._on_datagrams(batch)


def _enlarge(udp: socket.socket) -> None:
    """Ask for larger buffers: beyond net.core.rmem_max and wmem_max where we may, else up to those."""
    for option, forced in ((socket.SO_RCVBUF, _SO_RCVBUFFORCE), (socket.SO_SNDBUF, _SO_SNDBUFFORCE)):
        try:
            udp.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
        except OSError:
            udp.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
