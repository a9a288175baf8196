"""TlsEndpoint: TCP with TLS over it, peers verified by name, and connections used in both directions."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from proxy.observe.logs import Sampler
from proxy.sip.counters import SipCounters
from proxy.sip.listeners import Address
from proxy.sip.message import Flow
from proxy.transport.connection import Cause, State, StreamConnection
from proxy.transport.contexts import TlsContexts, TlsFiles
from proxy.transport.identity import Certificate, PeerNames, certifies, server_name
from proxy.transport.limits import StreamLimits
from proxy.transport.reopening import asks_for_reuse
from proxy.transport.tcp import Messages, TcpEndpoint

_log = logging.getLogger(__name__)

_RECORD: Final = 65536
_MOST_ALIASES: Final = 8


class TlsConnection(StreamConnection):
    """TLS between the connection and the system, in memory: so that its buffers and its time are as bounded
    as those of plain TCP. Nothing is sent before the peer has proved to be `name`. `vouched` tells by which
    authorities, once they are asked."""

    def __init__(self, endpoint: TlsEndpoint, flow: Flow, *, opened: bool, known: bool, name: str) -> None:
        super().__init__(endpoint, flow, endpoint.loop, opened=opened, known=known, name=name)
        self.certificate: Certificate = {}
        self.aliases: list[Address] = []
        self.vouched: bytes | None = None
        self._tls_endpoint = endpoint
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject

    def _begin(self) -> None:
        contexts = self._tls_endpoint.contexts
        self.vouched = contexts.authorities(self.name) if self.opened else contexts.callers
        self._tls = (contexts.client(self.name) if self.opened else contexts.server).wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=not self.opened,
            server_hostname=server_name(self.name) if self.opened else None,
        )
        if self.opened:
            self._shake_hands()

    def _arrived(self, data: bytes) -> None:
        self._incoming.write(data)
        if self._state is State.OPENING:
            self._shake_hands()
        if self._state is State.OPEN:
            self._decrypt()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            self._check_unread()
            return
        except (ssl.SSLError, ValueError) as error:
            self._refuse(str(error))
            return
        self.certificate = self._tls.getpeercert() or {}
        if self.opened and not certifies(self.certificate, self.name):
            self._refuse(f"its certificate does not speak for {self.name}")
            return
        self._flush()
        self._become_ready()

    def _refuse(self, why: str) -> None:
        self._tls_endpoint.failed(self.flow.remote[0], why)
        self._flush()
        self.close(Cause.TLS)

    def _decrypt(self) -> None:
        chunks: list[bytes] = []
        over = False
        while not over:
            try:
                chunk = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                over = True
            else:
                over = not chunk
                chunks.append(chunk)
        self._flush()
        if chunks:
            self._take(b"".join(chunks))
        if over:
            self.close(Cause.PEER)

    def _encode(self, data: bytes) -> None:
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self.abort(Cause.TLS)
            return
        self._flush()

    def _flush(self) -> None:
        waiting = self._outgoing.read()
        if waiting:
            super()._encode(waiting)

    def _farewell(self) -> None:
        with suppress(ssl.SSLError, ValueError):
            self._tls.unwrap()  # it wants the peer's part, which is not waited for
        self._flush()


class TlsEndpoint(TcpEndpoint):
    """A TLS listener, used like a TcpEndpoint. A flow that leads to a new connection says whom the peer must
    be certified as: the name that its `connection`, below 0, has in `names`; at 0 the remote address
    itself."""

    transport = "tls"

    def __init__(
        self,
        host: str,
        port: int,
        on_messages: Callable[[Messages], None],
        on_closed: Callable[[Flow], None],
        counters: SipCounters,
        files: TlsFiles,
        names: PeerNames,
        limits: StreamLimits | None = None,
        *,
        known: Callable[[str], bool],
        in_use: Callable[[Flow], bool],
    ) -> None:
        """As TcpEndpoint; raises CertificateError too, before anything is bound."""
        self._names = names
        self.contexts = TlsContexts(files)
        self._aliases: dict[Address, TlsConnection] = {}
        self._failures = Sampler()
        self._handshakes = 0.0
        self._handshakes_at = 0.0
        super().__init__(host, port, on_messages, on_closed, counters, limits, known=known, in_use=in_use)

    def failed(self, host: str, why: str) -> None:
        """A handshake failed. The first few of an address are logged, so that nobody can fill the log."""
        unsaid = self._failures.admit(host, self.loop.time())
        if unsaid is not None:
            _log.warning("TLS with %s failed: %s", host, why, extra={"unsaid": unsaid})

    def delivered(self, connection: StreamConnection, messages: list[bytes]) -> None:
        """Whole messages came, maybe with the wish to get requests by the same way (RFC 5923)."""
        if isinstance(connection, TlsConnection) and connection.certificate and not connection.opened:
            for data in messages:
                if b"alias" in data:
                    self._alias(connection, data)
        super().delivered(connection, messages)

    def _alias(self, connection: TlsConnection, data: bytes) -> None:
        """Send requests for the sent-by of this request's Via, at the address that it came from, over this
        connection: only where its certificate speaks for that sent-by. Whom such a request is for, and
        whether it may go this way, is judged when there is one."""
        asked = asks_for_reuse(data)
        if asked is None or not certifies(connection.certificate, asked[0]):
            return
        address = (connection.flow.remote[0], asked[1])
        if self._aliases.get(address) is not connection and len(connection.aliases) < _MOST_ALIASES:
            connection.aliases.append(address)
            self._aliases[address] = connection

    def certificate(self, flow: Flow) -> Certificate:
        """The verified certificate of the peer at the other end of `flow`; empty when it showed none."""
        connection = self._by_id.get(flow.connection)
        return connection.certificate if isinstance(connection, TlsConnection) else {}

    def retire(self, connection: StreamConnection) -> None:
        """Send nothing more over it."""
        if isinstance(connection, TlsConnection):
            for address in connection.aliases:
                if self._aliases.get(address) is connection:
                    del self._aliases[address]
        super().retire(connection)

    def _name_of(self, flow: Flow) -> str:
        return self._names.name(flow.connection) or flow.remote[0]

    def _name_of_host(self, host: str) -> str:
        return host

    def _found(self, remote: Address, name: str) -> StreamConnection | None:
        alias = self._aliases.get(remote)
        if alias is not None and self._speaks_for(alias, name):
            return alias
        found = super()._found(remote, name)
        if isinstance(found, TlsConnection) and found.opened and not self._still_vouched(found):
            return None
        return found

    def _still_vouched(self, connection: TlsConnection) -> bool:
        """Whether those who certified the peer of a connection of ours are still asked. For one on its way
        they will be."""
        return connection.vouched in (None, self.contexts.authorities(connection.name))

    def _speaks_for(self, connection: StreamConnection, name: str) -> bool:
        """Whether a connection that the peer opened may carry requests for `name`."""
        return (
            isinstance(connection, TlsConnection)
            and connection.vouched == self.contexts.callers
            and certifies(connection.certificate, name)
            and self.contexts.may_call_back(name)
        )

    def _admit(self, taken: socket.socket, remote: Address) -> None:
        """Strangers get so many handshakes a second: each costs more than what it takes to ask for it."""
        if self.limits.strangers and not self._known(remote[0]) and not self._may_shake_hands():
            self.refused += 1
            taken.close()
            return
        super()._admit(taken, remote)

    def _may_shake_hands(self) -> bool:
        now = self.loop.time()
        most = self.limits.stranger_handshakes
        left = min(most, self._handshakes + (now - self._handshakes_at) * most)
        self._handshakes_at = now
        self._handshakes = left if left < 1.0 else left - 1.0
        return left >= 1.0

    def _make(self, flow: Flow, *, opened: bool, known: bool, name: str = "") -> StreamConnection:
        return TlsConnection(self, flow, opened=opened, known=known, name=name)
