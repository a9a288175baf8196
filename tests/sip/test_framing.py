"""Streams cut into messages: tables, fed whole and byte by byte."""

from __future__ import annotations

from time import process_time

import pytest

from proxy.sip.framing import MAX_BODY, FramingError, StreamFramer
from proxy.sip.message import Flow
from proxy.sip.parse import MAX_HEAD, parse_message
from tests.playbook import CALLER, request_bytes

MESSAGE = request_bytes(body=b"v=0\r\n\r\no=-\r\n", extra="Subject: \r\n l: 7\r\n")
SHORT = request_bytes("ACK")
RESPONSE = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nl:4\r\n\r\nbody"
FLOW = Flow("tcp", ("192.0.2.1", 5060), CALLER, 1)


def head(lines: bytes, body: bytes = b"") -> bytes:
    """A request with these header lines in place of Content-Length."""
    return request_bytes().replace(b"Content-Length: 0\r\n", lines) + body


def fed(framer: StreamFramer, data: bytes, size: int) -> list[bytes]:
    return [found for at in range(0, len(data), size) for found in framer.feed(data[at : at + size])]


def spoilt(data: bytes, size: int | None = None, max_body: int = MAX_BODY) -> FramingError:
    framer = StreamFramer(max_body)
    fed(framer, data, size or len(data))
    assert framer.error is not None
    assert not framer.partial
    assert framer.feed(MESSAGE) == []
    return framer.error


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_pipelined_messages_come_out_whole_and_in_order(size: int) -> None:
    framer = StreamFramer()
    assert fed(framer, MESSAGE + SHORT + RESPONSE, size) == [MESSAGE, SHORT, RESPONSE]
    assert not framer.partial
    assert framer.error is None
    assert framer.pings == 0


def test_a_message_may_be_split_at_every_byte() -> None:
    stream = MESSAGE + RESPONSE
    for at in range(1, len(stream)):
        framer = StreamFramer()
        first = framer.feed(stream[:at])
        assert framer.partial == (at != len(MESSAGE))
        assert first + framer.feed(stream[at:]) == [MESSAGE, RESPONSE], at


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100])
def test_keepalives_are_counted_between_messages(size: int) -> None:
    stream = b"\r\n\r\n" + MESSAGE + b"\r\n\r\n\r\n\r\n" + SHORT + b"\r\n" + RESPONSE + b"\r\n\r\n\r\n"
    framer = StreamFramer()
    assert fed(framer, stream, size) == [MESSAGE, SHORT, RESPONSE]
    assert framer.pings == 4
    assert not framer.partial
    framer.feed(b"\r\n")  # the half ping from before is whole now
    assert framer.pings == 5


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (b"Content-Length: 4\r\n", b"body"),
        (b"l: 4\r\n", b"body"),
        (b"L : \t4 \r\n", b"body"),
        (b"CONTENT-length:\r\n 4\r\n", b"body"),
        (b"l:4\r\nContent-Length: 4\r\n", b"body"),
        (b"Content-Length: 0000000000004\r\n", b"body"),
        (b"X: y\r\n Content-Length: 9\r\nl: 0\r\n", b""),
        (b"X-Content-Length: 9\r\nll: 9\r\nl: 0\r\n", b""),
        (b"l: 0\r\n", b""),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_length_is_read_as_the_parser_reads_it(lines: bytes, body: bytes, size: int) -> None:
    data = head(lines, body)
    framer = StreamFramer()
    assert fed(framer, data + SHORT, size) == [data, SHORT]
    message = parse_message(data, FLOW)
    assert message is not None
    assert message.body == body


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Content-Length:\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5,5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 5;x=1\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: 5\r\n 5\r\n",
        b"Content-Length: 5.0\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length: 4294967296\r\n",
        b"Content-Length: 4294967301\r\n",
        b"Content-Length: 18446744073709551621\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"l: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nl: 05\r\nL: 4\r\n",
        b"Content-Length: 5\r\nl: x\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_a_length_that_two_readers_could_read_differently_is_the_end(lines: bytes, size: int) -> None:
    error = spoilt(head(lines, b"12345"), size)
    assert (error.cause, error.status) == ("content_length", 400)
    assert error.head.startswith(b"INVITE sip:")
    assert b"\r\nCall-ID: " in error.head


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\nINVITE sip:a@b SIP/2.0\r\n\r\n", "not_sip"),
        (b"\r\r\n\r\n", "not_sip"),
        (b"\r\n\rINVITE", "not_sip"),
        (b"\x16\x03\x01\x02\x00\x01", "not_sip"),
        (b" INVITE", "not_sip"),
        (b"\0", "not_sip"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "not_sip"),
        (b"GARBAGE\r\n\r\n", "not_sip"),
        (head(b"X: 1\nContent-Length: 5\r\nl: 0\r\n"), "encoding"),
        (head(b"X: 1\rContent-Length: 5\r\nl: 0\r\n"), "encoding"),
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_what_is_no_sip_is_the_end(data: bytes, cause: str, size: int) -> None:
    assert spoilt(data, size).cause == cause


def test_messages_before_the_fault_are_delivered() -> None:
    framer = StreamFramer()
    assert framer.feed(MESSAGE + SHORT + head(b"l: x\r\n")) == [MESSAGE, SHORT]
    assert framer.error is not None


def test_a_head_is_bounded_whether_it_ends_or_not() -> None:
    room = MAX_HEAD - len(head(b"l: 0\r\n")) + 4 - len(b"X: \r\n")
    fits = head(b"X: " + b"x" * room + b"\r\nl: 0\r\n")
    assert len(fits) == MAX_HEAD + 4
    for size in (1, 100_000):
        framer = StreamFramer()
        assert fed(framer, fits, size) == [fits]
    larger = head(b"X: " + b"x" * (room + 1) + b"\r\nl: 0\r\n")
    for data in (larger, larger[: MAX_HEAD + 4]):
        for size in (1, 100_000):
            error = spoilt(data, size)
            assert (error.cause, error.status) == ("size", 513)
            assert b"\r\nCSeq: 1 INVITE\r\n" in error.head
    assert spoilt(larger + b"rest").head == larger[:-4]
    assert not spoilt(larger[: MAX_HEAD + 5], 1).head.endswith(b"l:")


def test_a_request_uri_without_end_is_414() -> None:
    error = spoilt(b"INVITE sip:" + b"9" * (MAX_HEAD + 10), 4096)
    assert (error.cause, error.status) == ("uri_length", 414)


@pytest.mark.parametrize("length", [b"1001", b"4000000000", b"4294967295"])
def test_a_large_body_is_refused_before_it_is_there(length: bytes) -> None:
    error = spoilt(head(b"Content-Length: " + length + b"\r\n"), max_body=1000)
    assert (error.cause, error.status) == ("size", 513)
    assert StreamFramer(1000).feed(head(b"l: 1000\r\n", b"x" * 1000)) != []


class Watched(StreamFramer):
    """Counts how often all that is there is gone through."""

    looks = 0

    def _cut(self, data: bytes, messages: list[bytes]) -> int:
        self.looks += 1
        return super()._cut(data, messages)


@pytest.mark.parametrize("body", [0, 50_000])
def test_a_message_that_comes_byte_by_byte_is_gone_through_three_times(body: int) -> None:
    framer = Watched()
    data = head(b"l: %d\r\n" % body, b"x" * body)
    assert fed(framer, data, 1) == [data]
    assert framer.looks <= 3  # its first byte, its whole head, its end


def test_cost_is_linear_for_messages_that_come_byte_by_byte() -> None:
    def seconds(body: int) -> float:
        data = head(b"l: %d\r\n" % body, b"x" * body)
        framer = StreamFramer()
        begun = process_time()
        assert fed(framer, data, 1) == [data]
        return process_time() - begun

    seconds(1000)
    small = min(seconds(7_000) for _ in range(3))
    large = min(seconds(56_000) for _ in range(3))
    assert large < small * 8 * 3


def test_cost_is_linear_for_endless_heads_and_keepalives() -> None:
    begun = process_time()
    framer = StreamFramer()
    fed(framer, b"INVITE sip:a SIP/2.0\r\n" + b"a:b\r\n\t" * 3000, 1)
    assert framer.error is not None
    framer = StreamFramer()
    framer.feed(b"\r\n" * 500_000)
    assert framer.pings == 250_000
    assert process_time() - begun < 1.0


def test_any_cut_of_any_stream_gives_the_same() -> None:
    stream = b"\r\n\r\n" + MESSAGE + b"\r\n" + RESPONSE + b"\r\n\r\n" + SHORT + head(b"l: 5,5\r\n", b"12345")
    whole = StreamFramer()
    expected = whole.feed(stream)
    assert expected == [MESSAGE, RESPONSE, SHORT]
    for size in range(1, 200, 3):
        framer = StreamFramer()
        assert fed(framer, stream, size) == expected
        assert framer.pings == whole.pings == 2
        assert framer.error is not None
