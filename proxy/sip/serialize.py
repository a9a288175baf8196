"""Messages to bytes. What a peer sent leaves as it came; what is ours cannot carry a foreign line end."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from proxy.sip.headers import clean, header_line
from proxy.sip.message import Header, SipRequest, SipResponse


class OutgoingRequest:
    """A request for a client transaction. `headers` are whole, with our own Via first, and `branch` is the
    branch in it; Content-Length is among them and agrees with `body`."""

    __slots__ = ("body", "branch", "headers", "method", "uri")

    def __init__(
        self, method: bytes, uri: bytes, headers: list[Header], branch: bytes, body: bytes = b""
    ) -> None:
        self.method = method
        self.uri = uri
        self.headers = headers
        self.branch = branch
        self.body = body


def via_header(transport: bytes, sent_by: bytes, branch: bytes) -> Header:
    """Our own Via (RFC 3261 §20.42). transport: `UDP`, `TCP` or `TLS`; sent_by: host or host:port."""
    return (b"via", b"Via: SIP/2.0/" + transport + b" " + sent_by + b";branch=" + branch)


def serialize_request(request: OutgoingRequest) -> bytes:
    """The request's bytes."""
    lines = [line for _, line in request.headers]
    return (
        request.method
        + b" "
        + request.uri
        + b" SIP/2.0\r\n"
        + b"\r\n".join(lines)
        + b"\r\n\r\n"
        + request.body
    )


def _own_headers(request: OutgoingRequest, wanted: frozenset[bytes]) -> list[bytes]:
    """Our topmost Via, and the lines of the wanted headers."""
    headers = request.headers
    return [headers[0][1], *[line for name, line in headers if name in wanted]]


def build_ack(request: OutgoingRequest, response: SipResponse) -> bytes:
    """The ACK to a failure response, within the INVITE's transaction (RFC 3261 §17.1.1.3)."""
    lines = _own_headers(request, _ACK_FROM_INVITE)
    to_line = next(line for name, line in response.headers if name == b"to")
    lines += (to_line, b"CSeq: %d ACK" % response.cseq, b"Max-Forwards: 70", b"Content-Length: 0")
    return b"ACK " + request.uri + b" SIP/2.0\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"


def build_cancel(request: OutgoingRequest, reason: bytes | None) -> OutgoingRequest:
    """The CANCEL of an INVITE (RFC 3261 §9.1); `reason` is the value of its Reason header (RFC 3326)."""
    headers = [request.headers[0]]
    for name, line in request.headers:
        if name in _CANCEL_FROM_INVITE:
            headers.append((name, line))
        elif name == b"cseq":
            number = line.partition(b":")[2].split(None, 1)[0]
            headers.append((name, b"CSeq: " + number + b" CANCEL"))
    headers.append((b"max-forwards", b"Max-Forwards: 70"))
    if reason is not None:
        headers.append(header_line(b"Reason", reason))
    headers.append((b"content-length", b"Content-Length: 0"))
    return OutgoingRequest(b"CANCEL", request.uri, headers, request.branch)


_ACK_FROM_INVITE: Final = frozenset({b"route", b"from", b"call-id"})
_CANCEL_FROM_INVITE: Final = frozenset({b"route", b"from", b"to", b"call-id"})


def serialize_message(start: bytes, headers: Sequence[Header], body: bytes) -> bytes:
    """A message of a start line, headers and a body, all as they stand."""
    return start + b"\r\n" + b"\r\n".join([line for _, line in headers]) + b"\r\n\r\n" + body


def status_line(response: SipResponse) -> bytes:
    """The start line by which a response goes on: as it stood, but for a version in small letters and a
    missing space before an empty phrase. A reader takes both (RFC 3261 §7.1, §7.2), a sender must not write
    them."""
    start = response.start
    if start.startswith(b"SIP/2.0 ") and start.count(b" ", 8):
        return start
    return b"SIP/2.0 %d %b" % (response.status, response.reason)


def forward_headers(response: SipResponse) -> list[Header]:
    """The response's headers without the topmost Via value (RFC 3261 §16.7 step 3); with a Content-Length,
    which a stream needs (§18.3) and one that came over UDP may lack."""
    headers = response.headers
    index = response.via_index
    rest = response.via.rest
    if rest:
        headers = [*headers[:index], (b"via", b"Via: " + rest), *headers[index + 1 :]]
    else:
        headers = headers[:index] + headers[index + 1 :]
    if not response.has_length:
        headers.append((b"content-length", b"Content-Length: %d" % len(response.body)))
    return headers


def has_another_via(response: SipResponse) -> bool:
    """Whether a Via value follows the topmost one: without it the response is meant for nobody else (§16.7
    step 3)."""
    if response.via.rest:
        return True
    headers = response.headers
    at = response.via_index + 1
    if at < len(headers) and headers[at][0] == b"via":
        return True
    return any(name == b"via" for name, _ in headers[at:])


def forward_response(response: SipResponse, drop: Container[bytes] = ()) -> bytes:
    """The response as it goes upstream: the topmost Via value and the headers that `drop` names removed,
    everything else byte for byte (but see `status_line`)."""
    headers = forward_headers(response)
    if drop:
        headers = [header for header in headers if header[0] not in drop]
    return serialize_message(status_line(response), headers, response.body)


def via_lines(request: SipRequest) -> list[Header]:
    """The request's Via headers, the topmost with `received` and `rport` as RFC 3261 §18.2.1 and RFC 3581
    want them."""
    return [header for header in request.headers if header[0] == b"via"]


def build_response(
    request: SipRequest,
    status: int,
    phrase: bytes,
    *,
    to_tag: bytes | None = None,
    extra: Sequence[bytes] = (),
    body: bytes = b"",
    record_route: bool = False,
) -> bytes:
    """A response of our own (RFC 3261 §8.2.6).

    status: 100–699. to_tag: added where the request's To has none. extra: whole header lines. record_route:
    copy Record-Route too, for a response that makes a dialog. Control characters in phrase and lines become
    spaces.
    """
    lines = [b"SIP/2.0 %d %b" % (status, clean(phrase))]
    for name, line in request.headers:
        if name in _COPIED:
            lines.append(line)
        elif name == b"to":
            lines.append(line + b";tag=" + to_tag if to_tag and not request.to_tag else line)
        elif record_route and name == b"record-route":
            lines.append(line)
        elif status == 100 and name == b"timestamp":
            lines.append(line)  # §8.2.6.1
    lines.extend([clean(line) for line in extra])
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_COPIED: Final = frozenset({b"via", b"from", b"call-id", b"cseq"})
