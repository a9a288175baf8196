"""TcpEndpoint: one listening socket, the connections that it took and those opened in its name."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import socket
from collections.abc import Callable
from typing import Final

from proxy.observe.tasks import TaskKeeper
from proxy.sip.counters import OUT, STATUS_KINDS, SipCounters
from proxy.sip.framing import FramingError
from proxy.sip.listeners import EVERYWHERE, Address
from proxy.sip.malformed import error_response
from proxy.sip.message import Flow
from proxy.transport.connection import LINGER_SECONDS, Cause, StreamConnection
from proxy.transport.limits import StreamLimits
from proxy.transport.places import Places, origin_of
from proxy.transport.reopening import is_response, way_back

_log = logging.getLogger(__name__)

Messages = list[tuple[bytes, Flow]]

BATCH: Final = 64
"""Most connections taken, and bytes in KiB read from one of them, in one turn of the loop."""

HURRY_SECONDS: Final = 1.0
"""How long a connection for a flow that is a mere try may take to open: its message waits for that."""

_BACKLOG: Final = 1024
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_PAUSE: Final = 0.5
_COARSEST_SWEEP: Final = 1.0
_ids: Final = itertools.count(1)


def _nobody(_: object) -> bool:
    return False


class TcpEndpoint:
    """Stream transport of one listener. A flow's `connection` above 0 is one connection; 0 is whichever leads
    to its remote address, opened when there is none; `HURRIED` is the same, given up when it does not open
    within a second.

    `on_messages` gets what came in one read, with its flows. `on_closed` gets each flow that requests were
    sent for and that will bring no answer any more; never from within `send`.

    Figures: `closed` by cause (see `Cause`), `refused` for want of a place, `unsent` messages.
    """

    transport = "tcp"

    def __init__(
        self,
        host: str,
        port: int,
        on_messages: Callable[[Messages], None],
        on_closed: Callable[[Flow], None],
        counters: SipCounters,
        limits: StreamLimits | None = None,
        *,
        known: Callable[[str], bool] = _nobody,
        in_use: Callable[[Flow], bool] = _nobody,
    ) -> None:
        """Bind and listen at once, on the running loop; port 0 lets the system choose. Raises OSError.

        `known`: whether an address belongs to a trunk or a provider. `in_use`: whether a call counts on the
        connection of this flow, which is then kept however long it is idle.
        """
        self.limits = limits or StreamLimits()
        self.loop = asyncio.get_running_loop()
        self._socket = _listening_socket(host, port)
        self.local: Address = (host, self._socket.getsockname()[1])
        self.closed: dict[str, int] = {}
        self.refused = 0
        self.unsent = 0
        self.window = memoryview(bytearray(BATCH * 1024))
        self._on_messages = on_messages
        self._on_closed = on_closed
        self._counters = counters
        self._known = known
        self._in_use = in_use
        self._keeper = TaskKeeper()
        self._all: set[StreamConnection] = set()
        self._by_id: dict[int, StreamConnection] = {}
        self._accepted: dict[Address, StreamConnection] = {}
        self._opened: dict[tuple[Address, str], StreamConnection] = {}
        limits = self.limits
        self._known_places: Places[StreamConnection] = Places(limits.known, limits.known_per_address)
        self._stranger_places: Places[StreamConnection] = Places(
            limits.strangers, limits.strangers_per_address
        )
        self._reopened_places: Places[StreamConnection] = Places(
            limits.strangers, limits.strangers_per_address
        )
        self._sweeper: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._stopping = False
        self._sending = False
        self._broken: set[Flow] = set()
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        """How many connections there are, the closing ones included."""
        return len(self._all)

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take connections."""
        self.loop.add_reader(self._socket.fileno(), self._accept)
        self._sweep()

    async def close(self) -> None:
        """Take no more connections and close all, letting them send what they have; nothing is told to
        `on_closed` any more."""
        self._stopping = True
        for timer in (self._sweeper, self._pause):
            if timer is not None:
                timer.cancel()
        if self._socket.fileno() >= 0:
            self.loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for connection in list(self._all):
            connection.close(Cause.STOPPED)
        if self._all:
            try:
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._empty.wait()
            except TimeoutError:
                for connection in list(self._all):
                    connection.abort(Cause.STOPPED)
                await asyncio.sleep(0)
        await self._keeper.stop()

    def forget_peers(self) -> None:
        """Close what a peer opened that was known and is no more, but for connections that a call counts
        on."""
        for connection in list(self._accepted.values()):
            flow = connection.flow
            if connection.known and not self._known(flow.remote[0]) and not self._in_use(flow):
                connection.close(Cause.FORGOTTEN)

    # --- out ------------------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message. A response whose connection is gone gets a new one (RFC 3261 §18.2.2); a
        request's flow is then given to `on_closed`, in a later turn of the loop."""
        if self._broken and flow in self._broken and not is_response(data):
            self.unsent += 1  # its end is being told: a new connection would not save it
            return
        self._sending = True
        try:
            self._send(data, flow)
        finally:
            self._sending = False

    def _send(self, data: bytes, flow: Flow) -> None:
        if flow.connection > 0:
            connection = self._by_id.get(flow.connection)
            if connection is None and is_response(data):
                connection = self._reopen(data, flow)
        else:
            connection = self._towards(flow, self._name_of(flow))
            if connection is not None and flow.hurried:
                connection.hurry(HURRY_SECONDS)
        if connection is None:
            self.unsent += 1
            if not is_response(data):
                self.loop.call_soon(self._tell_closed, flow)
        elif not connection.send(data, flow):
            self.unsent += 1

    def _name_of(self, flow: Flow) -> str:
        """What the peer has to be certified as; plain TCP asks for nothing."""
        return ""

    def _towards(self, flow: Flow, name: str) -> StreamConnection | None:
        """The connection to the far end of `flow`, whoever opened it, or a new one; None when there may be no
        more."""
        connection = self._found(flow.remote, name)
        if connection is not None:
            return connection
        if sum(1 for found in self._opened.values() if found.places is None) >= self.limits.opened:
            return None
        return self._open(flow.local, flow.remote, name, known=True)

    def _found(self, remote: Address, name: str) -> StreamConnection | None:
        connection = self._opened.get((remote, name))
        if connection is not None:
            return connection
        connection = self._accepted.get(remote)
        if connection is not None and self._speaks_for(connection, name):
            return connection
        return None

    def _speaks_for(self, connection: StreamConnection, name: str) -> bool:
        return True

    def _reopen(self, data: bytes, flow: Flow) -> StreamConnection | None:
        """Another connection for a response. Whoever breaks connections off while he is owed responses gets
        no more of them than a stranger."""
        target = way_back(data, flow)
        if target is None:
            return None
        remote, host = target
        name = self._name_of_host(host)
        connection = self._found(remote, name)
        if connection is None:
            connection = self._open(flow.local, remote, name, known=False)
            if connection is not None and not self._seat(connection, self._reopened_places):
                connection.abort(Cause.FAILED)
                return None
        return connection

    def _name_of_host(self, host: str) -> str:
        return ""

    def _open(self, local: Address, remote: Address, name: str, *, known: bool) -> StreamConnection | None:
        if self._stopping:
            return None
        flow = Flow(self.transport, local, remote, next(_ids))
        connection = self._make(flow, opened=True, known=known, name=name)
        self._enter(connection)
        self._opened[(remote, name)] = connection
        connection.task = self._keeper.start(self._connect(connection), name=f"{self.transport} to a peer")
        return connection

    async def _connect(self, connection: StreamConnection) -> None:
        host = connection.flow.local[0]
        try:
            await self._connect_from(None if host in EVERYWHERE else (host, 0), connection)
        except OSError as error:
            _log.info("no %s connection to %s: %s", self.transport, connection.flow.remote, error)
            connection.close(Cause.FAILED)

    async def _connect_from(self, source: Address | None, connection: StreamConnection) -> None:
        try:
            await self.loop.create_connection(lambda: connection, *connection.flow.remote, local_addr=source)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or self.local[0] not in EVERYWHERE or source is None:
                raise
            # The machine has lost this address, or never had it: any other is as good as none.
            await self._connect_from(None, connection)

    # --- in -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                taken, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    _log.error("no more connections can be taken: %s", error)
                    self.loop.remove_reader(self._socket.fileno())
                    self._pause = self.loop.call_later(_EXHAUSTED_PAUSE, self._resume)
                    return
                continue  # an error of that one connection, which is gone
            self._admit(taken, (address[0], address[1]))

    def _resume(self) -> None:
        self.loop.add_reader(self._socket.fileno(), self._accept)

    def _admit(self, taken: socket.socket, remote: Address) -> None:
        known = self._known(remote[0])
        local = self.local
        if local[0] in EVERYWHERE:
            own = taken.getsockname()
            local = (own[0], own[1])
        flow = Flow(self.transport, local, remote, next(_ids))
        connection = self._make(flow, opened=False, known=known)
        if not self._seat(connection, self._known_places if known else self._stranger_places):
            self.refused += 1
            taken.close()
            return
        taken.setblocking(False)
        connection.raw = taken
        self._enter(connection)
        self._accepted[remote] = connection
        connection.task = self._keeper.start(
            self._adopt(connection, taken), name=f"{self.transport} accepted"
        )

    async def _adopt(self, connection: StreamConnection, taken: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: connection, taken)
        except OSError as error:
            _log.info("a connection was lost as it came: %s", error)
            connection.close(Cause.FAILED)

    def _make(self, flow: Flow, *, opened: bool, known: bool, name: str = "") -> StreamConnection:
        return StreamConnection(self, flow, self.loop, opened=opened, known=known, name=name)

    def _seat(self, connection: StreamConnection, places: Places[StreamConnection]) -> bool:
        """Whether there is room for it; who has to go for that goes."""
        room, victim = places.enter(connection, origin_of(connection.flow.remote[0]))
        if victim is not None:
            victim.abort(Cause.EVICTED)
        if room:
            connection.places = places
        return room

    def _enter(self, connection: StreamConnection) -> None:
        self._empty.clear()
        self._all.add(connection)
        self._by_id[connection.flow.connection] = connection

    # --- what connections tell ------------------------------------------------------------------------------

    def delivered(self, connection: StreamConnection, messages: list[bytes]) -> None:
        """Whole messages came."""
        if connection.places is not None:
            connection.places.spoke(connection)
        flow = connection.flow
        self._on_messages([(data, flow) for data in messages])

    def malformed(self, connection: StreamConnection, error: FramingError) -> None:
        """The stream is spoilt: answer where that can be done, and close."""
        self._counters.malformation(error.cause)
        found = error_response(error.head, connection.flow, error)
        if found is not None:
            self._counters.message(OUT, self.transport, STATUS_KINDS[error.status // 100])
        connection.answer_and_close(None if found is None else found[0], Cause.MALFORMED)

    def ready(self, connection: StreamConnection) -> None:
        """It can send."""
        connection.task = None

    def retire(self, connection: StreamConnection) -> None:
        """Send nothing more over it; whoever waits for an answer on it shall know."""
        flow = connection.flow
        self._by_id.pop(flow.connection, None)
        if connection.opened:
            key = (flow.remote, connection.name)
            if self._opened.get(key) is connection:
                del self._opened[key]
        elif self._accepted.get(flow.remote) is connection:
            del self._accepted[flow.remote]
        # At once: what is sent for the same flow from now on goes over another connection, and must not be
        # taken for lost with this one.
        carried, connection.carried = connection.carried, set()
        for flow in carried:
            if self._sending:
                self._broken.add(flow)
                self.loop.call_soon(self._tell_closed, flow)
            else:
                self._tell_closed(flow)

    def lost(self, connection: StreamConnection) -> None:
        """It is gone."""
        self._all.discard(connection)
        if connection.places is not None:
            connection.places.leave(connection)
        self.closed[connection.cause] = self.closed.get(connection.cause, 0) + 1
        if not self._all:
            self._empty.set()

    def needed(self, connection: StreamConnection) -> bool:
        """Whether a call counts on it."""
        return connection.known and connection.spoke and self._in_use(connection.flow)

    def _tell_closed(self, flow: Flow) -> None:
        self._broken.discard(flow)
        if not self._stopping:
            self._on_closed(flow)

    def _sweep(self) -> None:
        """Close what has outlived its time."""
        now = self.loop.time()
        for connection in [found for found in self._all if found.deadline <= now]:
            connection.expire(now)
        limits = self.limits
        shortest = min(limits.message_seconds, limits.idle_seconds, limits.connect_seconds)
        self._sweeper = self.loop.call_later(min(_COARSEST_SWEEP, shortest / 4), self._sweep)


def _listening_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart may bind while connections of the old process are still being forgotten.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.setblocking(False)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError:
        found.close()
        raise
    return found
