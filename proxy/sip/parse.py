"""Bytes → messages (RFC 3261 §7). Strict where leniency could make two elements read one message differently,
and of linear cost in everything that a sender controls.

Decided where RFC 4475 leaves a choice: refused are whitespace after the version (§3.1.2.10 there), unbalanced
quotes, whitespace inside `<>` and unquoted display names that are no tokens. Not looked at, and so passed on,
are Date and Contact.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from proxy.sip.errors import HeaderError, ParseError, UriError
from proxy.sip.grammar import CALL_ID, NAME_ADDR, TOKEN
from proxy.sip.headers import NAMES, parse_params, parse_via, split_list
from proxy.sip.message import Flow, Header, SipMessage, SipRequest, SipResponse, Via, unfold
from proxy.sip.uri import SipUri

MAX_HEAD: Final = 16384
"""Longest start line and headers together, in bytes; more is 513."""

MAX_HEADERS: Final = 200
"""Most header lines; more is 513."""

MAX_URI: Final = 2048
"""Longest Request-URI in bytes; more is 414."""

COOKIE: Final = b"z9hG4bK"
"""What a branch begins with that is unique in itself (RFC 3261 §8.1.1.7)."""

_REMEMBERED: Final = 256
"""Longest value that is remembered, in bytes: what a stranger sends may not fill the memory."""

ServerKey = tuple[bytes, bytes, bytes, int, str]

_METHODS: Final = frozenset(
    {b"INVITE", b"ACK", b"BYE", b"CANCEL", b"OPTIONS", b"UPDATE", b"INFO", b"REGISTER"}
)
_VERSION: Final = re.compile(rb"SIP/[0-9]++\.[0-9]++\Z", re.IGNORECASE)

_FOLD: Final = frozenset({b" ", b"\t"})
_VIA: Final = b"via"
_FROM: Final = b"from"
_TO: Final = b"to"
_CALL_ID: Final = b"call-id"
_CSEQ: Final = b"cseq"
_MAX_FORWARDS: Final = b"max-forwards"
_CONTENT_LENGTH: Final = b"content-length"
_ROUTE: Final = b"route"

_READ: Final[dict[bytes, str]] = {
    _VIA: "via",
    _FROM: "from",
    _TO: "to",
    _CALL_ID: "call_id",
    _CSEQ: "cseq",
    _MAX_FORWARDS: "max_forwards",
    _CONTENT_LENGTH: "content_length",
    _ROUTE: "route",
}
"""Headers that the parser reads → cause when one is wrong. All but Via, Route and Content-Length may stand
once only."""


def parse_message(data: bytes, flow: Flow) -> SipRequest | SipResponse | None:
    """One message, whole. None for a keepalive of nothing but CRLFs (RFC 5626 §4.4.1). Raises ParseError."""
    if data[:1] == b"\r":
        data = _skip_empty_lines(data)
        if not data:
            return None
    head, blank, body = data.partition(b"\r\n\r\n")
    if len(head) > MAX_HEAD:
        uri = head[: MAX_URI * 2].split(b"\r\n", 1)[0].split(b" ", 2)
        if len(uri) > 1 and len(uri[1]) > MAX_URI:
            raise ParseError("uri_length", 414)
        raise ParseError("size", 513)
    lines = head.split(b"\r\n")
    breaks = len(lines) - 1
    start = lines[0]
    message = _response(start) if start[:4].upper() == b"SIP/" else _request(start)
    if not blank:
        raise ParseError("header")
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks:
        raise ParseError("encoding")
    if breaks > MAX_HEADERS:
        raise ParseError("size", 513)
    if b"\0" in head:
        _refuse_bare_nul(lines)
    values = _read_headers(lines, message)
    if values is None:
        values = _read_headers(_join_folds(lines), message) or {}
        for key in values:
            values[key] = unfold(values[key])
    _read_values(message, values)
    route = values.get(_ROUTE)
    if route is not None:
        _check_route(route.strip(b" \t"))
    length_text = values.get(_CONTENT_LENGTH)
    message.has_length = length_text is not None
    if length_text is not None:
        length = _number(length_text, 0xFFFFFFFF, "content_length")
        if length != len(body):
            if length > len(body):
                raise ParseError("body")
            body = body[:length]
    message.start = start
    message.body = body
    message.flow = flow
    if isinstance(message, SipRequest):
        text = values.get(_MAX_FORWARDS)
        message.max_forwards = None if text is None else _number(text, 255, "max_forwards")
        if message.cseq_method != message.method:
            raise ParseError("cseq")
        message.key = server_key(message)
    return message


def _skip_empty_lines(data: bytes) -> bytes:
    """CRLFs before the start line are no part of the message (§7.5)."""
    rest = data.lstrip(b"\r\n")
    skipped = len(data) - len(rest)
    if data[:skipped] != b"\r\n" * (skipped // 2):
        raise ParseError("not_sip")
    return rest


# Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF; the second space may be missing with an
# empty phrase
def _response(start: bytes) -> SipResponse:
    version, _, rest = start.partition(b" ")
    if version != b"SIP/2.0" and version.upper() != b"SIP/2.0":
        raise ParseError("version", 505)
    code, _, phrase = rest.partition(b" ")
    if len(code) != 3 or not code.isdigit() or not b"100" <= code < b"700":
        raise ParseError("start_line")
    response = SipResponse()
    response.status = int(code)
    response.reason = phrase
    return response


# Request-Line = Method SP Request-URI SP SIP-Version CRLF
def _request(start: bytes) -> SipRequest:
    parts = start.split(b" ", 4)
    if len(parts) != 3:
        raise ParseError("start_line" if b"SIP/" in start.upper() else "not_sip")
    method, uri, version = parts
    if version != b"SIP/2.0" and version.upper() != b"SIP/2.0":
        if _VERSION.match(version) is not None:
            raise ParseError("version", 505)
        raise ParseError("start_line" if b"SIP/" in start.upper() else "not_sip")
    if method not in _METHODS and TOKEN.fullmatch(method) is None:
        raise ParseError("start_line")
    if len(uri) > MAX_URI:
        raise ParseError("uri_length", 414)
    request = SipRequest()
    request.method = method
    request.uri = uri
    try:
        request.parsed_uri = _known_uri(uri) if len(uri) <= _REMEMBERED else SipUri.parse(uri)
    except UriError:
        raise ParseError("uri") from None
    return request


_known_uri = lru_cache(maxsize=4096)(SipUri.parse)
"""Remote targets are the same for many calls; a SipUri is never changed."""


def _refuse_bare_nul(lines: list[bytes]) -> None:
    """NUL may stand as a quoted-pair in a quoted-string (RFC 4475 §3.1.1.2 has one), and nowhere else."""
    for line in lines:
        if b"\0" in line and _NUL_IN_PAIRS_ALONE.match(line) is None:
            raise ParseError("encoding")


# One pass, also over quotes that nothing closes; in what follows such a quote no NUL may stand.
_NUL_IN_PAIRS_ALONE: Final = re.compile(rb'(?:[^"\0]|"(?:[^"\\\0]|\\.)*+")*+(?:"[^\0]*+)?+\Z', re.DOTALL)


def _join_folds(lines: list[bytes]) -> list[bytes]:
    """Lines that begin with whitespace belong to the one before (§7.3.1); their bytes stay as they are."""
    groups: list[list[bytes]] = [[lines[0]]]
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            groups[-1].append(line)
        else:
            groups.append([line])
    if len(groups[0]) > 1:
        raise ParseError("start_line")
    return [b"\r\n".join(group) for group in groups]


def _read_headers(lines: list[bytes], message: SipMessage) -> dict[bytes, bytes] | None:
    """Fill `headers` and `via_index`; returns the values of the headers in _READ, the first of each. None:
    there are lines to be joined first."""
    headers: list[Header] = []
    values: dict[bytes, bytes] = {}
    names = NAMES
    read = _READ
    via_index = -1
    iterator = iter(lines)
    next(iterator)
    for line in iterator:
        name, colon, value = line.partition(b":")
        key = names.get(name)
        if key is None or not colon:
            if line[:1] in _FOLD:
                return None
            key = _header_name(name, colon)
        headers.append((key, line))
        if key in read:
            if key not in values:
                values[key] = value
                if key == _VIA:
                    via_index = len(headers) - 1
            elif key == _CONTENT_LENGTH:
                if _number(unfold(value), 0xFFFFFFFF, "content_length") != _number(
                    unfold(values[key]), 0xFFFFFFFF, "content_length"
                ):
                    raise ParseError("content_length")
            elif key == _ROUTE:
                _check_route(unfold(value))
            elif key != _VIA:
                raise ParseError(read[key])
    message.headers = headers
    message.via_index = via_index
    return values


# message-header = header-name HCOLON header-value; HCOLON = *( SP / HTAB ) ":" SWS; header-name = token
def _header_name(name: bytes, colon: bytes) -> bytes:
    name = name.rstrip(b" \t")
    if not colon or TOKEN.fullmatch(name) is None:
        raise ParseError("header")
    return NAMES.get(name) or name.lower()


def _read_values(message: SipMessage, values: dict[bytes, bytes]) -> None:
    """Fill the fields that every message has."""
    value = values.get(_VIA)
    if value is None:
        raise ParseError("via")
    try:
        message.via = parse_via(value.strip(b" \t"))
    except HeaderError:
        raise ParseError("via") from None
    message.from_tag = _tag(values.get(_FROM), "from")
    message.to_tag = _tag(values.get(_TO), "to")
    value = values.get(_CALL_ID, b"").strip(b" \t")
    if CALL_ID.fullmatch(value) is None:
        raise ParseError("call_id")
    message.call_id = value
    # CSeq = 1*DIGIT LWS Method
    parts = values.get(_CSEQ, b"").split()
    if len(parts) != 2:
        raise ParseError("cseq")
    message.cseq = _number(parts[0], 0x7FFFFFFF, "cseq")
    method = parts[1]
    if method not in _METHODS and TOKEN.fullmatch(method) is None:
        raise ParseError("cseq")
    message.cseq_method = method


def _tag(value: bytes | None, cause: str) -> bytes:
    """The tag of a From or To value, b"" when it has none."""
    if value is None:
        raise ParseError(cause)
    return _known_tag(value, cause) if len(value) <= _REMEMBERED else _known_tag.__wrapped__(value, cause)


@lru_cache(maxsize=8192)
def _known_tag(value: bytes, cause: str) -> bytes:
    """From and To stand unchanged on every message of a dialog: read once, for as long as it is lively."""
    match = NAME_ADDR.match(value)
    if match is None:
        raise ParseError(cause)
    params: bytes | None = match.group(5)
    if params is None:
        return b""
    if params.startswith(b";tag="):
        tag = params[5:]
        if TOKEN.fullmatch(tag) is not None:
            return tag
    found = b""
    try:
        for name, text in parse_params(params):
            if name == b"tag":
                if found or not text or TOKEN.fullmatch(text) is None:
                    raise ParseError(cause)
                found = text
    except HeaderError:
        raise ParseError(cause) from None
    return found


def _check_route(value: bytes) -> None:
    """Routes are not followed; but a list that two elements read as two lists is nobody's to pass over."""
    if not (_known_routes(value) if len(value) <= _REMEMBERED else _known_routes.__wrapped__(value)):
        raise ParseError("route")


# Route = "Route" HCOLON route-param *( COMMA route-param ); route-param = name-addr *( SEMI rr-param )
@lru_cache(maxsize=4096)
def _known_routes(value: bytes) -> bool:
    """Whether it is a list of addresses in angle brackets; empty items are passed over, since user agents
    copy them from a broken Record-Route. Ours stand on every request of a dialog."""
    for item in filter(None, split_list(value)):
        match = NAME_ADDR.match(item)
        if match is None or match.group(3) is None:
            return False
        if match.group(5) is not None:
            try:
                parse_params(match.group(5))
            except HeaderError:
                return False
    return True


# 1*DIGIT
def _number(text: bytes, largest: int, cause: str) -> int:
    text = text.strip(b" \t")
    if not text.isdigit():
        raise ParseError(cause)
    if len(text) > 10:
        text = text.lstrip(b"0") or b"0"
        if len(text) > 10:
            raise ParseError(cause)
    number = int(text)
    if number > largest:
        raise ParseError(cause)
    return number


def server_key(request: SipRequest) -> ServerKey:
    """What makes two requests one transaction (RFC 3261 §17.2.3); of an ACK or CANCEL, the key of its INVITE.

    Narrower than the RFC by the source's address: who learns a branch downstream cannot act on its
    transaction from elsewhere. Without the cookie in its branch (RFC 2543), the request is known by its
    parts.
    """
    via: Via = request.via
    method = request.method
    if method == b"ACK" or method == b"CANCEL":
        method = b"INVITE"
    branch = via.branch
    if len(branch) <= 7 or not branch.startswith(COOKIE):
        branch = b"\n".join((request.uri, request.from_tag, request.call_id, b"%d" % request.cseq, via.raw))
    return (method, branch, via.host, via.port or 5060, request.flow.remote[0])
