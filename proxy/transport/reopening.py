"""What a topmost Via says of connections: where a response goes whose connection is gone (RFC 3261 §18.2.2),
and whether its sender wants requests on the connection that it opened (RFC 5923)."""

from __future__ import annotations

import re
from typing import Final

from proxy.sip.errors import HeaderError
from proxy.sip.headers import parse_params, parse_via
from proxy.sip.message import Flow, Via, unfold

DEFAULT_PORTS: Final = {"tcp": 5060, "tls": 5061}

_VIA: Final = re.compile(rb"\r\n(?:via|v)[ \t]*+:((?:[^\r\n]|\r\n[ \t])*+)", re.IGNORECASE)


def is_response(data: bytes) -> bool:
    """Whether this message of ours is a response."""
    return data[:8].upper() == b"SIP/2.0 "


def way_back(response: bytes, flow: Flow) -> tuple[tuple[str, int], str] | None:
    """(address to connect to, host that the sender calls itself) for a response to what came on `flow`; None
    without a Via.

    The address is the one that the request came from, which `received` repeats, and the port that of the
    topmost Via: a sender can name a port of its own and no other host.
    """
    via = _top_via(response)
    if via is None:
        return None
    return (flow.remote[0], via.port or DEFAULT_PORTS[flow.transport]), _host(via)


def asks_for_reuse(data: bytes) -> tuple[str, int] | None:
    """(host, port) that the sender of a request over TLS calls itself, when it says `alias`: requests for
    that address may come on the same connection. None when it does not."""
    via = None if is_response(data) else _top_via(data)
    if via is None:
        return None
    _, mark, params = via.raw.partition(b";")
    if all(name != b"alias" for name, _ in parse_params(mark + params)):
        return None
    return _host(via), via.port or DEFAULT_PORTS["tls"]


def _host(via: Via) -> str:
    return via.host.strip(b"[]").decode("ascii")


def _top_via(data: bytes) -> Via | None:
    match = _VIA.search(data)
    if match is None:
        return None
    try:
        return parse_via(unfold(match.group(1)))
    except HeaderError:
        return None
