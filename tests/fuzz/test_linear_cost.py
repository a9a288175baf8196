"""Cost grows with what a sender sends, and no faster: each thing that a sender can make longer is doubled
three times.

Time is processor time, the least of several runs, and a dimension fails only where it fails again and again.
The parser's own limits on a head (16 KB, 200 headers) would hide what grows, so they are lifted here: the
code must be linear without them.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable

import pytest

from proxy.sip import framing, parse
from proxy.sip import headers as header_limits
from proxy.sip.counters import SipCounters
from proxy.sip.errors import HeaderError, ParseError, UriError
from proxy.sip.framing import StreamFramer
from proxy.sip.headers import name_addr, parse_via, split_list
from proxy.sip.malformed import error_response
from proxy.sip.stack import SipStack
from proxy.sip.timers import Timers
from proxy.sip.uri import SipUri
from tests.call.playbook import PBX, Playbook, invite
from tests.playbook import CALLER, flow_to, request_bytes

FLOW = flow_to(CALLER)
GROWTH = 8
STEEPEST = 27.0
"""Most that an input doubled three times may cost beside the single one: 8 where cost is linear, 64 where it
is quadratic."""

FLOOR_SECONDS = 0.0002
"""Times below this say nothing: what is asked is whether a large input takes long."""

RUNS = 3
TRIES = 4
HUGE = 1 << 30


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch) -> None:
    for module in (parse, framing):
        monkeypatch.setattr(module, "MAX_HEAD", HUGE)
        monkeypatch.setattr(module, "MAX_URI", HUGE)
    monkeypatch.setattr(parse, "MAX_HEADERS", HUGE)
    monkeypatch.setattr(header_limits, "MAX_PARAMS", HUGE)


def seconds(work: Callable[[bytes], object], data: bytes) -> float:
    best = float("inf")
    for _ in range(RUNS):
        started = time.process_time()
        with contextlib.suppress(ParseError, HeaderError, UriError):
            work(data)
        best = min(best, time.process_time() - started)
    return max(best, FLOOR_SECONDS)


def assert_linear(work: Callable[[bytes], object], make: Callable[[int], bytes], size: int = 1000) -> None:
    """Raises AssertionError where every try says that cost grows faster than it may."""
    found = []
    for _ in range(TRIES):
        found.append(seconds(work, make(size * GROWTH)) / seconds(work, make(size)))
        if found[-1] <= STEEPEST:
            return
    raise AssertionError(f"{GROWTH} times the input costs {min(found):.0f} times as much")


def edited(old: bytes, new: bytes) -> bytes:
    data = request_bytes(body=b"v=0\r\n")
    assert old in data
    return data.replace(old, new, 1)


def extra(lines: bytes) -> bytes:
    return edited(b"Via:", lines + b"Via:")


_BRANCH = b";branch=z9hG4bKcaller1"
_NAME = b'"Alice"'
_TARGET = b"sip:+442071838750@192.0.2.1 "

DIMENSIONS: dict[str, Callable[[int], bytes]] = {
    "headers": lambda n: extra(b"X: y\r\n" * n),
    "header names": lambda n: extra(b"x" * n + b": y\r\n"),
    "distinct header names": lambda n: extra(b"".join(b"x%d: y\r\n" % i for i in range(n))),
    "header values": lambda n: extra(b"X: " + b"y" * n + b"\r\n"),
    "spaces in a value": lambda n: extra(b"X: " + b" " * n + b"y\r\n"),
    "spaces before the colon": lambda n: extra(b"X" + b" " * n + b": y\r\n"),
    "spaces and no colon": lambda n: extra(b"X" + b" " * n + b"\r\n"),
    "folds": lambda n: extra(b"X: y" + b"\r\n z" * n + b"\r\n"),
    "folds of nothing": lambda n: extra(b"X:" + b"\r\n " * n + b"\r\n"),
    "folds in Via": lambda n: edited(b"UDP ", b"UDP" + b"\r\n " * n),
    "folds in To": lambda n: edited(b"To: ", b"To:" + b"\r\n " * n),
    "empty lines before": lambda n: b"\r\n" * n + request_bytes(),
    "line ends alone": lambda n: b"\r\n" * n,
    "Via headers": lambda n: extra(b"Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n" * n),
    "Via values": lambda n: edited(_BRANCH, _BRANCH + b",SIP/2.0/UDP h;branch=z" * n),
    "Via commas": lambda n: edited(_BRANCH, b"," * n),
    "Via quotes": lambda n: edited(_BRANCH, b';x="' + b'\\"' * n),
    "Via quotes apart": lambda n: edited(_BRANCH, b',"' * n),
    "Via brackets": lambda n: edited(_BRANCH, b",<" * n),
    "Via parameters": lambda n: edited(_BRANCH, b";a=b" * n + _BRANCH),
    "Via parameter values": lambda n: edited(_BRANCH, b";a=" + b"b" * n + _BRANCH),
    "Via hosts": lambda n: edited(b"192.0.2.10", b"a." * n + b"b"),
    "Via spaces": lambda n: edited(b"SIP/2.0/UDP ", b"SIP" + b" " * n + b"/2.0/UDP "),
    "branches": lambda n: edited(_BRANCH, _BRANCH + b"x" * n),
    "display words": lambda n: edited(_NAME, b"a " * n),
    "display spaces": lambda n: edited(_NAME, b" " * n + b"("),
    "display quotes": lambda n: edited(_NAME, b'"' + b'\\"' * n + b'"'),
    "open quote": lambda n: edited(_NAME, b'"' + b"\\\\" * n),
    "many open quotes": lambda n: edited(_NAME, b'" ' * n),
    "comments": lambda n: edited(_NAME, b"(" * n),
    "NULs in quotes": lambda n: edited(_NAME, b'"' + b"\\\x00" * n + b'"'),
    "NULs between quotes": lambda n: edited(_NAME, b'"\\\x00"' * n),
    "open quotes and a NUL": lambda n: edited(_NAME, b'"\\' * n + b"\x00"),
    "From parameters": lambda n: edited(b";tag=a1", b";a=b" * n + b";tag=a1"),
    "From quoted parameters": lambda n: edited(b";tag=a1", b';a="b;c"' * n + b";tag=a1"),
    "From spaces": lambda n: edited(b";tag=a1", b" " * n + b";" + b" " * n + b"tag=a1"),
    "tags": lambda n: edited(b";tag=a1", b";tag=" + b"a" * n),
    "From URIs": lambda n: edited(b"sip:+15551230001", b"sip:" + b"a" * n),
    "brackets in From": lambda n: edited(_NAME, b"<" * n),
    "Call-IDs": lambda n: edited(b"c1@192.0.2.10", b"c" * n),
    "CSeq digits": lambda n: edited(b"CSeq: 1", b"CSeq: " + b"0" * n + b"1"),
    "CSeq words": lambda n: edited(b"CSeq: 1", b"CSeq: 1" + b" 1" * n),
    "Max-Forwards digits": lambda n: edited(b": 70", b": " + b"0" * n + b"70"),
    "Content-Length digits": lambda n: edited(b"Length: 5", b"Length: " + b"0" * n + b"5"),
    "large Content-Length": lambda n: edited(b"Length: 5", b"Length: " + b"9" * n),
    "Content-Lengths": lambda n: extra(b"l:5\r\n" * n),
    "Route headers": lambda n: extra(b"Route: <sip:a;lr>\r\n" * n),
    "Route values": lambda n: extra(b"Route: <sip:a;lr>" + b",<sip:b;lr>" * n + b"\r\n"),
    "Route commas": lambda n: extra(b"Route: <sip:a>" + b"," * n + b"\r\n"),
    "Route quotes": lambda n: extra(b'Route: <sip:a>,"' + b',"' * n + b"\r\n"),
    "Route brackets": lambda n: extra(b"Route: " + b"<" * n + b"\r\n"),
    "Route parameters": lambda n: extra(b"Route: <sip:a>" + b";x=y" * n + b"\r\n"),
    "Proxy-Require": lambda n: extra(b"Proxy-Require: " + b"x," * n + b"\r\n"),
    "bodies": lambda n: request_bytes(body=b"\r\n\r\n" * n),
    "multipart bodies": lambda n: request_bytes(
        extra="Content-Type: multipart/mixed;boundary=b\r\n", body=b"--b\r\n\r\nx\r\n" * n
    ),
    "methods": lambda n: edited(b"INVITE sip", b"I" * n + b" sip"),
    "words of the start line": lambda n: edited(_TARGET, b"a " * n),
    "URI users": lambda n: edited(_TARGET, b"sip:" + b"%41" * n + b"@h "),
    "URI users with no host": lambda n: edited(_TARGET, b"sip:" + b"%41" * n + b"%@h "),
    "URI passwords": lambda n: edited(_TARGET, b"sip:a:" + b"b" * n + b"@h "),
    "URI colons": lambda n: edited(_TARGET, b"sip:" + b"a:" * n + b"@h "),
    "URI at signs": lambda n: edited(_TARGET, b"sip:" + b"a@" * n + b"h "),
    "URI hosts": lambda n: edited(_TARGET, b"sip:a@" + b"a." * n + b"b "),
    "URI IPv6 hosts": lambda n: edited(_TARGET, b"sip:a@[" + b":1" * n + b"] "),
    "URI ports": lambda n: edited(_TARGET, b"sip:a@h:" + b"1" * n + b" "),
    "URI parameters": lambda n: edited(_TARGET, b"sip:a@b" + b";a=%41" * n + b" "),
    "URI parameters, broken": lambda n: edited(_TARGET, b"sip:a@b" + b";a=%41" * n + b"! "),
    "URI headers": lambda n: edited(_TARGET, b"sip:a@b?" + b"a=b&" * n + b" "),
    "tel parameters": lambda n: edited(_TARGET, b"tel:+44" + b";a=b" * n + b" "),
    "other URIs": lambda n: edited(_TARGET, b"urn:" + b"a:" * n + b" "),
}  # fmt: skip


def parser(data: bytes) -> None:
    parse.parse_message(data, FLOW)


def refused(data: bytes) -> None:
    error_response(data, FLOW, ParseError("header"))


def received(data: bytes) -> None:
    SipStack(Timers(), SipCounters()).receive(data, FLOW, 0.0)


@pytest.mark.parametrize("make", DIMENSIONS.values(), ids=DIMENSIONS.keys())
@pytest.mark.parametrize("work", [parser, refused, received])
def test_reading(work: Callable[[bytes], object], make: Callable[[int], bytes]) -> None:
    assert_linear(work, make)


@pytest.mark.parametrize("make", DIMENSIONS.values(), ids=DIMENSIONS.keys())
def test_a_stream_in_single_bytes(make: Callable[[int], bytes]) -> None:
    def feed(data: bytes) -> None:
        framer = StreamFramer()
        for at in range(len(data)):
            framer.feed(data[at : at + 1])

    assert_linear(feed, make, 60)


PARTS: dict[str, tuple[Callable[[bytes], object], Callable[[int], bytes]]] = {
    "list of words": (split_list, lambda n: b"a," * n),
    "list of quotes": (split_list, lambda n: b'"a",' * n),
    "list of open quotes": (split_list, lambda n: b'a,"' * n),
    "list of brackets": (split_list, lambda n: b"<a>," * n),
    "list of open brackets": (split_list, lambda n: b"a,<" * n),
    "list of quoted pairs": (split_list, lambda n: b'a,"' + b"\\a" * n),
    "name and parameters": (name_addr, lambda n: b"<sip:a>" + b";a=b" * n),
    "name in quotes": (name_addr, lambda n: b'"' + b"\\a" * n + b'" <sip:a>'),
    "name that never ends": (name_addr, lambda n: b"a " * n),
    "bare URI": (name_addr, lambda n: b"sip:" + b"a" * n + b"<"),
    "Via": (parse_via, lambda n: b"SIP/2.0/UDP h" + b' ; a = "b"' * n),
    "sent-by": (parse_via, lambda n: b"SIP/2.0/UDP " + b"a.-" * n + b"!"),
    "URI": (SipUri.parse, lambda n: b"sip:" + b"a;b=c" * n + b"@h;" + b"a=b;" * n),
}


@pytest.mark.parametrize(("work", "make"), PARTS.values(), ids=PARTS.keys())
def test_parts(work: Callable[[bytes], object], make: Callable[[int], bytes]) -> None:
    assert_linear(work, make)


FORWARDED: dict[str, Callable[[int], str]] = {
    "headers": lambda n: "X: y\r\n" * n,
    "values": lambda n: "X: " + "y" * n * 20 + "\r\n",
    "folds": lambda n: "X: y" + "\r\n z" * n + "\r\n",
    "Vias": lambda n: "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n" * n,
    "Routes": lambda n: "Route: <sip:a.example;lr>\r\n" * n,
    "Record-Routes": lambda n: "Record-Route: " + "<sip:a.example;lr>," * n + "<sip:b;lr>\r\n",
    "identities": lambda n: "P-Asserted-Identity: <sip:a@b>\r\n" * n,
    "P-Asserted-Identity": lambda n: "P-Asserted-Identity: " + "<sip:a@b>," * n + "<tel:+44>\r\n",
    "Privacy": lambda n: "Privacy: " + "id;" * n + "id\r\n",
    "Max-Breadth": lambda n: "Max-Breadth: " + "0" * n + "9\r\n",
    "Supported": lambda n: "Supported: " + "a," * n + "timer\r\n",
    "Session-Expires": lambda n: "Session-Expires: 1800" + ";a=b" * n + "\r\n",
    "Contact parameters": lambda n: "m: <sip:a@b>" + ";a=b" * n + "\r\n",
    "Timestamp": lambda n: "Timestamp: " + "1" * n + "\r\n",
}


@pytest.mark.parametrize("make", FORWARDED.values(), ids=FORWARDED.keys())
def test_forwarding(make: Callable[[int], str]) -> None:
    """From the datagram to what leaves for the carrier, by way of the policy."""

    def place(data: bytes) -> None:
        play = _playbook
        events = play.stack.receive(data, _FROM_PBX, play.now)
        for event in events:
            play.core.handle(event, play.now)
        for command in play.core.commands:
            if type(command).__name__ == "Reserve":
                command.session.admitted(play.now)
        play.core.commands.clear()
        play.stack.outbox.clear()
        play.stack._servers.clear()
        play.core._under_way.clear()

    assert_linear(place, lambda n: invite(extra=make(n)), 400)


_playbook = Playbook()
_FROM_PBX = flow_to(PBX)._replace(local=("127.0.0.1", 5060))


QUADRATIC: dict[str, Callable[[bytes], object]] = {
    # what an innocent pattern for trailing spaces does, and a repetition that backtracks
    "trailing spaces": lambda data: re.search(rb"[ \t]+$", data),
    "two repetitions": lambda data: re.match(rb"INVITE(?: *)(?: *)x", data),
}


@pytest.mark.parametrize("work", QUADRATIC.values(), ids=QUADRATIC.keys())
def test_quadratic_cost_is_found(work: Callable[[bytes], object]) -> None:
    with pytest.raises(AssertionError, match="times as much"):
        assert_linear(work, lambda n: b"INVITE" + b" " * n + b"!", 600)
