"""Requests as they leave the proxy (RFC 3261 §16.6), and the requests that it originates itself."""

from __future__ import annotations

from proxy.call.dialog import Party
from proxy.sip.message import Header, SipRequest, unfold
from proxy.sip.serialize import OutgoingRequest

MAX_FORWARDS_DEFAULT = 70
# RFC 5393 §5.3.3: what is told where nothing was, and the most that is passed on.
MAX_BREADTH = 60
_REPLACED = frozenset({b"route", b"max-forwards", b"max-breadth"})


class Identity:
    """How the proxy names itself on one listener: `sent_by` is `host:port`, as it stands in Via and
    Record-Route. Over TLS our Via has `alias`: who verified us may send its requests for `sent_by` on the
    connection that we opened (RFC 5923). `secure_route` is the Record-Route of calls to sips URIs, where the
    listener is fit for them."""

    __slots__ = ("record_route", "secure_route", "uri", "via")

    def __init__(self, transport: str, sent_by: bytes) -> None:
        alias = b";alias" if transport == "tls" else b""
        self.via = b"Via: SIP/2.0/" + transport.upper().encode() + b" " + sent_by + alias + b";branch="
        parameter = b"" if transport == "udp" else b";transport=" + transport.encode()
        self.uri = b"sip:" + sent_by + parameter
        self.record_route = b"Record-Route: <" + self.uri + b";lr;tw="
        self.secure_route = self.record_route
        if transport == "tls":
            # `transport=tls` says nothing more there, and is deprecated (RFC 5630 §3.1.4).
            self.secure_route = b"Record-Route: <sips:" + sent_by + b";lr;tw="


def _max_forwards(request: SipRequest) -> Header:
    hops = request.max_forwards
    left = MAX_FORWARDS_DEFAULT if hops is None else hops - 1
    return (b"max-forwards", b"Max-Forwards: %d" % left)


def _max_breadth(values: list[bytes]) -> Header:
    """One value, and never more than came (RFC 5393 §5.3.3)."""
    left = MAX_BREADTH
    for value in values:
        if value.isdigit() and len(value) < 10:
            left = min(left, int(value))
    return (b"max-breadth", b"Max-Breadth: %d" % left)


def _lines(request: SipRequest, via: bytes, first: list[Header], drop: frozenset[bytes]) -> list[Header]:
    """The headers as they leave: our Via above the others, `first`, and the sender's own but for what is
    replaced or dropped. A request without Content-Length (§18.3 lets one over UDP be so) gets one: its body
    would be read as the next message of a stream."""
    headers: list[Header] = [(b"via", via)]
    rest: list[Header] = []
    breadth: list[bytes] = []
    for header in request.headers:
        name = header[0]
        if name == b"via":
            headers.append(header)
        elif name not in _REPLACED and name not in drop:
            rest.append(header)
        elif name == b"max-breadth":
            breadth.append(unfold(header[1].partition(b":")[2]))
    headers += first
    headers.append(_max_forwards(request))
    if request.method != b"ACK":
        headers.append(_max_breadth(breadth))
    headers += rest
    if not request.has_length:
        headers.append((b"content-length", b"Content-Length: %d" % len(request.body)))
    return headers


def forward_invite(
    request: SipRequest,
    uri: bytes,
    branch: bytes,
    token: bytes,
    outbound: Identity,
    inbound: Identity,
    drop: frozenset[bytes],
    added: list[Header],
) -> OutgoingRequest:
    """The INVITE for one target. Route is not carried over: the forced provider is the only way out.

    `drop` names headers to leave out, `added` is put after the caller's own headers. Two Record-Routes where
    the call changes listeners (RFC 5658), of the scheme of `uri` (§16.6 item 4).
    """
    sips = uri.startswith(b"sips:")
    routes = [outbound.secure_route if sips else outbound.record_route]
    if inbound is not outbound:
        routes.append(inbound.secure_route if sips else inbound.record_route)
    first: list[Header] = [(b"record-route", route + token + b">") for route in routes]
    headers = _lines(request, outbound.via + branch, first, drop)
    if added:
        headers.extend(added)
    return OutgoingRequest(request.method, uri, headers, branch, request.body)


def forward_in_dialog(
    request: SipRequest, to: Party, branch: bytes, outbound: Identity, drop: frozenset[bytes]
) -> OutgoingRequest:
    """A request within a dialog, towards the recorded target: the sender's Request-URI and Route are left
    behind, and the headers that `drop` names."""
    headers = _lines(request, outbound.via + branch, to.routes, drop)
    return OutgoingRequest(request.method, to.request_uri, headers, branch, request.body)


def rewrite_token(request: SipRequest, theirs: bytes, ours: bytes) -> None:
    """Put the receiver's token wherever the sender quoted its own, but in Via: each side is shown its own
    alone. Both have one length, so that Content-Length stays true."""
    headers = request.headers
    for index, (name, line) in enumerate(headers):
        if theirs in line and name != b"via":
            headers[index] = (name, line.replace(theirs, ours))
    if theirs in request.body:
        request.body = request.body.replace(theirs, ours)


def originate(
    method: bytes,
    to: Party,
    branch: bytes,
    outbound: Identity,
    from_value: bytes,
    to_value: bytes,
    call_id: bytes,
    cseq: int,
    reason: bytes | None,
) -> OutgoingRequest:
    """A request of the proxy's own within a dialog (BYE, or the ACK before it), on behalf of the other
    side."""
    headers: list[Header] = [
        (b"via", outbound.via + branch),
        *to.routes,
        (b"max-forwards", b"Max-Forwards: %d" % MAX_FORWARDS_DEFAULT),
        (b"from", b"From: " + from_value),
        (b"to", b"To: " + to_value),
        (b"call-id", b"Call-ID: " + call_id),
        (b"cseq", b"CSeq: %d %s" % (cseq, method)),
    ]
    if reason is not None:
        headers.append((b"reason", b"Reason: " + reason))
    headers.append((b"content-length", b"Content-Length: 0"))
    return OutgoingRequest(method, to.request_uri, headers, branch)
