"""Where a response goes whose connection is gone (RFC 3261 §18.2.2)."""

from __future__ import annotations

import re
from typing import Final

from proxy.sip.errors import HeaderError
from proxy.sip.headers import parse_via
from proxy.sip.message import Flow, unfold

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
    match = _VIA.search(response)
    if match is None:
        return None
    try:
        via = parse_via(unfold(match.group(1)))
    except HeaderError:
        return None
    host = via.host.strip(b"[]").decode("ascii")
    return (flow.remote[0], via.port or DEFAULT_PORTS[flow.transport]), host
