"""Where a request came from and where its responses go (RFC 3261 §18.2, RFC 3581)."""

from __future__ import annotations

from typing import Final

from proxy.sip.headers import parse_params
from proxy.sip.message import Flow, SipRequest, Via

DEFAULT_PORT: Final = 5060

RELIABLE: Final = frozenset({"tcp", "tls"})
"""Transports over which nothing is retransmitted."""


def mark_source(request: SipRequest) -> None:
    """Write the packet's source into the request's topmost Via: `received` where the sender asked for
    `rport`, where sent-by is another address, or where it had written one itself; `rport` where asked.
    Changes `via` and the header line; a second call changes nothing."""
    via = request.via
    remote = request.flow.remote
    source = remote[0].partition("%")[0].encode("ascii", "replace")
    host = via.host
    if host[:1] == b"[":
        host = host[1:-1]
    if via.rport is None and via.received is None and host == source:
        return
    raw = via.raw
    marked = _marked(via, raw, remote[1], source)
    if marked is None:
        sent_by, _, params = raw.partition(b";")
        parts = [sent_by.rstrip(b" \t")]
        for name, text in parse_params(b";" + params):
            if name == b"rport":
                parts.append(b"rport=%d" % remote[1])
            elif name != b"received":
                parts.append(name if text is None else name + b"=" + text)
        if via.rport is not None or host != source:
            parts.append(b"received=" + source)
        marked = b";".join(parts)
    via.raw = marked
    via.received = source
    if via.rport is not None:
        via.rport = remote[1]
    line = request.headers[request.via_index][1]
    name_end = line.index(b":") + 1
    line = line[:name_end] + b" " + marked
    request.headers[request.via_index] = (b"via", line + b", " + via.rest if via.rest else line)


def _marked(via: Via, raw: bytes, port: int, source: bytes) -> bytes | None:
    """The value as it is written most: its parameters stay as they are, but for `rport` in one of its two
    usual places. None: parameter by parameter."""
    if via.received is not None:
        return None
    if via.rport is None:
        return raw + b";received=" + source
    if raw.count(b"rport") != 1 or b'"' in raw:
        return None
    if raw.endswith(b";rport"):
        return b"%b=%d;received=%b" % (raw, port, source)
    before, found, after = raw.partition(b";rport;")
    return b"%b;rport=%d;%b;received=%b" % (before, port, after, source) if found else None


def response_flow(request: SipRequest) -> Flow:
    """The way back. The address is always the source's; the port is the source's where `rport` was asked,
    else that of sent-by. `maddr` is not followed: no sender may aim our responses elsewhere."""
    flow = request.flow
    via = request.via
    if via.rport is not None or flow.transport in RELIABLE:
        return flow
    port = via.port or DEFAULT_PORT
    if port == flow.remote[1]:
        return flow
    return Flow(flow.transport, flow.local, (flow.remote[0], port), flow.connection)
