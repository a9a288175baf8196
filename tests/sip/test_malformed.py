"""Stateless answers to what cannot be parsed."""

from __future__ import annotations

import pytest

from proxy.sip.errors import ParseError
from proxy.sip.malformed import MOST_AMPLIFICATION, error_response
from proxy.sip.message import Flow
from tests.playbook import CALLER, PROXY, flow_to, request_bytes, response_to

BAD_REQUEST = ParseError("cseq", 400)
PAD = "User-Agent: " + "x" * 80 + "\r\n"
BROKEN = request_bytes(extra=PAD).replace(b"1 INVITE", b"x INVITE")


def answered(data: bytes, error: ParseError = BAD_REQUEST) -> tuple[bytes, Flow]:
    answer = error_response(data, flow_to(CALLER), error)
    assert answer is not None
    return answer


def test_what_can_be_read_is_echoed() -> None:
    data, flow = answered(BROKEN)
    lines = data.split(b"\r\n")
    assert lines[0] == b"SIP/2.0 400 Bad Request"
    assert lines[1] == b"Via: SIP/2.0/UDP 192.0.2.10:5062;received=192.0.2.10;branch=z9hG4bKcaller1"
    assert lines[2] == b'From: "Alice" <sip:+15551230001@192.0.2.10>;tag=a1'
    assert lines[3].startswith(b"To: <sip:+442071838750@192.0.2.1>;tag=")
    assert lines[4:] == [b"Call-ID: c1@192.0.2.10", b"CSeq: x INVITE", b"Content-Length: 0", b"", b""]
    assert flow == flow_to(CALLER)


@pytest.mark.parametrize(
    ("status", "line"),
    [(400, b"400 Bad Request"), (414, b"414 Request-URI Too Long"), (505, b"505 Version Not Supported"),
     (513, b"513 Message Too Large")],
)  # fmt: skip
def test_status_is_the_error_s(status: int, line: bytes) -> None:
    assert answered(BROKEN, ParseError("size", status))[0].startswith(b"SIP/2.0 " + line + b"\r\n")


@pytest.mark.parametrize(
    ("via", "marked", "port"),
    [
        (b"192.0.2.10:7000;rport;branch=1", b"192.0.2.10:7000;received=192.0.2.10;rport=5062;branch=1", 5062),
        (b"192.0.2.10;branch=1", b"192.0.2.10;received=192.0.2.10;branch=1", 5060),
        (b"h;received=203.0.113.66;branch=1", b"h;received=192.0.2.10;branch=1", 5060),
        (b"192.0.2.15:7000;;,;,,", b"192.0.2.15:7000;received=192.0.2.10;;,;,,", 7000),
        (b"[2001:db8::1]:7000", b"[2001:db8::1]:7000;received=192.0.2.10", 7000),
        (b"h:99999", b"h:99999;received=192.0.2.10", 5062),
    ],
)
def test_way_back_of_a_broken_via(via: bytes, marked: bytes, port: int) -> None:
    data, flow = answered(BROKEN.replace(b"192.0.2.10:5062;branch=z9hG4bKcaller1", via))
    assert b"\r\nVia: SIP/2.0/UDP " + marked + b"\r\n" in data
    assert flow == Flow("udp", PROXY, ("192.0.2.10", port))


def test_folds_and_compact_forms_are_read() -> None:
    data, _ = answered(BROKEN.replace(b"To: ", b"t:\r\n ").replace(b"From:", b"F :"))
    assert b"\r\nt: <sip:+442071838750@192.0.2.1>;tag=" in data
    assert b'\r\nF : "Alice"' in data


def test_missing_headers_are_left_out_and_second_ones_too() -> None:
    data, _ = answered(BROKEN.replace(b"To:", b"Call-ID: 2\r\nTox:").replace(b"From:", b"Frox:"))
    assert b"From:" not in data
    assert b"To:" not in data
    assert data.count(b"Call-ID:") == 1


NEVER_ANSWERED = {
    "response": response_to(request_bytes(), 200),
    "ACK": BROKEN.replace(b"INVITE", b"ACK"),
    "no request": b"GET / HTTP/1.1\r\nVia: SIP/2.0/UDP h\r\n" + b"x: y\r\n" * 50,
    "method is no token": b"(\xff) sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n" + b"x: y\r\n" * 50,
    "no Via": BROKEN.replace(b"Via:", b"Vix:"),
    "no host in Via": BROKEN.replace(b"192.0.2.10:5062;branch", b";branch"),
    "bare LF in Via": BROKEN.replace(b";branch", b"\nRoute: <sip:evil>;branch"),
    "NUL in Via": BROKEN.replace(b";branch", b"\x00;branch"),
    "too small to be worth an answer": b"X sip:a SIP/2.0\r\nVia:SIP/2.0/UDP a\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("data", NEVER_ANSWERED.values(), ids=NEVER_ANSWERED.keys())
def test_never_answered(data: bytes) -> None:
    assert error_response(data, flow_to(CALLER), BAD_REQUEST) is None


def test_lines_with_line_ends_in_them_are_not_echoed() -> None:
    data, _ = answered(BROKEN.replace(b"Call-ID: c1", b"Call-ID: c1\nRoute: <sip:evil>\r"))
    assert b"evil" not in data
    data, _ = answered(BROKEN.replace(b"Call-ID: c1", b"Call-ID: c\r\n \nRoute: <sip:evil>"))
    assert b"evil" not in data


def test_an_answer_is_no_amplifier() -> None:
    for data in (BROKEN, BROKEN.replace(b"To:", b"To: \r\n" + b" " * 9000 + b"\r\n x")):
        assert len(answered(data)[0]) <= MOST_AMPLIFICATION * len(data)
