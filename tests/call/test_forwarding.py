"""What a request or response is like when it leaves."""

from __future__ import annotations

import pytest

from proxy.call.forwarding import Identity
from proxy.call.reach import Hop
from proxy.sip.message import Flow, SipRequest
from tests.call.playbook import (
    CARRIER,
    PBX,
    PROXY,
    SDP,
    Playbook,
    answer,
    established,
    in_dialog,
    invite,
    policy,
)

MOVED = "sip:moved@127.0.0.3:5091"


# --- Content-Length: what UDP may lack, a stream must have, or a body is read as the next message


def test_invite_without_content_length_gets_one() -> None:
    body = b"INVITE sip:+19005550100@127.0.0.3 SIP/2.0\r\n\r\n"
    data = invite(body=body).replace(b"Content-Length: %d\r\n" % len(body), b"")
    assert b"Content-Length" not in data
    play = Playbook()
    play.receive(data)
    outgoing = play.last(CARRIER)
    assert outgoing.all(b"content-length") == [str(len(body)).encode()]
    assert outgoing.body == body


@pytest.mark.parametrize("body", [b"", SDP])
def test_responses_without_content_length_get_one(body: bytes) -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    for status in (183, 200):
        data = answer(outgoing, status).replace(b"Content-Length: 0\r\n", b"") + body
        play.receive(data, CARRIER)
        shown = play.last(PBX)
        assert shown.all(b"content-length") == [str(len(body)).encode()]
        assert shown.body == body


@pytest.mark.parametrize("from_callee", [True, False])
def test_requests_in_a_dialog_without_content_length_get_one(from_callee: bool) -> None:
    play = Playbook()
    ok = established(play)
    source, target = (CARRIER, PBX) if from_callee else (PBX, CARRIER)
    data = in_dialog("INFO", ok, cseq=7, from_callee=from_callee).replace(b"Content-Length: 0\r\n", b"")
    play.receive(data + SDP, source)
    info = play.last(target)
    assert info.all(b"content-length") == [str(len(SDP)).encode()]
    assert info.body == SDP


def test_content_length_that_came_stays_as_it_is() -> None:
    play = Playbook()
    play.receive(invite().replace(b"Content-Length:", b"l :"))
    assert b"\r\nl : %d\r\n" % len(SDP) in play.last_bytes(CARRIER)
    assert play.last_bytes(CARRIER).lower().count(b"content-length") == 0


# --- Max-Breadth


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", b"60"),
        ("Max-Breadth: 60\r\n", b"60"),
        ("Max-Breadth: 7\r\n", b"7"),
        ("Max-Breadth: 007\r\n", b"7"),
        ("Max-Breadth: 61\r\n", b"60"),
        ("Max-Breadth: 99999999999999999999\r\n", b"60"),
        ("Max-Breadth: x\r\n", b"60"),
        ("Max-Breadth: 9\r\nMAX-BREADTH: 5\r\n", b"5"),
    ],
)
def test_max_breadth(line: str, told: bytes) -> None:
    """P25: RFC 5393 §5.3.3."""
    play = Playbook()
    play.receive(invite(extra=line))
    assert play.last(CARRIER).all(b"max-breadth") == [told]


@pytest.mark.parametrize("value", ["0", "00", "0000"])
def test_no_breadth_left_in_a_dialog(value: str) -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INFO", ok, cseq=2, extra=f"Max-Breadth: {value}"))
    assert play.take() == ["pbx <- 440 (INFO)"]
    play.receive(in_dialog("INFO", ok, cseq=3, branch="z9hG4bK-3"))
    assert play.last(CARRIER).all(b"max-breadth") == [b"60"]


# --- routes and targets


@pytest.mark.parametrize(
    ("route", "loose"),
    [
        ("<sip:127.0.0.4;lr>", True),
        ("<sip:127.0.0.4;LR=on>", True),
        ("<sip:127.0.0.4;lr?a=b>", True),
        ("<sip:127.0.0.4;transport=udp;lr;x=1>;y", True),
        ("<sip:127.0.0.4;lrx>", False),
        ("<sip:127.0.0.4;x=flr>", False),
        ("<sip:127.0.0.4>;lr", False),
    ],
)
def test_loose_router_is_one_that_says_so(route: str, loose: bool) -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    above = b"Record-Route: " + route.encode() + b", "
    play.receive(answer(outgoing, 200).replace(b"Record-Route: ", above, 1), CARRIER)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    ack = play.last(("127.0.0.4", 5060))
    assert (ack.uri == b"sip:carrier@127.0.0.3:5090") is loose
    assert len(ack.all(b"route")) == 1


@pytest.mark.parametrize("reliable", [True, False])
def test_reliable_provisional_of_a_reinvite_moves_the_target_for_good(reliable: bool) -> None:
    """RFC 6141 §4.6, §4.10: whatever the final answer is."""
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-re"))
    reinvite = play.last(CARRIER)
    extra = "Require: 100rel\r\nRSeq: 7" if reliable else ""
    play.receive(answer(reinvite, 183, "Progress", contact=MOVED, extra=extra), CARRIER)
    play.receive(in_dialog("PRACK", ok, cseq=3, branch="z9hG4bK-prack", extra="RAck: 7 2 INVITE"))
    play.receive(answer(reinvite, 488, "Not Acceptable Here"), CARRIER)
    play.receive(in_dialog("BYE", ok, cseq=4, branch="z9hG4bK-bye"))
    bye = next(m for _, m, _ in reversed(play.sent) if getattr(m, "method", b"") == b"BYE")
    assert (bye.uri == MOVED.encode()) is reliable


def test_options_for_the_proxy_itself_need_no_hop() -> None:
    """§16.3 item 3, and what sipsak's traceroute asks."""
    for uri, status in (("sip:127.0.0.1:5060", 200), ("sip:+442071838750@127.0.0.1", 483)):
        play = Playbook()
        data = invite(uri, method="OPTIONS", body=b"").replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
        play.receive(data)
        assert play.take() == [f"pbx <- {status} (OPTIONS)"]


@pytest.mark.parametrize(
    "route", ["<sip:x=;>", "<sip:127.0.0.4;x=>", "<nonsense>", "<tel:+1>", "<sip:>", ","]
)
def test_route_that_leads_nowhere_is_passed_over(route: str) -> None:
    play = Playbook()
    play.receive(invite())
    above = b"Record-Route: " + route.encode() + b", "
    play.receive(answer(play.last(CARRIER), 200).replace(b"Record-Route: ", above, 1), CARRIER)
    ok = play.last(PBX)
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    ack = play.last(CARRIER)
    assert (ack.uri, ack.all(b"route")) == (b"sip:carrier@127.0.0.3:5090", [])


@pytest.mark.parametrize("scheme", ["sip", "sips"])
def test_sips_stays_sips(scheme: str) -> None:
    """RFC 3261 §16.6 item 4, RFC 5630 §5.3: the Request-URI, and Record-Route where the listener has TLS."""
    play = Playbook(policy(provider={"transport": "tls"}))
    secure = ("127.0.0.1", 5061)
    identity = Identity("tls", b"127.0.0.1:5061")
    play.core.identities = {("udp", PROXY): Identity("udp", b"127.0.0.1:5060"), ("tls", secure): identity}
    play.core.routes = lambda provider: [Hop(Flow("tls", secure, CARRIER, 1))]
    play.receive(invite(f"{scheme}:+442071838750@127.0.0.1"))
    outgoing = play.last(CARRIER)
    assert outgoing.uri == f"{scheme}:+442071838750@127.0.0.3:5090".encode()
    transport = b";transport=tls" if scheme == "sip" else b""
    own, inner = outgoing.all(b"record-route")
    assert own.startswith(b"<%b:127.0.0.1:5061%b;lr;tw=" % (scheme.encode(), transport))
    assert inner.startswith(b"<sip:127.0.0.1:5060;lr;tw=")


def test_an_emergency_call_to_a_sips_uri_goes_on_where_there_is_no_tls() -> None:
    """Over UDP nobody would take a sips URI."""
    play = Playbook(policy(emergency={"numbers": ["112"], "providers": ["carrier"]}))
    play.receive(invite("sips:112@127.0.0.1"))
    outgoing = play.last(CARRIER)
    assert outgoing.uri == b"sip:112@127.0.0.3:5090"
    assert all(route.startswith(b"<sip:") for route in outgoing.all(b"record-route"))


def test_caller_without_a_tag_can_be_hung_up_on() -> None:
    """RFC 3261 §12.1.1: callers of RFC 2543 may have none."""
    play = Playbook()
    play.receive(invite().replace(b";tag=pbx1", b""))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    assert isinstance(play.last(CARRIER), SipRequest)
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=1, from_callee=True), CARRIER)
    assert play.take() == ["pbx <- BYE"]
    play.receive(in_dialog("BYE", ok, cseq=2), PBX)
    assert play.take() == ["carrier <- BYE"]
