"""TlsEndpoint: TCP with TLS 1.2 or later over it, server certificate, client certificates and verified
names."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from proxy.sip.counters import SipCounters
from proxy.sip.message import Flow
from proxy.transport.connection import Cause, State, StreamConnection
from proxy.transport.identity import Certificate, PeerNames, certifies, server_name
from proxy.transport.limits import StreamLimits
from proxy.transport.tcp import Address, Messages, TcpEndpoint

_log = logging.getLogger(__name__)

_RECORD: Final = 65536
_MOST_ALIASES: Final = 8


class CertificateError(Exception):
    """A certificate, key or authority file that cannot be used; the text names it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM form. certificate and key: shown to whoever connects, and to whom we connect where it
    asks. client_ca: whoever connects must show a certificate of one of these authorities. trusted_ca:
    authorities of those that we connect to; None: the system's. by_name: other (certificate, key) pairs, by
    the server name that a client asks for (SNI)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    trusted_ca: Path | None = None
    by_name: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)


class TlsContexts:
    """What the files say, read at one moment."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises CertificateError."""
        self.server = self._server(files, files.certificate, files.key)
        self._by_name = {
            name.lower().rstrip("."): self._server(files, *pair) for name, pair in files.by_name.items()
        }
        if self._by_name:
            self.server.sni_callback = self._choose
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT)
        # The name is compared by the rules of SIP (RFC 5922), which are not those of the web.
        self.client.check_hostname = False
        self.client.verify_mode = ssl.CERT_REQUIRED
        if files.trusted_ca is None:
            self.client.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _load_authorities(self.client, files.trusted_ca)
        _load_pair(self.client, files.certificate, files.key)

    def _server(self, files: TlsFiles, certificate: Path, key: Path) -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_SERVER)
        _load_pair(context, certificate, key)
        if files.client_ca is not None:
            _load_authorities(context, files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _choose(self, found: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """The certificate that the client asks for; the first one for any other name."""
        chosen = self._by_name.get((name or "").lower().rstrip("."))
        if chosen is not None:
            found.context = chosen


class TlsConnection(StreamConnection):
    """TLS between the connection and the system, in memory: so that its buffers and its time are as bounded
    as those of plain TCP. Nothing is sent before the peer has proved to be `name`."""

    def __init__(self, endpoint: TlsEndpoint, flow: Flow, *, opened: bool, known: bool, name: str) -> None:
        super().__init__(endpoint, flow, endpoint.loop, opened=opened, known=known, name=name)
        self.certificate: Certificate = {}
        self.aliases: list[Address] = []
        self._tls_endpoint = endpoint
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject

    def _begin(self) -> None:
        contexts = self._tls_endpoint.contexts
        self._tls = (contexts.client if self.opened else contexts.server).wrap_bio(
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
        _log.warning("TLS with %s failed: %s", self.flow.remote, why)
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
        self._files = files
        self._names = names
        self.contexts = TlsContexts(files)
        self._aliases: dict[Address, TlsConnection] = {}
        super().__init__(host, port, on_messages, on_closed, counters, limits, known=known, in_use=in_use)

    def reload(self) -> None:
        """Read the files again, for connections to come. Raises CertificateError, and keeps what it had."""
        self.contexts = TlsContexts(self._files)

    def alias(self, flow: Flow, sent_by: str, port: int) -> bool:
        """Send requests for `sent_by`, at the address of `flow` and `port`, over the connection of `flow`
        (RFC 5923): what a client asks for by `alias` in its Via. Only for one whose certificate speaks for
        `sent_by`; returns whether it does."""
        connection = self._by_id.get(flow.connection)
        if not isinstance(connection, TlsConnection) or not certifies(connection.certificate, sent_by):
            return False
        address = (flow.remote[0], port)
        if self._aliases.get(address) is not connection:
            if len(connection.aliases) == _MOST_ALIASES:
                return False
            connection.aliases.append(address)
            self._aliases[address] = connection
        return True

    def certificate(self, flow: Flow) -> Certificate:
        """The verified certificate of the peer at the other end of `flow`; empty when it showed none."""
        connection = self._by_id.get(flow.connection)
        return connection.certificate if isinstance(connection, TlsConnection) else {}

    def retire(self, connection: StreamConnection) -> None:
        """Send nothing more over it."""
        super().retire(connection)
        if isinstance(connection, TlsConnection):
            for address in connection.aliases:
                if self._aliases.get(address) is connection:
                    del self._aliases[address]

    def _name_of(self, flow: Flow) -> str:
        return self._names.name(flow.connection) or flow.remote[0]

    def _name_of_host(self, host: str) -> str:
        return host

    def _found(self, remote: Address, name: str) -> StreamConnection | None:
        alias = self._aliases.get(remote)
        if alias is not None and self._speaks_for(alias, name):
            return alias
        return super()._found(remote, name)

    def _speaks_for(self, connection: StreamConnection, name: str) -> bool:
        return isinstance(connection, TlsConnection) and certifies(connection.certificate, name)

    def _make(self, flow: Flow, *, opened: bool, known: bool, name: str = "") -> StreamConnection:
        return TlsConnection(self, flow, opened=opened, known=known, name=name)


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise CertificateError(f"certificate {certificate} with key {key}: {error}") from error


def _load_authorities(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        raise CertificateError(f"authorities {authorities}: {error}") from error


def _no_password() -> NoReturn:
    """Without this the program would stop and ask at the terminal."""
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")
