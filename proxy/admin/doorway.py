"""TLS handshakes of the HTTP listener: how many there may be, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Final

SECONDS: Final = 10.0
MOST: Final = 64


class Doorway(socket.socket):
    """A listening socket that knows whom it has let in and who has not got through the handshake yet. Such a
    connection ends after `seconds`; when there are more than `most`, the one that has been so for longest
    does. asyncio shows a connection to nobody before its handshake is done, and waits for a minute."""

    def __init__(self, fileno: int, most: int = MOST, seconds: float = SECONDS) -> None:
        super().__init__(fileno=fileno)
        self._most = most
        self._seconds = seconds
        self._waiting: dict[int, tuple[socket.socket, asyncio.TimerHandle]] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        descriptor = connection.fileno()
        self.passed(descriptor)  # one that had this descriptor is gone
        timer = asyncio.get_running_loop().call_later(self._seconds, self._end, descriptor)
        self._waiting[descriptor] = connection, timer
        if len(self._waiting) > self._most:
            for gone in [fd for fd, (one, _) in self._waiting.items() if one.fileno() < 0]:
                self.passed(gone)
        if len(self._waiting) > self._most:
            self._end(next(iter(self._waiting)))
        return connection, address

    def passed(self, descriptor: int) -> None:
        """The connection of this descriptor is not in its handshake any more."""
        waiting = self._waiting.pop(descriptor, None)
        if waiting is not None:
            waiting[1].cancel()

    def _end(self, descriptor: int) -> None:
        connection = self._waiting[descriptor][0]
        self.passed(descriptor)
        with contextlib.suppress(OSError):  # closed already
            connection.shutdown(socket.SHUT_RDWR)  # its owner, who reads from it, closes it
