"""Where one message of a stream ends and the next begins (RFC 3261 §18.3), with keepalives between them.

A stream has no second chance: once the two sides disagree on where a message ends, the rest can be made to
say anything. So whatever two readers could count differently ends the stream, and no more is kept than the
limits allow.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.sip.errors import ParseError
from proxy.sip.grammar import TOKEN
from proxy.sip.message import unfold
from proxy.sip.parse import MAX_HEAD, MAX_URI

MAX_BODY: Final = 65536
"""Longest body in bytes, unless the framer is told otherwise; more is 513."""

_END_OF_HEAD: Final = b"\r\n\r\n"
_LARGEST_LENGTH: Final = 0xFFFFFFFF
_FIRST_BYTES: Final = frozenset(byte for byte in range(256) if TOKEN.match(bytes((byte,))) is not None)

# *( CRLF ) before the start line (§7.5); two of them are a ping (RFC 5626 §4.4.1)
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)*+")

# Content-Length = ( "Content-Length" / "l" ) HCOLON 1*DIGIT; the value may be folded
_CONTENT_LENGTH: Final = re.compile(
    rb"\r\n(?:content-length|l)[ \t]*+:((?:[^\r\n]|\r\n[ \t])*+)", re.IGNORECASE
)


class FramingError(ParseError):
    """The sender's fault, after which nothing more of the stream can be read.

    `cause` and `status` as in ParseError; `head` is what of the offending message's head can be read, for an
    answer before the end.
    """

    def __init__(self, cause: str, head: bytes, status: int = 400) -> None:
        super().__init__(cause, status)
        self.head = head


class StreamFramer:
    """Cuts one direction of one stream into messages. Its cost is linear in the bytes fed, however they are
    cut, and it holds at most one message within the limits and what came with it.

    `pings` counts keepalives; the reader sets it back. `error` is None until the stream is spoilt; from then
    on all input is ignored.
    """

    __slots__ = ("_buffer", "_need", "_scanned", "error", "max_body", "partial", "pings")

    def __init__(self, max_body: int = MAX_BODY) -> None:
        self.max_body = max_body
        self.pings = 0
        self.error: FramingError | None = None
        self.partial = False
        """Whether a message has begun and is not whole yet."""
        self._buffer = bytearray()
        self._need = 0  # length of the message that the buffer begins with, 0 while its head is not whole
        self._scanned = 0  # the end of the head begins no earlier

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; the messages that they complete, each whole with head and body."""
        if self.error is not None:
            return []
        buffer = self._buffer
        if buffer:
            buffer += data
            if self.partial and not self._worth_a_look():
                return []
            data = bytes(buffer)
        messages: list[bytes] = []
        try:
            position = self._cut(data, messages)
        except FramingError as error:
            self.error = error
            position = len(data)
            self.partial = False
        if buffer or position < len(data):
            self._buffer = bytearray(data[position:])
        return messages

    def _worth_a_look(self) -> bool:
        """Whether the buffer holds a whole message, a whole head, or too much."""
        buffer = self._buffer
        if self._need:
            return len(buffer) >= self._need
        if len(buffer) >= MAX_HEAD + len(_END_OF_HEAD) or buffer.find(_END_OF_HEAD, self._scanned) >= 0:
            return True
        self._scanned = max(0, len(buffer) - len(_END_OF_HEAD) + 1)
        return False

    def _cut(self, data: bytes, messages: list[bytes]) -> int:
        """Append the whole messages of `data`; returns where the rest begins, which has to wait."""
        end = len(data)
        position = 0
        self._need = self._scanned = 0
        while True:
            self.partial = False
            position = self._skip_empty_lines(data, position)
            if position == end or data[position] == 0x0D:
                return position
            if data[position] not in _FIRST_BYTES:
                raise FramingError("not_sip", b"")
            stop = data.find(_END_OF_HEAD, position)
            if stop - position > MAX_HEAD:
                raise _too_long(data[position:stop])
            if stop < 0 and end - position >= MAX_HEAD + len(_END_OF_HEAD):
                raise _too_long(data[position:end].rpartition(b"\r\n")[0] or data[position:end])
            if stop < 0:
                self.partial = True
                self._scanned = max(0, end - position - len(_END_OF_HEAD) + 1)
                return position
            after = stop + len(_END_OF_HEAD) + self._body_length(data[position:stop])
            if after > end:
                self.partial = True
                self._need = after - position
                return position
            messages.append(data[position:after])
            position = after

    def _skip_empty_lines(self, data: bytes, position: int) -> int:
        """Where the start line begins, or the CR of what may yet become a ping."""
        end = len(data)
        if position == end or data[position] not in b"\r\n":
            return position
        match = _EMPTY_LINES.match(data, position)
        after = position if match is None else match.end()
        pings, odd = divmod(after - position, len(_END_OF_HEAD))
        self.pings += pings
        if after == end or (data[after] == 0x0D and after == end - 1):
            return after - odd
        if data[after] == 0x0D:
            raise FramingError("not_sip", b"")
        return after

    def _body_length(self, head: bytes) -> int:
        """What Content-Length says; in a stream it must be there (§20.14)."""
        breaks = head.count(b"\r\n")
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks:
            raise FramingError("encoding", head)
        start = head[: head.find(b"\r\n")] if breaks else head
        if b"SIP/" not in start and b"SIP/" not in start.upper():
            raise FramingError("not_sip", b"")
        values = _CONTENT_LENGTH.findall(head)
        if not values:
            raise FramingError("content_length", head)
        length = _length(values[0], head)
        for value in values[1:]:
            if _length(value, head) != length:
                raise FramingError("content_length", head)
        if length > self.max_body:
            raise FramingError("size", head, 513)
        return length


def _length(value: bytes, head: bytes) -> int:
    digits = unfold(value)
    if not digits.isdigit():
        raise FramingError("content_length", head)
    digits = digits.lstrip(b"0") or b"0"
    if len(digits) > 10 or int(digits) > _LARGEST_LENGTH:
        raise FramingError("content_length", head)
    return int(digits)


def _too_long(lines: bytes) -> FramingError:
    """What a head deserves that is longer than any we read; `lines` is what of it came."""
    uri = lines[: MAX_URI * 2].partition(b"\r\n")[0].split(b" ", 2)
    if len(uri) > 1 and len(uri[1]) > MAX_URI:
        return FramingError("uri_length", lines, 414)
    return FramingError("size", lines, 513)
