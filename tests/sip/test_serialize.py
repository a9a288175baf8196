"""What leaves: our own messages, and what is passed on."""

from __future__ import annotations

import pytest
import sipmessage

from proxy.sip.message import SipRequest, SipResponse
from proxy.sip.parse import parse_message
from proxy.sip.serialize import (
    build_ack,
    build_cancel,
    build_response,
    forward_response,
    serialize_request,
    via_header,
    via_lines,
)
from tests.playbook import CALLEE, CALLER, flow_to, outgoing, request_bytes, response_to


def request_of(data: bytes) -> SipRequest:
    request = parse_message(data, flow_to(CALLER))
    assert isinstance(request, SipRequest)
    return request


def response_of(data: bytes) -> SipResponse:
    response = parse_message(data, flow_to(CALLEE))
    assert isinstance(response, SipResponse)
    return response


INVITE = request_bytes(extra="v: SIP/2.0/UDP h2;branch=2\r\nRecord-Route: <sip:r;lr>\r\nX: y\r\n")


def test_a_response_copies_what_it_must() -> None:
    data = build_response(
        request_of(INVITE), 486, b"Busy Here", to_tag=b"t1", extra=[b"Reason: Q.850;cause=17"]
    )
    assert data == (
        b"SIP/2.0 486 Busy Here\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKcaller1\r\n"
        b'From: "Alice" <sip:+15551230001@192.0.2.10>;tag=a1\r\n'
        b"To: <sip:+442071838750@192.0.2.1>;tag=t1\r\n"
        b"Call-ID: c1@192.0.2.10\r\n"
        b"CSeq: 1 INVITE\r\n"
        b"v: SIP/2.0/UDP h2;branch=2\r\n"
        b"Reason: Q.850;cause=17\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert sipmessage.Response.parse(data).code == 486


def test_a_tag_that_is_there_stays() -> None:
    data = build_response(request_of(request_bytes(to_tag="b1")), 200, b"OK", to_tag=b"t1")
    assert data.count(b"tag=b1") == 1
    assert b"t1\r\n" not in data.replace(b"b1", b"")


def test_record_route_and_body_only_when_asked() -> None:
    data = build_response(request_of(INVITE), 200, b"OK", record_route=True, body=b"v=0\r\n")
    assert b"\r\nRecord-Route: <sip:r;lr>\r\n" in data
    assert data.endswith(b"\r\nContent-Length: 5\r\n\r\nv=0\r\n")


def test_foreign_bytes_inject_nothing() -> None:
    evil = b"x\r\nRoute: <sip:evil>\r\n\r\nINVITE"
    data = build_response(request_of(INVITE), 400, evil, extra=[b"Warning: " + evil])
    response = response_of(data)
    assert response.first(b"route") is None
    assert response.body == b""
    assert data.count(b"\r\n\r\n") == 1
    cancel = serialize_request(build_cancel(outgoing(), evil))
    assert b"\nRoute: <sip:evil>" not in cancel
    assert cancel.endswith(b"\r\n\r\n")


FORWARDED = {
    "own line": (
        b"Via: SIP/2.0/UDP us;branch=z9hG4bKp\r\nvia :  SIP/2.0/UDP a;branch=1\r\nX:\r\n y\r\n",
        b"via :  SIP/2.0/UDP a;branch=1\r\nX:\r\n y\r\n",
    ),
    "shared line": (
        b"X: 1\r\nv: SIP/2.0/UDP us;branch=z9hG4bKp , SIP/2.0/UDP a;branch=1,SIP/2.0/UDP b\r\n",
        b"X: 1\r\nVia: SIP/2.0/UDP a;branch=1,SIP/2.0/UDP b\r\n",
    ),
    "folded and shared line": (
        b"Via: SIP/2.0/UDP us;branch=z9hG4bKp,\r\n SIP/2.0/UDP a;branch=1\r\n",
        b"Via: SIP/2.0/UDP a;branch=1\r\n",
    ),
    "only one": (b"Via: SIP/2.0/UDP us;branch=z9hG4bKp\r\n", b""),
}


@pytest.mark.parametrize(("before", "after"), FORWARDED.values(), ids=FORWARDED.keys())
def test_a_response_loses_the_topmost_via_and_nothing_else(before: bytes, after: bytes) -> None:
    rest = b"f: <sip:a@h>;tag=1\r\nT: <sip:b@h>\r\ni: c\r\nCSeq: 1 INVITE\r\nUnknown: \xff\r\n"
    start, body = b"SIP/2.0 200 \xd0\xb4\xd0\xb0\r\n", b"\x00\xff\r\n\r\n"
    data = start + before + rest + b"l: 6\r\n\r\n" + body + b"dropped"
    assert forward_response(response_of(data)) == start + after + rest + b"l: 6\r\n\r\n" + body


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (b"sip/2.0 200 OK", b"SIP/2.0 200 OK"),
        (b"SIP/2.0 486", b"SIP/2.0 486 "),
        (b"SIP/2.0 486 ", b"SIP/2.0 486 "),
        (b"SIP/2.0 180  two  spaces", b"SIP/2.0 180  two  spaces"),
    ],
)
def test_a_status_line_leaves_as_a_sender_must_write_it(came: bytes, goes: bytes) -> None:
    rest = b"f: <sip:a@h>;tag=1\r\nT: <sip:b@h>\r\ni: c\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n"
    vias = b"Via: SIP/2.0/UDP us;branch=z9hG4bKp\r\nVia: SIP/2.0/UDP a;branch=1\r\n"
    forwarded = forward_response(response_of(came + b"\r\n" + vias + rest))
    assert forwarded.split(b"\r\n", 1)[0] == goes


def test_via_lines_are_all_of_them() -> None:
    assert [line for _, line in via_lines(request_of(INVITE))] == [
        b"Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKcaller1",
        b"v: SIP/2.0/UDP h2;branch=2",
    ]
    assert via_header(b"UDP", b"192.0.2.1:5060", b"z9hG4bKx") == (
        b"via", b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx",
    )  # fmt: skip


def test_requests_of_ours_read_well_elsewhere() -> None:
    request = outgoing()
    failure = response_of(response_to(serialize_request(request), 486))
    ack = sipmessage.Request.parse(build_ack(request, failure))
    cancel = sipmessage.Request.parse(serialize_request(build_cancel(request, b"SIP;cause=200")))
    for parsed, method in ((ack, "ACK"), (cancel, "CANCEL")):
        assert parsed.method == method
        assert str(parsed.uri) == "sip:+442071838750@198.51.100.7"
        assert len(parsed.via) == 1
        assert parsed.cseq.sequence == 7
        assert parsed.cseq.method == method
        assert parsed.call_id == "c1@192.0.2.10"
        assert [str(route.uri) for route in parsed.route] == ["sip:198.51.100.7;lr"]
    assert ack.to_address.parameters["tag"] == "b1"
    assert "tag" not in cancel.to_address.parameters
