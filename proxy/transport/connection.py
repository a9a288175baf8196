"""StreamConnection: one TCP connection, whoever opened it; messages in, messages out, all of it bounded."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from enum import IntEnum
from typing import Final, Protocol, cast

from proxy.sip.framing import FramingError, StreamFramer
from proxy.sip.message import Flow
from proxy.transport.limits import StreamLimits
from proxy.transport.places import Places
from proxy.transport.reopening import is_response

LINGER_SECONDS: Final = 2.0
"""How long a closing connection may take to send what it still has, and to hear that it is over."""

PING_SECONDS: Final = 10.0
MOST_PINGS: Final = 50
"""Most keepalives in PING_SECONDS. RFC 5626 §4.4.1 wants one in 95 s or more."""

_MOST_LINGERING: Final = 1_048_576
_PONG: Final = b"\r\n"
# An unreachable peer is found out within seconds, not when the system gives up after a quarter of an hour.
# And a message leaves at once: asyncio sees to that only for sockets that it made itself.
_SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 10_000),
)


class Cause:
    """Why a connection was closed: a closed set."""

    PEER: Final = "peer"  # the peer closed or reset it, or cannot be reached any more
    FAILED: Final = "failed"  # it could not be opened, or not in time
    IDLE: Final = "idle"  # nothing came for too long
    SLOW: Final = "slow"  # a message, or the handshake, took too long
    UNREAD: Final = "unread"  # the peer does not read what we send
    FLOOD: Final = "flood"  # too many keepalives
    MALFORMED: Final = "malformed"  # what came cannot be cut into messages
    EVICTED: Final = "evicted"  # silent, and its place was needed
    FORGOTTEN: Final = "forgotten"  # the policy knows its peer no more
    TLS: Final = "tls"  # the peer's certificate or its TLS is not acceptable
    STOPPED: Final = "stopped"  # we stop


CAUSES: Final = tuple(value for name, value in vars(Cause).items() if name.isupper())


class State(IntEnum):
    """OPENING: connecting or shaking hands. CLOSING: nothing is sent or read any more."""

    OPENING = 0
    OPEN = 1
    CLOSING = 2
    GONE = 3


class Endpoint(Protocol):
    """What a connection needs of the listener that it belongs to."""

    limits: StreamLimits
    window: memoryview

    def delivered(self, connection: StreamConnection, messages: list[bytes]) -> None:
        """Whole messages came."""
        ...

    def malformed(self, connection: StreamConnection, error: FramingError) -> None:
        """What came cannot be cut into messages."""
        ...

    def ready(self, connection: StreamConnection) -> None:
        """It can send."""
        ...

    def retire(self, connection: StreamConnection) -> None:
        """It is closing: nothing more may be sent over it, and what was sent brings no answer."""
        ...

    def lost(self, connection: StreamConnection) -> None:
        """It is gone. Said once."""
        ...

    def needed(self, connection: StreamConnection) -> bool:
        """Whether an idle connection has to be kept, because a live call counts on it."""
        ...


class StreamConnection(asyncio.BufferedProtocol):
    """A connection of `flow`. `opened`: by us; `known`: the peer belongs to a trunk or a provider; `name`:
    what the peer must be certified as (TLS). All reads share one buffer of the endpoint, so that an idle
    connection holds next to no memory.

    `deadline` is on the loop's clock; the endpoint calls `expire` when it has passed. `places` is where it
    holds a place. `carried` are the flows that requests were sent for; `cause` says why it was closed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        flow: Flow,
        loop: asyncio.AbstractEventLoop,
        *,
        opened: bool,
        known: bool,
        name: str = "",
    ) -> None:
        self.flow = flow
        self.opened = opened
        self.known = known
        self.name = name
        self.spoke = False
        self.cause = ""
        self.carried: set[Flow] = set()
        self.task: asyncio.Task[None] | None = None
        self.raw: socket.socket | None = None
        self.places: Places[StreamConnection] | None = None
        self._endpoint = endpoint
        self._loop = loop
        self._state = State.OPENING
        self._transport: asyncio.Transport | None = None
        self._framer = StreamFramer(endpoint.limits.body_bytes)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._mid_message = False
        self._pings = 0
        self._pings_since = 0.0
        self._lingered = 0
        limits = endpoint.limits
        self.deadline = loop.time() + (limits.connect_seconds if opened else limits.message_seconds)

    @property
    def _silence(self) -> float:
        """How long it may say nothing."""
        limits = self._endpoint.limits
        return limits.idle_seconds if self.known else limits.message_seconds

    # --- out ------------------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> bool:
        """Send a message that was meant for `flow`, or keep it until the connection is ready; False when it
        cannot be kept."""
        if not is_response(data):
            self.carried.add(flow)
        if self._state is State.OPEN:
            if not self._mid_message:
                self.deadline = self._loop.time() + self._silence
            self._write(data)
            return True
        if self._waiting_bytes + len(data) > self._endpoint.limits.waiting_bytes:
            return False
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        return True

    def _write(self, data: bytes) -> None:
        self._encode(data)
        self._check_unread()

    def _encode(self, data: bytes) -> None:
        """Hand bytes to the system; TLS encrypts them first."""
        if self._transport is not None:
            self._transport.write(data)

    def _check_unread(self) -> None:
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() > self._endpoint.limits.unread_bytes:
            self.abort(Cause.UNREAD)

    # --- in -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The system's connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        self.raw = None
        if self._state is not State.OPENING:
            self._transport.abort()
            return
        _tune(transport.get_extra_info("socket"))
        self._begin()

    def _begin(self) -> None:
        self._become_ready()

    def _become_ready(self) -> None:
        self._state = State.OPEN
        self.deadline = self._loop.time() + self._silence
        self._endpoint.ready(self)
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._encode(data)
        self._check_unread()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._endpoint.window

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self._state >= State.CLOSING:
            self._lingered += nbytes
            if self._lingered > _MOST_LINGERING:
                self.abort(self.cause)
            return
        self._arrived(bytes(self._endpoint.window[:nbytes]))

    def _arrived(self, data: bytes) -> None:
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Cut what came into messages, answer pings, and set the time for what has to come next."""
        framer = self._framer
        messages = framer.feed(data)
        limits = self._endpoint.limits
        now = self._loop.time()
        if messages:
            self.spoke = True
        pinged = framer.pings > 0
        if messages or (pinged and self.spoke and self.known):
            self.deadline = now + self._silence
        self._mid_message = framer.partial
        if framer.partial:
            self.deadline = min(self.deadline, now + limits.message_seconds)
        if pinged:
            self._pong(framer, now)
        if messages:
            self._endpoint.delivered(self, messages)
        if framer.error is not None and self._state < State.CLOSING:
            self._endpoint.malformed(self, framer.error)

    def _pong(self, framer: StreamFramer, now: float) -> None:
        pings, framer.pings = framer.pings, 0
        if now - self._pings_since > PING_SECONDS:
            self._pings_since = now
            self._pings = 0
        self._pings += pings
        if self._pings > MOST_PINGS:
            self.abort(Cause.FLOOD)
        else:
            self._write(_PONG * pings)

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self._state >= State.CLOSING:
            self.abort(self.cause)
        elif self._state is State.OPENING:
            self.close(Cause.FAILED if self.opened else Cause.SLOW)
        elif self._mid_message:
            self.close(Cause.SLOW)
        elif self._endpoint.needed(self):
            self.deadline = now + self._endpoint.limits.idle_seconds
        else:
            self.close(Cause.IDLE)

    def hurry(self, seconds: float) -> None:
        """Give up if it is not ready by then."""
        if self._state is State.OPENING:
            self._loop.call_later(seconds, self._give_up_opening)

    def _give_up_opening(self) -> None:
        if self._state is State.OPENING:
            self.close(Cause.FAILED)

    # --- the end --------------------------------------------------------------------------------------------

    def answer_and_close(self, answer: bytes | None, cause: str) -> None:
        """Say a last word, and close in a way that lets the peer read it: closing with unread bytes would
        reset the connection, and the answer be lost."""
        if answer is not None and self._state is State.OPEN:
            self._write(answer)
        self.close(cause, linger=True)

    def close(self, cause: str, *, linger: bool = False) -> None:
        """Close, once what is on its way has been sent; `linger`: once the peer has closed, too."""
        transport = self._transport
        if self._state >= State.CLOSING:
            if transport is not None and not linger:
                transport.close()
            return
        self._leave(State.CLOSING, cause)
        if transport is None:
            self._never_made()
            return
        self._farewell()
        if linger and transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def abort(self, cause: str) -> None:
        """Close at once; what has not been sent is lost."""
        if self._state is State.GONE:
            return
        if self._state < State.CLOSING:
            self._leave(State.CLOSING, cause)
        if self._transport is None:
            self._never_made()
        else:
            self._transport.abort()

    def _leave(self, state: State, cause: str) -> None:
        self._state = state
        self.cause = cause
        self.deadline = self._loop.time() + LINGER_SECONDS
        self._waiting.clear()
        self._endpoint.retire(self)

    def _never_made(self) -> None:
        """It had not come to a connection yet."""
        self._state = State.GONE
        if self.task is not None:
            self.task.cancel()
        if self.raw is not None:
            self.raw.close()
            self.raw = None
        self._loop.call_soon(self._endpoint.lost, self)

    def _farewell(self) -> None:
        """The last bytes of the protocol in between: TLS has some."""

    def eof_received(self) -> bool:
        """The peer will send nothing more. It counts as closed: whatever a peer that can answer nothing is
        sent is lost, and a response has another way (RFC 3261 §18.2.2)."""
        self.close(Cause.PEER)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The system's connection is gone."""
        if self._state is State.GONE:
            return
        if self._state < State.CLOSING:
            self._leave(State.CLOSING, Cause.PEER)
        self._state = State.GONE
        self._endpoint.lost(self)


def _tune(raw: socket.socket | None) -> None:
    if raw is None:
        return
    for level, option, value in _SOCKET_OPTIONS:
        number = getattr(socket, option, None)
        if number is not None:
            with suppress(OSError):  # gone already, which will show
                raw.setsockopt(level, number, value)
