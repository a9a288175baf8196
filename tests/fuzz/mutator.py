"""Changes to SIP messages that know what a SIP message is made of: lines, names, values, parameters, lists,
numbers, folds. The same random source makes the same changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from tests.fuzz.seeds import MESSAGES, NAMES, WORDS

MOST_CHANGES = 4
LARGEST = 20_000
_NUMBER = re.compile(rb"[0-9]+")
_NUMBERS = (
    b"0",
    b"1",
    b"255",
    b"256",
    b"5060",
    b"65536",
    b"2147483648",
    b"4294967297",
    b"0" * 30 + b"7",
    b"9" * 30,
)


def mutate(data: bytes, random: Random, most: int = MOST_CHANGES) -> bytes:
    """`data` with one to `most` changes, at most LARGEST bytes."""
    for _ in range(min(random.randint(1, most), random.randint(1, most))):
        data = random.choice(_CHANGES)(data, random)
    return data[:LARGEST]


def _at(data: bytes, random: Random) -> int:
    return random.randint(0, len(data))


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\r\n")


def _a_line(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    """The message with one line of its head changed."""
    head, blank, body = data.partition(b"\r\n\r\n")
    lines = _lines(head)
    at = random.randrange(len(lines))
    lines[at] = change(lines[at])
    return b"\r\n".join(lines) + blank + body


def _put_word(data: bytes, random: Random) -> bytes:
    at = _at(data, random)
    return data[:at] + random.choice(WORDS) + data[at:]


def _put_bytes(data: bytes, random: Random) -> bytes:
    at = _at(data, random)
    return data[:at] + random.randbytes(random.randint(1, 4)) + data[at + random.randint(0, 4) :]


def _cut_out(data: bytes, random: Random) -> bytes:
    at = _at(data, random)
    return data[:at] + data[at + random.choice((1, 1, 2, 8, 64)) :]


def _cut_off(data: bytes, random: Random) -> bytes:
    return data[: _at(data, random)]


def _repeat(data: bytes, random: Random) -> bytes:
    """A stretch many times over: length where a sender may choose it."""
    at = _at(data, random)
    stretch = data[at : at + random.choice((1, 1, 2, 5, 30))]
    return data[:at] + stretch * random.choice((2, 3, 60, 300, 2000)) + data[at:]


def _number(data: bytes, random: Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    match = random.choice(found)
    return data[: match.start()] + random.choice(_NUMBERS) + data[match.end() :]


def _drop_line(data: bytes, random: Random) -> bytes:
    lines = _lines(data)
    del lines[random.randrange(len(lines))]
    return b"\r\n".join(lines)


def _double_line(data: bytes, random: Random) -> bytes:
    lines = _lines(data)
    lines.insert(random.randrange(len(lines)), random.choice(lines))
    return b"\r\n".join(lines)


def _swap_lines(data: bytes, random: Random) -> bytes:
    lines = _lines(data)
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _foreign_line(data: bytes, random: Random) -> bytes:
    lines = _lines(data)
    lines.insert(random.randrange(1, len(lines) + 1), random.choice(_lines(random.choice(MESSAGES))))
    return b"\r\n".join(lines)


def _new_value(data: bytes, random: Random) -> bytes:
    def change(line: bytes) -> bytes:
        name, colon, value = line.partition(b":")
        return name + colon + random.choice((b"", b" ", value)) + random.choice(WORDS)

    return _a_line(data, random, change)


def _new_name(data: bytes, random: Random) -> bytes:
    def change(line: bytes) -> bytes:
        name, colon, value = line.partition(b":")
        new = random.choice((name.upper(), name.lower(), name.swapcase(), random.choice(NAMES)))
        return new + random.choice((b"", b"", b" ", b"\t ")) + colon + value

    return _a_line(data, random, change)


def _fold(data: bytes, random: Random) -> bytes:
    """A line end with a space at a place where whitespace may stand, or may not."""

    def change(line: bytes) -> bytes:
        places = [match.start() for match in re.finditer(rb"[ :;,=<>]", line)] or [len(line)]
        at = random.choice(places) + random.randint(0, 1)
        return (
            line[:at]
            + random.choice((b"\r\n ", b"\r\n\t", b" \r\n  ", b"\r\n \r\n ", b" ", b"\t"))
            + line[at:]
        )

    return _a_line(data, random, change)


def _parameter(data: bytes, random: Random) -> bytes:
    def change(line: bytes) -> bytes:
        parts = line.split(b";")
        at = random.randrange(len(parts))
        what = random.randrange(4)
        if what == 0:
            parts.insert(at, random.choice(parts))
        elif what == 1:
            del parts[at]
        elif what == 2:
            parts.append(
                random.choice((b"a", b"a=b", b'a="b;c,d"', b"tag=x", b"branch=z9hG4bKy", b"lr", b""))
            )
        else:
            name, _, value = parts[at].partition(b"=")
            parts[at] = (
                name + random.choice((b"=", b" = ", b"")) + random.choice((value, b'"%b"' % value, b""))
            )
        return b";".join(parts)

    return _a_line(data, random, change)


def _join_values(data: bytes, random: Random) -> bytes:
    """A second value on the line, after a comma."""

    def change(line: bytes) -> bytes:
        _, _, value = line.partition(b":")
        return (
            line
            + random.choice((b",", b", ", b" ,\r\n ", b",,"))
            + random.choice((value, random.choice(WORDS)))
        )

    return _a_line(data, random, change)


def _wrap(data: bytes, random: Random) -> bytes:
    def change(line: bytes) -> bytes:
        name, colon, value = line.partition(b":")
        before, after = random.choice(
            ((b'"', b'"'), (b"<", b">"), (b'"', b'\\"'), (b"(", b")"), (b"<<", b">>"))
        )
        return name + colon + before + value.strip() + after

    return _a_line(data, random, change)


def _start_line(data: bytes, random: Random) -> bytes:
    start, end, rest = data.partition(b"\r\n")
    words = start.split(b" ")
    words[random.randrange(len(words))] = random.choice(WORDS)
    return random.choice((b" ", b" ", b" ", b"  ", b"\t")).join(words) + end + rest


def _right_length(data: bytes, random: Random) -> bytes:
    """Set Content-Length right again: what other changes broke gets one step further."""
    head, blank, body = data.partition(b"\r\n\r\n")
    lines = [line for line in _lines(head) if not line.lower().startswith((b"content-length", b"l:", b"l "))]
    lines.append(b"Content-Length: %d" % (len(body) + random.choice((0, 0, 0, -1, 1))))
    return b"\r\n".join(lines) + blank + body


def _another_message(data: bytes, random: Random) -> bytes:
    return data + random.choice((b"", b"\r\n", b"\r\n\r\n")) + random.choice(MESSAGES)


_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _put_word, _put_word, _put_bytes, _cut_out, _cut_off, _repeat, _number, _number, _drop_line,
    _double_line, _swap_lines, _foreign_line, _new_value, _new_value, _new_name, _fold, _fold, _parameter,
    _parameter, _join_values, _wrap, _start_line, _right_length, _another_message,
)  # fmt: skip
