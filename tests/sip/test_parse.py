"""The parser as tables: what is read, what is refused and why, and what it costs."""

from __future__ import annotations

import contextlib
import time

import pytest

from proxy.sip.errors import CAUSES, PHRASES, ParseError
from proxy.sip.message import SipRequest, SipResponse
from proxy.sip.parse import MAX_HEAD, MAX_HEADERS, MAX_URI, parse_message
from proxy.sip.serialize import serialize_message
from tests.playbook import CALLER, flow_to, request_bytes, response_to

FLOW = flow_to(CALLER)


def parse(data: bytes) -> SipRequest | SipResponse:
    message = parse_message(data, FLOW)
    assert message is not None
    return message


def parse_request(data: bytes) -> SipRequest:
    message = parse(data)
    assert isinstance(message, SipRequest)
    return message


def refusal(data: bytes) -> tuple[str, int]:
    with pytest.raises(ParseError) as caught:
        parse_message(data, FLOW)
    assert caught.value.cause in CAUSES
    assert caught.value.status in PHRASES
    return caught.value.cause, caught.value.status


# A message with everything that is allowed and seldom seen (in the spirit of RFC 4475 §3.1.1.1)
TORTUOUS = (
    b"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n"
    b"TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n"
    b'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n'
    b"MaX-fOrWaRdS: 0068\r\n"
    b"Call-ID: wsinv.ndaksdj@192.0.2.1\r\n"
    b"Content-Length   : 4\r\n"
    b"cseq: 0009\r\n  INVITE\r\n"
    b"Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n"
    b"s :\r\n"
    b"NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
    b"UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n"
    b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
    b" SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"
    b'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n'
    b"  secondparam ; q = 0.33\r\n"
    b"\r\n"
    b"\xff\x00\r\n"
)

NUL_IN_QUOTED_PAIR = request_bytes().replace(b'"Alice"', b'"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f"')

WELL_FORMED = {
    "plain": request_bytes(),
    "tortuous": TORTUOUS,
    "escaped NUL": NUL_IN_QUOTED_PAIR,
    "binary body": request_bytes(body=bytes(range(256)) + b"\r\n\r\n" * 3),
    "odd method": request_bytes("!interesting-Method0123456789_*+`.%indeed'~"),
    "compact": request_bytes().replace(b"Via:", b"v:").replace(b"From:", b"F :").replace(b"To:", b"t:")
    .replace(b"Call-ID:", b"i:").replace(b"Content-Length:", b"L:"),
    "no tag, no branch (RFC 2543)": request_bytes().replace(b";tag=a1", b"")
    .replace(b";branch=z9hG4bKcaller1", b""),
    "no Content-Length": request_bytes().replace(b"Content-Length: 0\r\n", b""),
    "no Max-Forwards": request_bytes().replace(b"Max-Forwards: 70\r\n", b""),
    "Routes": request_bytes(
        extra='Route: <sip:a;lr> , "b, <c>" <sip:u,v@d>;x="y,z"\r\nROUTE:\r\n <sip:[::1]>\r\n'
    ),
    "UTF-8": request_bytes(extra="Subject: größer\r\n"),
    "not UTF-8": request_bytes().replace(b"Alice", b"\xff\xfe"),
    "same Content-Length twice": request_bytes(extra="l: 00\r\n"),
    "version in lower case": request_bytes().replace(b"SIP/2.0\r\n", b"sip/2.0\r\n", 1),
    "response": response_to(request_bytes(), 200),
    "response without phrase": response_to(request_bytes(), 100).replace(b"100 Whatever", b"100 "),
    "response without phrase and space": response_to(request_bytes(), 100).replace(b"100 Whatever", b"100"),
    "response with a foreign phrase": response_to(request_bytes(), 200).replace(
        b"Whatever", "= 2**3 * 5**2 но сто девяносто девять".encode()
    ),
}  # fmt: skip


@pytest.mark.parametrize("data", WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_what_is_well_formed_leaves_as_it_came(data: bytes) -> None:
    message = parse(data)
    assert serialize_message(message.start, message.headers, message.body) == data


def test_what_is_read() -> None:
    request = parse_request(TORTUOUS)
    assert (request.method, request.uri) == (b"INVITE", b"sip:vivekg@chair-dnrc.example.com;unknownparam")
    assert (request.from_tag, request.to_tag) == (b"98asjd8", b"1918181833n")
    assert (request.cseq, request.cseq_method, request.max_forwards) == (9, b"INVITE", 68)
    assert request.call_id == b"wsinv.ndaksdj@192.0.2.1"
    assert (request.via.host, request.via.branch, request.via_index) == (b"192.0.2.2", b"390skdjuw", 6)
    assert request.body == b"\xff\x00\r\n"
    assert [name for name, _ in request.headers][-4:] == [b"content-type", b"route", b"via", b"contact"]
    assert request.first(b"newfangledheader") == b"newfangled value continued newfangled value"
    assert len(request.all(b"via")) == 2
    assert request.parsed_uri.param(b"unknownparam") == b""


def test_what_is_read_of_a_response() -> None:
    response = parse(WELL_FORMED["response with a foreign phrase"])
    assert isinstance(response, SipResponse)
    assert (response.status, response.cseq_method, response.to_tag) == (200, b"INVITE", b"b1")
    assert response.reason.decode().startswith("= 2**3")


def test_bytes_after_the_body_are_dropped() -> None:
    second = request_bytes("BYE")
    assert parse(request_bytes(body=b"abc") + second).body == b"abc"


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_empty_lines_before_the_message_are_skipped_and_alone_are_nothing(count: int) -> None:
    assert parse(b"\r\n" * count + request_bytes()).start.startswith(b"INVITE")
    assert parse_message(b"\r\n" * count, FLOW) is None


def edited(old: bytes, new: bytes) -> bytes:
    data = request_bytes(body=b"v=0\r\n")
    assert old in data
    return data.replace(old, new, 1)


REFUSED = {
    "empty": (b"", "not_sip", 400),
    "four zeros": (b"\x00\x00\x00\x00", "not_sip", 400),
    "lone LF first": (b"\r\n\n" + request_bytes(), "not_sip", 400),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not_sip", 400),
    "two spaces": (edited(b"INVITE sip", b"INVITE  sip"), "start_line", 400),
    "tab in request line": (edited(b"INVITE sip", b"INVITE\tsip"), "start_line", 400),
    "space at the end": (edited(b" SIP/2.0", b" SIP/2.0 "), "start_line", 400),
    "space in front": (edited(b"INVITE", b" INVITE"), "start_line", 400),
    "space in URI": (edited(b"@192.0.2.1 ", b"@192.0.2.1; lr "), "start_line", 400),
    "method is no token": (edited(b"INVITE", b"INV@TE"), "start_line", 400),
    "folded request line": (edited(b" SIP/2.0\r\n", b" SIP/2.0\r\n x\r\n"), "start_line", 400),
    "two request lines": (edited(b"Via:", b"INVITE sip:a@b SIP/2.0\r\nVia:"), "header", 400),
    "no version": (edited(b" SIP/2.0\r\n", b"\r\n"), "not_sip", 400),
    "version 7": (edited(b" SIP/2.0\r\n", b" SIP/7.0\r\n"), "version", 505),
    "version 2.00": (edited(b" SIP/2.0\r\n", b" SIP/2.00\r\n"), "version", 505),
    "version 2": (edited(b" SIP/2.0\r\n", b" SIP/2\r\n"), "start_line", 400),
    "URI in brackets": (edited(b"sip:+442071838750@192.0.2.1 ", b"<sip:a@192.0.2.1> "), "uri", 400),
    "IPv6 without brackets": (edited(b"sip:+442071838750@192.0.2.1 ", b"sip:2001:db8::10 "), "uri", 400),
    "broken escape": (edited(b"sip:+44", b"sip:%4g"), "uri", 400),
    "long URI": (edited(b"sip:+44", b"sip:+" + b"4" * MAX_URI), "uri_length", 414),
    "very long URI": (edited(b"sip:+44", b"sip:+" + b"4" * MAX_HEAD), "uri_length", 414),
    "long head": (edited(b"Via:", b"X: " + b"x" * MAX_HEAD + b"\r\nVia:"), "size", 513),
    "many headers": (edited(b"Via:", b"X: y\r\n" * MAX_HEADERS + b"Via:"), "size", 513),
    "no end of head": (request_bytes()[:-2], "header", 400),
    "no colon": (edited(b"Max-Forwards: 70", b"Max-Forwards"), "header", 400),
    "known name without colon": (edited(b"Max-Forwards: 70", b"Subject"), "header", 400),
    "space in name": (edited(b"Max-Forwards: 70", b"Max Forwards: 70"), "header", 400),
    "empty name": (edited(b"Max-Forwards: 70", b": 70"), "header", 400),
    "bare LF": (edited(b"70\r\n", b"70\n"), "encoding", 400),
    "bare LF in a value": (edited(b"Alice", b"Al\nRoute: <sip:evil>"), "encoding", 400),
    "bare CR": (edited(b"Alice", b"Al\rice"), "encoding", 400),
    "CR CR LF": (edited(b"70\r\n", b"70\r\r\n"), "encoding", 400),
    "NUL": (edited(b"70\r\n", b"70\r\nSubject: a\x00b\r\n"), "encoding", 400),
    "NUL in quotes": (edited(b"Alice", b"Al\x00ice"), "encoding", 400),
    "NUL after an open quote": (edited(b"Alice", b'Al" \\\0'), "encoding", 400),
    "NUL in quotes behind a pair": (edited(b"Alice", b"\\\0\0"), "encoding", 400),
    "NUL in URI": (edited(b"sip:+44", b"sip:\x00"), "uri", 400),
    "no Via": (edited(b"Via:", b"Vix:"), "via", 400),
    "broken Via": (edited(b";branch", b";;,;,,branch"), "via", 400),
    "Via with port 0": (edited(b":5062", b":0"), "via", 400),
    "no From": (edited(b"From:", b"Frox:"), "from", 400),
    "two From": (edited(b"Via:", b"f: <sip:x@y>;tag=1\r\nVia:"), "from", 400),
    "two tags": (edited(b";tag=a1", b";tag=a1;tag=a2"), "from", 400),
    "empty tag": (edited(b";tag=a1", b";tag="), "from", 400),
    "tag is no token": (edited(b";tag=a1", b';tag="a1"'), "from", 400),
    "no To": (edited(b"To:", b"Tx:"), "to", 400),
    "two To": (edited(b"Via:", b"t: <sip:x@y>\r\nVia:"), "to", 400),
    "open quote": (edited(b"To: <", b'To: "Mr. J. User <'), "to", 400),
    "comma in a bare display name": (edited(b"To: <", b"To: Watson, Thomas <"), "to", 400),
    "space in brackets": (edited(b"To: <", b"To: < "), "to", 400),
    "no Call-ID": (edited(b"Call-ID:", b"Call-IX:"), "call_id", 400),
    "two Call-IDs": (edited(b"Via:", b"i: x\r\nVia:"), "call_id", 400),
    "empty Call-ID": (edited(b"c1@192.0.2.10", b""), "call_id", 400),
    "space in Call-ID": (edited(b"c1@192", b"c1 @192"), "call_id", 400),
    "no CSeq": (edited(b"CSeq:", b"CSex:"), "cseq", 400),
    "two CSeq": (edited(b"Via:", b"CSeq: 1 INVITE\r\nVia:"), "cseq", 400),
    "CSeq 2**31": (edited(b"CSeq: 1", b"CSeq: 2147483648"), "cseq", 400),
    "CSeq 36893488147419103232": (edited(b"CSeq: 1", b"CSeq: 36893488147419103232"), "cseq", 400),
    "CSeq negative": (edited(b"CSeq: 1", b"CSeq: -1"), "cseq", 400),
    "CSeq in Arabic digits": (edited(b"CSeq: 1", "CSeq: ١".encode()), "cseq", 400),
    "CSeq of another method": (edited(b"1 INVITE", b"1 BYE"), "cseq", 400),
    "CSeq in lower case": (edited(b"1 INVITE", b"1 invite"), "cseq", 400),
    "CSeq without method": (edited(b"1 INVITE", b"1"), "cseq", 400),
    "CSeq with three parts": (edited(b"1 INVITE", b"1 INVITE 2"), "cseq", 400),
    "Max-Forwards 256": (edited(b": 70", b": 256"), "max_forwards", 400),
    "Max-Forwards 300": (edited(b": 70", b": 300"), "max_forwards", 400),
    "Max-Forwards garbage": (edited(b": 70", b": 7O"), "max_forwards", 400),
    "Max-Forwards negative": (edited(b": 70", b": -1"), "max_forwards", 400),
    "Max-Forwards empty": (edited(b": 70", b":"), "max_forwards", 400),
    "Max-Forwards twice": (edited(b"Via:", b"Max-Forwards: 70\r\nVia:"), "max_forwards", 400),
    "Content-Length too large": (edited(b"Length: 5", b"Length: 6"), "body", 400),
    "Content-Length 2**32 - 1": (edited(b"Length: 5", b"Length: 4294967295"), "body", 400),
    "Content-Length 2**32 + 5": (edited(b"Length: 5", b"Length: 4294967301"), "content_length", 400),
    "Content-Length of 40 digits": (edited(b"Length: 5", b"Length: " + b"9" * 40), "content_length", 400),
    "Content-Length -999": (edited(b"Length: 5", b"Length: -999"), "content_length", 400),
    "Content-Length +5": (edited(b"Length: 5", b"Length: +5"), "content_length", 400),
    "Content-Length 0x5": (edited(b"Length: 5", b"Length: 0x5"), "content_length", 400),
    "Content-Length 5,5": (edited(b"Length: 5", b"Length: 5,5"), "content_length", 400),
    "Content-Length empty": (edited(b"Length: 5", b"Length:"), "content_length", 400),
    "two Content-Lengths": (edited(b"Via:", b"l: 4\r\nVia:"), "content_length", 400),
    "question mark in a bare To": (edited(b"To: <", b"To: sip:a@b?x=y \r\nX: <"), "to", 400),
    "Route without brackets": (edited(b"Via:", b"Route: sip:a;lr\r\nVia:"), "route", 400),
    "open bracket in Route": (edited(b"Via:", b"Route: <sip:a, <sip:b>\r\nVia:"), "route", 400),
    "open quote in Route": (edited(b"Via:", b'Route: "x <sip:a>, <sip:b>\r\nVia:'), "route", 400),
    "no comma between Routes": (edited(b"Via:", b"Route: <sip:a> <sip:b>\r\nVia:"), "route", 400),
    "semicolon between Routes": (edited(b"Via:", b"Route: <sip:a>;<sip:b>\r\nVia:"), "route", 400),
    "second Route broken": (edited(b"Via:", b"Route: <sip:a>\r\nRoute: x\r\nVia:"), "route", 400),
    "status 99": (b"SIP/2.0 99 X\r\n\r\n", "start_line", 400),
    "status 700": (b"SIP/2.0 700 X\r\n\r\n", "start_line", 400),
    "status 4294967301": (b"SIP/2.0 4294967301 X\r\n\r\n", "start_line", 400),
    "response of version 3": (b"SIP/3.0 200 OK\r\n\r\n", "version", 505),
    "response with a large CSeq": (response_to(edited(b"CSeq: 1", b"CSeq: 9292394834772304023312"), 200),
                                   "cseq", 400),
}  # fmt: skip


@pytest.mark.parametrize(("data", "cause", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(data: bytes, cause: str, status: int) -> None:
    assert refusal(data) == (cause, status)


def test_no_start_of_a_message_is_a_message() -> None:
    """Cut anywhere, it is refused: nothing is made up for what is missing."""
    data = request_bytes(body=b"v=0\r\n")
    for end in range(1, len(data)):
        if data[:end].strip(b"\r\n"):
            refusal(data[:end])


@pytest.mark.parametrize(
    ("max_forwards", "read"), [("0", 0), ("0068", 68), ("255", 255), ("000000000000000000007", 7)]
)
def test_max_forwards(max_forwards: str, read: int) -> None:
    data = request_bytes().replace(b"Max-Forwards: 70", b"Max-Forwards: " + max_forwards.encode())
    assert parse_request(data).max_forwards == read


# What a stranger can put into one datagram to make a careless pattern or loop quadratic
HOSTILE = {
    "empty lines": b"\r\n" * 30000,
    "spaces after the method": b"INVITE" + b" " * 60000,
    "spaces in Via": edited(b"SIP/2.0/UDP ", b"SIP" + b" " * 15000 + b"/2.0/UDP "),
    "spaces before the port": edited(b":5062", b" " * 15000 + b"x"),
    "Via parameters": edited(b";branch", b";a=b" * 3500 + b";branch"),
    "Via values": edited(b";branch=z9hG4bKcaller1", b";branch=x" + b",SIP/2.0/UDP h" * 1000),
    "Via commas": edited(b";branch=z9hG4bKcaller1", b"," * 15000),
    "Via quotes": edited(b";branch=z9hG4bKcaller1", b',"' * 7500),
    "Via brackets": edited(b";branch=z9hG4bKcaller1", b",<" * 7500),
    "display words": edited(b'"Alice"', b"a " * 7500),
    "display spaces": edited(b'"Alice"', b" " * 15000 + b"!" + b" " * 500 + b"("),
    "open quote": edited(b'"Alice"', b'"' + b"\\\\" * 7500),
    "From parameters": edited(b";tag=a1", b";a" * 7500),
    "URI parameters": edited(b"sip:+442071838750@192.0.2.1 ", b"sip:a@b" + b";a=%41" * 290 + b"! "),
    "URI user": edited(b"sip:+442071838750@192.0.2.1 ", b"sip:" + b"%41" * 600 + b"%@h "),
    "URI colons": edited(b"sip:+442071838750@192.0.2.1 ", b"sip:" + b"a:" * 1000 + b"@h "),
    "folds": edited(b"70\r\n", b"70\r\nX: y" + b"\r\n z" * 190 + b"\r\n"),
    "folds of Via": edited(b"SIP/2.0/UDP ", b"SIP/2.0/UDP\r\n " + b"\r\n " * 190),
    "NULs": edited(b"Alice", b"\\\x00" * 7000),
    "open quotes and a NUL": edited(b'"Alice"', b'"\\' * 7500 + b"\0"),
    "NULs and quotes": edited(b'"Alice"', b'"\x00' * 7000),
    "digits": edited(b"CSeq: 1", b"CSeq: " + b"0" * 15000 + b"1"),
    "names": edited(b"Via:", b"".join(b"%x: y\r\n" % n for n in range(180)) + b"Via:"),
    "Content-Lengths": edited(b"Via:", b"l:5\r\n" * 180 + b"Via:"),
    "a body of line ends": request_bytes(body=b"\r\n\r\n" * 15000),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_cost_is_linear_in_what_a_sender_controls(data: bytes) -> None:
    """Anything quadratic in 15,000 bytes takes some hundred milliseconds of processor time; linear takes
    about one."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        with contextlib.suppress(ParseError):
            parse_message(data, FLOW)
        best = min(best, time.process_time() - started)
    assert best < 0.02


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"via": "SIP/2.0/UDP 192.0.2.10:5063"}, False),
        ({"via": "SIP/2.0/UDP 192.0.2.11:5062"}, False),
        ({"branch": "z9hG4bKcaller2"}, False),
        ({"method": "ACK"}, True),
        ({"method": "CANCEL"}, True),
        ({"method": "BYE"}, False),
        ({"uri": "sip:other@192.0.2.1"}, True),
    ],
)
def test_what_makes_two_requests_one_transaction(change: dict[str, str], same: bool) -> None:
    first = parse_request(request_bytes())
    assert (parse_request(request_bytes(**change)).key == first.key) is same  # type: ignore[arg-type]


@pytest.mark.parametrize("branch", ["", "1", "z9hG4bK", "Z9HG4BKx"])
@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"method": "ACK", "to_tag": "b1"}, True),
        ({"method": "CANCEL"}, True),
        ({"method": "BYE"}, False),
        ({"uri": "sip:other@192.0.2.1"}, False),
        ({"cseq": "2"}, False),
        ({"via": "SIP/2.0/UDP 192.0.2.10:5063"}, False),
    ],
)
def test_without_the_cookie_a_request_is_known_by_its_parts(
    branch: str, change: dict[str, str], same: bool
) -> None:
    """RFC 3261 §17.2.3, second half."""

    def key(**arguments: str) -> object:
        data = request_bytes(branch=branch, **arguments)  # type: ignore[arg-type]
        return parse_request(data if branch else data.replace(b";branch=", b"")).key

    assert (key(**change) == key()) is same


def test_sent_by_without_a_port_means_5060_and_case_does_not_matter() -> None:
    keys = {
        parse_request(request_bytes(via=f"SIP/2.0/UDP {host}")).key
        for host in ("pbx.example", "PBX.Example", "pbx.example:5060", "pbx.example : 5060")
    }
    assert len(keys) == 1


def test_another_source_cannot_speak_in_a_transaction() -> None:
    ours = parse_message(request_bytes(), FLOW)
    theirs = parse_message(request_bytes(), flow_to(("203.0.113.66", 5062)))
    assert isinstance(ours, SipRequest)
    assert isinstance(theirs, SipRequest)
    assert ours.key != theirs.key
