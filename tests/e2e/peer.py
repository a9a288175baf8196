"""Peer: a UDP socket that keeps everything it receives, for assertions on the wire."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.sip_text import Message, answer, fresh, host_port

WAIT_SECONDS = 10.0
QUIET_SECONDS = 0.3
_DATAGRAM = 65_536
_BUFFER = 4 * 1024 * 1024
_TICK_SECONDS = 0.05
_MOMENT_SECONDS = 0.2


@dataclass(frozen=True)
class Datagram:
    """What arrived, from where, and when (monotonic seconds)."""

    message: Message
    source: tuple[str, int]
    at: float


Reaction = Callable[[Message], list[bytes]]


class Peer:
    """Binds `host` and reads at once; `reaction` makes the answers to a request, sent to where it came from.

    `received` holds every datagram. The `expect` methods go through it in order, each taking the
    first that fits and was not taken before; what they pass over stays.
    """

    transport = "UDP"

    def __init__(self, host: str, reaction: Reaction | None = None, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((host, port))
        self._socket.settimeout(_TICK_SECONDS)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.reaction = reaction
        self.received: list[Datagram] = []
        self._taken: set[int] = set()
        self._had: set[bytes] = set()
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._read, name=f"peer {self.address}", daemon=True)
        self._thread.start()

    @property
    def host_port(self) -> str:
        """`host:port`, as headers want it."""
        return host_port(self.address)

    def send(self, data: bytes, target: tuple[str, int]) -> None:
        """One datagram."""
        self._socket.sendto(data, target)

    def _read(self) -> None:
        while not self._closed:
            try:
                data, whence = self._socket.recvfrom(_DATAGRAM)
            except TimeoutError:
                continue
            except OSError:
                return
            message = Message.parse(data)
            self._took(message, whence[:2])

    def _took(self, message: Message, source: tuple[str, int]) -> None:
        with self._news:
            self.received.append(Datagram(message, source, time.monotonic()))
            self._news.notify_all()
        if self.reaction is not None and not message.is_response:
            for reply in self.reaction(message):
                self.send(reply, source)

    def expect(self, fits: Callable[[Message], bool], what: str, limit: float = WAIT_SECONDS) -> Datagram:
        """The first datagram that fits and was not taken yet. Raises AssertionError after `limit` seconds and
        a moment, in which is read what came while the machine stood still."""
        until, over = time.monotonic() + limit, False
        with self._news:
            while True:
                for index, datagram in enumerate(self.received):
                    if index not in self._taken and fits(datagram.message):
                        self._taken.add(index)
                        return datagram
                now = time.monotonic()
                if now > until:
                    if over:
                        seen = [datagram.message.start for datagram in self.received]
                        raise AssertionError(f"{self.host_port} got no {what} within {limit} s, but {seen}")
                    until, over = now + _MOMENT_SECONDS, True
                self._news.wait(max(0.0, until - now))

    def expect_request(self, method: str, limit: float = WAIT_SECONDS, call_id: str | None = None) -> Message:
        """The next request of this method. One that was had before and comes again, because its sender has
        waited for an answer for longer than T1, is none; nobody waits for an answer to an ACK."""

        def fits(message: Message) -> bool:
            return (
                not message.is_response
                and message.method == method
                and (call_id is None or message.one("call-id") == call_id)
                and (method == "ACK" or message.raw not in self._had)
            )

        message = self.expect(fits, method, limit).message
        self._had.add(message.raw)
        return message

    def expect_response(self, status: int, method: str = "INVITE", limit: float = WAIT_SECONDS,
                        call_id: str | None = None) -> Message:  # fmt: skip
        """The next response of this status to this method."""

        def fits(message: Message) -> bool:
            return (
                message.status == status
                and message.method == method
                and (call_id is None or message.one("call-id") == call_id)
            )

        return self.expect(fits, f"{status} to {method}", limit).message

    def expect_final(
        self, method: str = "INVITE", limit: float = WAIT_SECONDS, call_id: str | None = None
    ) -> Message:
        """The next final response to this method, whatever its status."""

        def fits(message: Message) -> bool:
            return (
                message.status >= 200
                and message.method == method
                and (call_id is None or message.one("call-id") == call_id)
            )

        return self.expect(fits, f"final response to {method}", limit).message

    def count(self, method: str, status: int = 0) -> int:
        """How many requests of a method came so far; with `status`, how many of those responses to it."""
        with self._news:
            return sum(
                datagram.message.method == method and datagram.message.status == status
                for datagram in self.received
            )

    def requests(self, method: str, call_id: str) -> list[Message]:
        """The requests of this method in this call that came so far."""
        with self._news:
            messages = [datagram.message for datagram in self.received]
        return [
            message
            for message in messages
            if not message.is_response and message.method == method and message.one("call-id") == call_id
        ]

    def transactions(self, method: str, call_id: str) -> list[Message]:
        """As `requests`, each once, however often it was repeated: a repetition has the same branch."""
        return list({message.all("via")[0]: message for message in self.requests(method, call_id)}.values())

    def stays_quiet(self, seconds: float = QUIET_SECONDS) -> None:
        """Nothing new arrives for this long. Raises AssertionError at the first datagram."""
        with self._news:
            before = len(self.received)
            self._news.wait_for(lambda: len(self.received) > before, seconds)
            late = [str(datagram.message) for datagram in self.received[before:]]
        assert not late, f"{self.host_port} got what it should not get:\n{late[0]}"

    def close(self) -> None:
        """Close the socket and end the thread."""
        self._closed = True
        self._thread.join()
        self._socket.close()


def refusing(status: str) -> Reaction:
    """A reaction that answers every request but ACK with this status."""

    def react(message: Message) -> list[bytes]:
        return [] if message.method == "ACK" else [answer(message, status, tag=fresh("tag"))]

    return react


BUSY = refusing("486 Busy Here")
