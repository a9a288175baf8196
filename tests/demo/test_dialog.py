from __future__ import annotations

import pytest

from proxy.demo.dialog import DialogError, PeerDialog, uri_of
from proxy.sip.message import Flow, Header, SipRequest, SipResponse
from proxy.sip.parse import parse_message
from proxy.sip.serialize import OutgoingRequest

FLOW = Flow("udp", ("127.0.0.2", 5060), ("127.0.0.1", 5060))


def invite_headers() -> list[Header]:
    return [
        (b"via", b"Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK1"),
        (b"from", b"From: <sip:me@127.0.0.2>;tag=mine"),
        (b"to", b"To: <sip:you@127.0.0.1>"),
        (b"call-id", b"Call-ID: c1"),
        (b"cseq", b"CSeq: 7 INVITE"),
    ]


def answer(*lines: bytes, to_tag: bytes = b";tag=yours") -> SipResponse:
    data = b"\r\n".join(
        (
            b"SIP/2.0 200 OK",
            b"Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK1",
            b"From: <sip:me@127.0.0.2>;tag=mine",
            b"To: <sip:you@127.0.0.1>" + to_tag,
            b"Call-ID: c1",
            b"CSeq: 7 INVITE",
            *lines,
            b"Content-Length: 0\r\n\r\n",
        )
    )
    message = parse_message(data, FLOW)
    assert isinstance(message, SipResponse)
    return message


def request(*lines: bytes, cseq: int = 7) -> SipRequest:
    data = b"\r\n".join(
        (
            b"INVITE sip:me@127.0.0.2 SIP/2.0",
            b"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1",
            b"From: <sip:you@127.0.0.1>;tag=yours",
            b"To: <sip:me@127.0.0.2>",
            b"Call-ID: c1",
            b"CSeq: %d INVITE" % cseq,
            b"Max-Forwards: 70",
            *lines,
            b"Content-Length: 0\r\n\r\n",
        )
    )
    message = parse_message(data, FLOW)
    assert isinstance(message, SipRequest)
    return message


def caller_dialog(*lines: bytes, to_tag: bytes = b";tag=yours") -> PeerDialog:
    invite = OutgoingRequest(b"INVITE", b"sip:you@127.0.0.1", invite_headers(), b"z9hG4bK1")
    return PeerDialog.of_caller(invite, answer(*lines, to_tag=to_tag), FLOW)


def values(sent: OutgoingRequest, name: bytes) -> list[bytes]:
    return [line.partition(b": ")[2] for key, line in sent.headers if key == name]


CONTACT = b"Contact: <sip:you@127.0.0.3:5070>"


def test_the_caller_visits_the_recorded_routes_backwards() -> None:
    dialog = caller_dialog(
        b"Record-Route: <sip:127.0.0.8:5080;lr>, <sip:127.0.0.7:5060;lr;tw=a.b>",
        b"Record-Route: <sip:127.0.0.6:5061;lr>",
        CONTACT,
    )
    bye = dialog.request(b"BYE", b"127.0.0.2:5060", b"z9hG4bK2")
    assert bye.uri == b"sip:you@127.0.0.3:5070"
    assert values(bye, b"route") == [
        b"<sip:127.0.0.6:5061;lr>",
        b"<sip:127.0.0.7:5060;lr;tw=a.b>",
        b"<sip:127.0.0.8:5080;lr>",
    ]
    assert dialog.flow.remote == ("127.0.0.6", 5061)


def test_the_callee_visits_them_forwards() -> None:
    dialog = PeerDialog.of_callee(
        request(b"Record-Route: <sip:127.0.0.6;lr>", b"Record-Route: <sip:127.0.0.7;lr>", CONTACT), b"mine"
    )
    bye = dialog.request(b"BYE", b"127.0.0.2:5060", b"z9hG4bK2")
    assert values(bye, b"route") == [b"<sip:127.0.0.6;lr>", b"<sip:127.0.0.7;lr>"]
    assert values(bye, b"from") == [b"<sip:me@127.0.0.2>;tag=mine"]
    assert values(bye, b"to") == [b"<sip:you@127.0.0.1>;tag=yours"]
    assert dialog.flow.remote == ("127.0.0.6", 5060)


def test_without_routes_requests_go_to_the_contact() -> None:
    dialog = caller_dialog(CONTACT)
    assert dialog.flow.remote == ("127.0.0.3", 5070)
    assert values(dialog.request(b"BYE", b"127.0.0.2:5060", b"z9hG4bK2"), b"route") == []


def test_a_strict_router_finds_itself_in_the_request_uri() -> None:
    dialog = caller_dialog(b"Record-Route: <sip:127.0.0.8;lr>, <sip:127.0.0.6:5061>", CONTACT)
    bye = dialog.request(b"BYE", b"127.0.0.2:5060", b"z9hG4bK2")
    assert bye.uri == b"sip:127.0.0.6:5061"
    assert values(bye, b"route") == [b"<sip:127.0.0.8;lr>", b"<sip:you@127.0.0.3:5070>"]


def test_ack_keeps_the_number_of_the_invite_and_bye_takes_the_next() -> None:
    dialog = caller_dialog(CONTACT)
    assert values(dialog.request(b"ACK", b"h", b"z9hG4bK2"), b"cseq") == [b"7 ACK"]
    assert values(dialog.request(b"BYE", b"h", b"z9hG4bK3"), b"cseq") == [b"8 BYE"]
    assert values(dialog.request(b"BYE", b"h", b"z9hG4bK4"), b"cseq") == [b"9 BYE"]


def test_requests_must_come_in_order() -> None:
    dialog = PeerDialog.of_callee(request(CONTACT), b"mine")
    assert not dialog.takes(request(cseq=7))
    assert dialog.takes(request(cseq=8))
    assert not dialog.takes(request(cseq=8))
    assert dialog.takes(request(cseq=100))


@pytest.mark.parametrize(
    ("lines", "to_tag"),
    [
        ((CONTACT,), b""),
        ((), b";tag=yours"),
        ((b"Contact: *",), b";tag=yours"),
        ((b"Contact: <no uri>",), b";tag=yours"),
        ((b"Record-Route: <>", CONTACT), b";tag=yours"),
    ],
)
def test_what_makes_no_dialog(lines: tuple[bytes, ...], to_tag: bytes) -> None:
    with pytest.raises(DialogError):
        caller_dialog(*lines, to_tag=to_tag)


def test_the_uri_of_an_address() -> None:
    assert uri_of(b'"You" <sip:you@127.0.0.3;lr>;x=1') == b"sip:you@127.0.0.3;lr"
    with pytest.raises(DialogError):
        uri_of(b"<sip:you")
