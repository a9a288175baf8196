"""Listening: the SIP sockets of `listen`, bound, and what they are called in Via and Record-Route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from config.listeners import by_socket
from config.model import Config, Listener
from proxy.call.forwarding import Identity
from proxy.routing.source import source_towards
from proxy.sip.counters import SipCounters
from proxy.sip.listeners import EVERYWHERE, ByListener
from proxy.sip.message import Flow
from proxy.transport.contexts import CertificateError, files_by_bind
from proxy.transport.everywhere import UdpEverywhere
from proxy.transport.identity import PeerNames
from proxy.transport.limits import StreamLimits
from proxy.transport.tcp import TcpEndpoint
from proxy.transport.tls import TlsEndpoint
from proxy.transport.udp import Datagrams, UdpEndpoint


class CannotBind(Exception):
    """A socket or file of ours is taken, or not ours to open."""


class Receiver(Protocol):
    """Who takes what arrives."""

    def on_datagrams(self, batch: Datagrams) -> None: ...

    def on_messages(self, batch: Datagrams) -> None: ...

    def on_closed(self, flow: Flow) -> None: ...


class Listening:
    """Binds one socket after the other; `endpoints` are those that are bound, also when the next one cannot
    be."""

    def __init__(
        self,
        config: Config,
        counters: SipCounters,
        *,
        receiver: Callable[[], Receiver],
        known: Callable[[str], bool],
        in_use: Callable[[Flow], bool],
        silent: bool,
    ) -> None:
        """`receiver` gives who takes what arrives, once something does. `known` is true of the addresses of
        trunks and providers, `in_use` of connections that calls need. silent: strangers are not even
        answered."""
        self.endpoints: list[UdpEndpoint | TcpEndpoint] = []
        self.tls: dict[str, TlsEndpoint] = {}
        self.identities: ByListener[Identity] = ByListener()
        self.names = PeerNames()
        self._config = config
        self._counters = counters
        self._receiver = receiver
        self._known = known
        self._in_use = in_use
        # Strangers who are not even answered need no connections.
        self._limits = StreamLimits(strangers=0) if silent else StreamLimits()

    def bind(self) -> None:
        """Bind all. Raises CannotBind."""
        for group in by_socket(self._config.listen):
            listener = group[0]
            try:
                endpoint = self._endpoint(listener)
            except CertificateError as error:
                raise CannotBind(f"cannot serve {listener.bind}: {error}") from error
            except OSError as error:
                raise CannotBind(f"cannot bind {listener.bind}: {error.strerror}") from error
            self.endpoints.append(endpoint)
            self.identities[(listener.transport, endpoint.local)] = Identity(
                listener.transport, _sent_by(listener, self._config.advertise, endpoint.local)
            )

    def _endpoint(self, listener: Listener) -> UdpEndpoint | TcpEndpoint:
        host, port, receiver = listener.host, listener.port, self._receiver
        if listener.transport == "udp":
            kind = UdpEverywhere if host in EVERYWHERE else UdpEndpoint
            return kind(host, port, lambda batch: receiver().on_datagrams(batch))
        if listener.transport == "tcp":
            return TcpEndpoint(
                host,
                port,
                lambda batch: receiver().on_messages(batch),
                lambda flow: receiver().on_closed(flow),
                self._counters,
                self._limits,
                known=self._known,
                in_use=self._in_use,
            )
        endpoint = TlsEndpoint(
            host,
            port,
            lambda batch: receiver().on_messages(batch),
            lambda flow: receiver().on_closed(flow),
            self._counters,
            files_by_bind(self._config)[listener.bind],
            self.names,
            self._limits,
            known=self._known,
            in_use=self._in_use,
        )
        self.tls[listener.bind] = endpoint
        return endpoint


def host_port(host: str, port: int) -> str:
    """As an address is written: `127.0.0.1:5060`, `[::1]:5060`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _sent_by(listener: Listener, advertise: str | None, local: tuple[str, int]) -> bytes:
    """What Via and Record-Route say of a listener: what the operator advertises, else the address itself."""
    name = listener.advertise or advertise
    if name is not None:
        return name.encode()
    host, port = local
    if host in EVERYWHERE:
        host = _default_address(":" in host)
    return host_port(host, port).encode()


def _default_address(ipv6: bool) -> str:
    """The address that packets leave with when they leave this machine."""
    beyond, alone = ("2001:db8::1", "::1") if ipv6 else ("192.0.2.1", "127.0.0.1")
    return source_towards(beyond) or alone
