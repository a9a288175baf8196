"""What must hold of any bytes: each check takes one input and raises AssertionError, or whatever the code
under test should not have raised, where something is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from zlib import crc32

from proxy.call.forwarding import Identity, forward_invite
from proxy.sip.counters import SipCounters
from proxy.sip.errors import CAUSES, PHRASES, HeaderError, ParseError, UriError
from proxy.sip.events import RequestReceived
from proxy.sip.framing import StreamFramer
from proxy.sip.headers import clean, header_line, name_addr, parse_params, parse_via, split_list
from proxy.sip.message import Flow, SipMessage, SipRequest, SipResponse
from proxy.sip.parse import MAX_HEAD, MAX_HEADERS, parse_message
from proxy.sip.serialize import forward_response, has_another_via, serialize_message, serialize_request
from proxy.sip.stack import SipStack
from proxy.sip.timers import Timers
from proxy.sip.uri import SipUri, to_attempt_fields
from tests.playbook import CALLER, flow_to

SLOW_SECONDS = 0.05
"""Longest that one input may take, of processor time."""

Check = Callable[[bytes], None]

_FLOW = flow_to(CALLER)
_STREAM = flow_to(CALLER, "tcp")
_OURS = Identity("udp", b"192.0.2.1:5060")
_REPLACED = frozenset({b"via", b"route", b"max-forwards", b"max-breadth"})
_BODY_LIMIT = 4096
_ITEMS = 100
_LISTS = (b"via", b"route", b"record-route", b"contact", b"p-asserted-identity", b"from", b"to")


def read(data: bytes, flow: Flow = _FLOW) -> SipRequest | SipResponse | None:
    """The message in `data`, None where it is none. Any error but a declared one passes through."""
    try:
        return parse_message(data, flow)
    except ParseError as error:
        if error.cause in CAUSES and error.status in PHRASES:
            return None
        raise


def content(message: SipMessage) -> tuple[object, ...]:
    """Everything that was read of a message."""
    via = message.via
    fields: tuple[object, ...] = (
        message.start, message.headers, message.body, message.via_index, message.from_tag, message.to_tag,
        message.call_id, message.cseq, message.cseq_method, via.raw, via.host, via.port, via.branch, via.rest,
    )  # fmt: skip
    if isinstance(message, SipRequest):
        return (*fields, message.method, message.uri, message.max_forwards, message.key)
    assert isinstance(message, SipResponse)
    return (*fields, message.status, message.reason)


def parser(data: bytes) -> None:
    """A message is refused with a declared error, or it leaves as it came and reads the same again."""
    message = read(data)
    if message is None:
        return
    out = serialize_message(message.start, message.headers, message.body)
    assert data.lstrip(b"\r\n").startswith(out)
    again = read(out)
    assert again is not None
    assert content(again) == content(message)


def parts(data: bytes) -> None:
    """The readers of URIs, addresses, Vias, parameters and lists, on a message's values or on any bytes."""
    message = read(data)
    values = [data]
    if message is not None:
        values = [value for name in _LISTS for value in message.all(name)]
        if isinstance(message, SipRequest):
            to_attempt_fields(message.parsed_uri)
    for value in values:
        items = split_list(value)
        assert len(items) > _ITEMS or _rejoined(value, items)
        for item in items[:_ITEMS]:
            _read_item(item)
        assert b"\r" not in (line := header_line(b"X", value)[1])
        assert b"\n" not in line
        assert clean(value) == clean(clean(value))


def _rejoined(value: bytes, items: list[bytes]) -> bool:
    """Whether the items stand in `value` one after the other, with nothing but whitespace and one comma
    between them."""
    position = 0
    for index, item in enumerate(items):
        rest = value[position:].lstrip(b" \t")
        if not rest.startswith(item):
            return False
        rest = rest[len(item) :].lstrip(b" \t")
        if index == len(items) - 1:
            return not rest
        if rest[:1] != b",":
            return False
        position = len(value) - len(rest) + 1
    return False


def _read_item(item: bytes) -> None:
    try:
        address = name_addr(item)
    except HeaderError:
        address = None
    for raw in (item, address.uri if address is not None else b""):
        try:
            uri = SipUri.parse(raw)
        except UriError:
            continue
        assert uri.port is None or 0 <= uri.port <= 65535
        to_attempt_fields(uri)
    for read_part in (parse_via, parse_params):
        try:
            read_part(item)
        except HeaderError:
            continue


def framer(data: bytes) -> None:
    """A stream is cut in the same places however it arrives, and as the parser reads Content-Length."""
    whole = StreamFramer(_BODY_LIMIT)
    expected = whole.feed(data)
    random = Random(crc32(data))
    pieces = StreamFramer(_BODY_LIMIT)
    messages = []
    position = 0
    step = random.choice((1, 7, 100, 5000)) if len(data) <= _BODY_LIMIT else 5000
    while position < len(data):
        size = random.randint(1, step)
        messages += pieces.feed(data[position : position + size])
        position += size
    assert messages == expected
    assert (pieces.error is None) == (whole.error is None)
    if whole.error is not None and pieces.error is not None:
        assert (pieces.error.cause, pieces.error.status) == (whole.error.cause, whole.error.status)
        assert whole.error.cause in CAUSES
        assert whole.error.status in PHRASES
    for one in expected:
        message = read(one, _STREAM)
        if message is not None:
            assert serialize_message(message.start, message.headers, message.body) == one


def stack(data: bytes) -> None:
    """The stack takes anything; what it answers is no larger than allowed, and what passes it can be
    forwarded with nothing changed that is not the proxy's."""
    sip = SipStack(Timers(), SipCounters())
    events = sip.receive(data, _FLOW, 0.0)
    if events == [] and sum(sip.counters.malformed.values()):
        assert all(len(answer) <= 1.5 * len(data) for answer, _ in sip.outbox)
    for event in events:
        if isinstance(event, RequestReceived):
            _forwarded(event.request)
    message = read(data)
    if isinstance(message, SipResponse) and has_another_via(message):
        upstream = forward_response(message)
        kept = [line for name, line in message.headers if name != b"via"]
        assert [
            line for line in upstream.partition(b"\r\n\r\n")[0].split(b"\r\n") if line in set(kept)
        ] or not kept
        assert upstream.endswith(b"\r\n\r\n" + message.body)


def _forwarded(request: SipRequest) -> None:
    """Unknown headers, their order and the body leave byte for byte; ours are what we wrote."""
    if request.max_forwards == 0:
        return  # 483 (§16.3)
    out = serialize_request(
        forward_invite(
            request, b"sip:+4420@198.51.100.7", b"z9hG4bKtw1", b"ref.sig", _OURS, _OURS, frozenset(), []
        )
    )
    head = out.partition(b"\r\n\r\n")[0]
    if len(head) > MAX_HEAD or head.count(b"\r\n") > MAX_HEADERS:
        return  # what we add may lead over our own limits
    message = read(out)
    assert isinstance(message, SipRequest), "what the proxy sends does not read back"
    kept = [header for header in request.headers if header[0] not in _REPLACED]
    if not request.has_length:
        kept.append((b"content-length", b"Content-Length: %d" % len(request.body)))
    assert [header for header in message.headers if header[0] not in _REPLACED][1:] == kept
    assert message.headers[0] == (b"via", b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKtw1")
    assert message.body == request.body
    assert message.first(b"route") is None
    assert (message.call_id, message.cseq, message.from_tag, message.to_tag) == (
        request.call_id, request.cseq, request.from_tag, request.to_tag,
    )  # fmt: skip


def confirmed_seconds(check: Check, data: bytes, times: int = 5) -> float:
    """The least processor time of several runs: what a busy machine adds does not count."""
    best = float("inf")
    for _ in range(times):
        started = time.process_time()
        check(data)
        best = min(best, time.process_time() - started)
    return best


def timed(check: Check, data: bytes, limit: float = SLOW_SECONDS) -> float:
    """Run a check; the seconds that it took, confirmed where they are too many. Raises AssertionError where
    they stay too many."""
    started = time.perf_counter()
    check(data)
    seconds = time.perf_counter() - started
    if seconds > limit:
        seconds = confirmed_seconds(check, data)
        assert seconds <= limit, f"{seconds * 1000:.0f} ms for {len(data)} bytes"
    return seconds
