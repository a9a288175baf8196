"""Ways: from the URI of a next hop to the flow that leads there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from proxy.sip.errors import UriError
from proxy.sip.listeners import ByListener
from proxy.sip.message import HURRIED, Flow
from proxy.sip.uri import SipUri

DEFAULT_PORT = 5060
DEFAULT_TLS_PORT = 5061
_TRANSPORTS = {b"udp": "udp", b"tcp": "tcp", b"tls": "tls"}


class Ways:
    """What our listeners can reach: `listeners` are their local addresses, by transport."""

    def __init__(self, listeners: Iterable[tuple[str, tuple[str, int]]]) -> None:
        listeners = tuple(listeners)
        self._all = ByListener((listener, None) for listener in listeners)
        self._locals: dict[tuple[str, bool], tuple[str, int]] = {}
        for transport, local in listeners:
            self._locals.setdefault((transport, ":" in local[0]), local)

    def own(self, flow: Flow) -> Flow | None:
        """The way of `flow`, which need not be from here, from a listener of ours; None when none can."""
        if self._all.covers(flow[:2]):
            return flow
        local = self._locals.get((flow.transport, ":" in flow.local[0]))
        return None if local is None else flow._replace(local=local)

    def towards(self, uri: bytes, base: Flow) -> Flow | None:
        """The flow to the host of `uri` for a dialog that has used `base`; None when the host is a name,
        which no dialog resolves, or no listener of ours can reach it.

        The transport is what the URI says (RFC 3263 §4.1). Where it says nothing, the host that `base` leads
        to keeps its own, as its connection stands, and any other gets UDP. Over TLS the peer has to be whom
        `base` asks for.
        """
        hop = _hop(uri)
        if hop is None:
            return None
        transport, host, port = hop
        ipv6 = ":" in host
        if not transport:
            transport = (
                base.transport if host == base.remote[0] or ("udp", ipv6) not in self._locals else "udp"
            )
        if transport == base.transport and ipv6 == (":" in base.local[0]):
            local = base.local
        else:
            found = self._locals.get((transport, ipv6))
            if found is None:
                return None
            local = found
        connection = base.connection if transport == "tls" and base.connection < 0 else 0
        return Flow(
            transport,
            local,
            (host, port or (DEFAULT_TLS_PORT if transport == "tls" else DEFAULT_PORT)),
            connection,
        )

    def stream(self, remote: tuple[str, int]) -> Flow | None:
        """A flow to try TCP by; None where we have no such listener."""
        local = self._locals.get(("tcp", ":" in remote[0]))
        return None if local is None else Flow("tcp", local, remote, HURRIED)


@lru_cache(maxsize=4096)
def _hop(uri: bytes) -> tuple[str, str, int] | None:
    """(transport or "", address, port or 0), None where the host is no address or the transport not ours."""
    try:
        parsed = SipUri.parse(uri)
    except UriError:
        return None
    try:
        host = str(ipaddress.ip_address(parsed.host.strip(b"[]").decode("ascii")))
    except ValueError:
        return None
    asked = parsed.param(b"transport")
    if parsed.scheme == b"sips":
        asked = b"tls"
    if asked is None:
        return "", host, parsed.port or 0
    transport = _TRANSPORTS.get(asked.lower())
    return None if transport is None else (transport, host, parsed.port or 0)
