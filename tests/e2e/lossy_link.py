"""A network that loses, doubles, holds up and overtakes datagrams, between a user agent and its own socket.

What happens to a datagram is drawn from the seed and from what the datagram is (direction, start line,
Call-ID, which copy of it), not from when it comes: the same run meets the same losses, as far as both ends
send the same.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from zlib import crc32

from tests.e2e.sip_text import Message

_DATAGRAM = 65_536
_BUFFER = 4 * 1024 * 1024


@dataclass(frozen=True)
class Weather:
    """Shares of all datagrams, and seconds. `held_up`: so much later that others overtake it."""

    loss: float = 0.10
    doubled: float = 0.05
    held_up: float = 0.05
    delay: float = 0.100
    jitter: float = 0.050
    hold_up: float = 0.150


class LossyLink:
    """A UDP socket at `host`, with weather in both directions. `receive` is called with what gets through,
    and where it came from; `counts` says what became of all."""

    def __init__(
        self, host: str, seed: int, weather: Weather, receive: Callable[[Message, tuple[str, int]], None]
    ) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((host, 0))
        self._socket.setblocking(False)
        self.address: tuple[str, int] = self._socket.getsockname()
        self.counts: Counter[str] = Counter()
        self._seed = seed
        self._weather = weather
        self._receive = receive
        self._copies: Counter[tuple[str, str, str]] = Counter()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._drain)

    def send(self, data: bytes, target: tuple[str, int]) -> None:
        """Hand a datagram to the network."""

        def leave() -> None:
            if self._socket.fileno() >= 0:
                self._socket.sendto(data, target)

        self._pass("out", Message.parse(data), leave)

    def _drain(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(_DATAGRAM)
            except BlockingIOError:
                return
            message = Message.parse(data)
            self._pass("in", message, lambda message=message, source=source: self._receive(message, source))

    def _pass(self, direction: str, message: Message, deliver: Callable[[], None]) -> None:
        what = (direction, message.start, f"{message.one('call-id')} {message.one('cseq')}")
        self._copies[what] += 1
        random = Random(crc32(repr((self._seed, what, self._copies[what])).encode()))
        weather = self._weather
        self.counts[direction] += 1
        if random.random() < weather.loss:
            self.counts["lost"] += 1
            return
        copies = 1
        if random.random() < weather.doubled:
            self.counts["doubled"] += 1
            copies = 2
        for _ in range(copies):
            delay = weather.delay + random.uniform(-weather.jitter, weather.jitter)
            if random.random() < weather.held_up:
                self.counts["held up"] += 1
                delay += weather.hold_up
            self._loop.call_later(delay, deliver)

    def close(self) -> None:
        """Close the socket; what is on its way is lost."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
