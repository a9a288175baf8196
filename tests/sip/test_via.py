"""Where requests came from and where responses go: RFC 3261 §18.2, RFC 3581."""

from __future__ import annotations

import pytest

from proxy.sip.message import Flow, SipRequest
from proxy.sip.parse import parse_message
from proxy.sip.via import mark_source, response_flow
from tests.playbook import PROXY, request_bytes


def received(via: str, source: tuple[str, int], transport: str = "udp") -> SipRequest:
    data = request_bytes().replace(b"SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKcaller1", via.encode())
    request = parse_message(data, Flow(transport, PROXY, source))
    assert isinstance(request, SipRequest)
    mark_source(request)
    return request


SOURCE = ("192.0.2.10", 40000)

MARKED = [
    # Via as sent, Via as marked, port that the response goes to
    ("SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1", None, 5062),
    ("SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1", None, 5060),
    ("SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1;rport",
     "SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1;rport=40000;received=192.0.2.10", 40000),
    ("SIP/2.0/UDP 192.0.2.10:5062;rport;branch=z9hG4bK1",
     "SIP/2.0/UDP 192.0.2.10:5062;rport=40000;branch=z9hG4bK1;received=192.0.2.10", 40000),
    ("SIP/2.0/UDP 192.0.2.10:5062;rport=7;branch=z9hG4bK1",
     "SIP/2.0/UDP 192.0.2.10:5062;rport=40000;branch=z9hG4bK1;received=192.0.2.10", 40000),
    ("SIP/2.0/UDP 192.0.2.10:5062;rport;branch=z9hG4bK1;alias",
     "SIP/2.0/UDP 192.0.2.10:5062;rport=40000;branch=z9hG4bK1;alias;received=192.0.2.10", 40000),
    ("SIP/2.0/UDP 192.0.2.10:5062;rport;branch=z9hG4bK1;rport",
     "SIP/2.0/UDP 192.0.2.10:5062;rport=40000;branch=z9hG4bK1;rport=40000;received=192.0.2.10", 40000),
    ("SIP/2.0/UDP rport.example;rport;branch=z9hG4bKrport",
     "SIP/2.0/UDP rport.example;rport=40000;branch=z9hG4bKrport;received=192.0.2.10", 40000),
    ('SIP/2.0/UDP h;x=";rport;";RPORT;branch=z9hG4bK1',
     'SIP/2.0/UDP h;x=";rport;";rport=40000;branch=z9hG4bK1;received=192.0.2.10', 40000),
    ("SIP/2.0/UDP pbx.example;branch=z9hG4bK1",
     "SIP/2.0/UDP pbx.example;branch=z9hG4bK1;received=192.0.2.10", 5060),
    ("SIP/2.0/UDP 10.0.0.1:5066;branch=z9hG4bK1",
     "SIP/2.0/UDP 10.0.0.1:5066;branch=z9hG4bK1;received=192.0.2.10", 5066),
    ("SIP/2.0/UDP 10.0.0.1;received=203.0.113.66;branch=z9hG4bK1",
     "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.10", 5060),
    ("SIP/2.0/UDP 192.0.2.10;received=203.0.113.66;branch=z9hG4bK1",
     "SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1", 5060),
    ("SIP/2.0/UDP h;Received=203.0.113.66;RECEIVED=203.0.113.67;branch=z9hG4bK1;rport",
     "SIP/2.0/UDP h;branch=z9hG4bK1;rport=40000;received=192.0.2.10", 40000),
    ('SIP/2.0/UDP h;x="a;received=1";branch=z9hG4bK1',
     'SIP/2.0/UDP h;x="a;received=1";branch=z9hG4bK1;received=192.0.2.10', 5060),
    ("SIP/2.0/UDP h;maddr=203.0.113.66;branch=z9hG4bK1",
     "SIP/2.0/UDP h;maddr=203.0.113.66;branch=z9hG4bK1;received=192.0.2.10", 5060),
    ("SIP / 2.0 / UDP h : 5070 ; rport ; branch = z9hG4bK1 , SIP/2.0/UDP next;branch=x",
     "SIP / 2.0 / UDP h : 5070;rport=40000;branch=z9hG4bK1;received=192.0.2.10, SIP/2.0/UDP next;branch=x",
      40000),
    ("SIP/2.0/UDP h;branch=z9hG4bK1,SIP/2.0/UDP next;branch=x",
     "SIP/2.0/UDP h;branch=z9hG4bK1;received=192.0.2.10, SIP/2.0/UDP next;branch=x", 5060),
]  # fmt: skip


@pytest.mark.parametrize(("via", "marked", "port"), MARKED, ids=[row[0] for row in MARKED])
def test_received_and_rport(via: str, marked: str | None, port: int) -> None:
    request = received(via, SOURCE)
    assert request.headers[request.via_index] == (b"via", b"Via: " + (marked or via).encode())
    assert response_flow(request) == Flow("udp", PROXY, ("192.0.2.10", port))
    again = request.headers[request.via_index]
    mark_source(request)
    assert request.headers[request.via_index] == again
    assert response_flow(request) == Flow("udp", PROXY, ("192.0.2.10", port))


@pytest.mark.parametrize(
    ("via", "source", "marked"),
    [
        ("SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bK1", "2001:db8::9:1",
         "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bK1"),
        ("SIP/2.0/UDP [2001:DB8::9:1];branch=z9hG4bK1", "2001:db8::9:1",
         "SIP/2.0/UDP [2001:DB8::9:1];branch=z9hG4bK1"),
        ("SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1", "2001:db8::2",
         "SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1;received=2001:db8::2"),
        ("SIP/2.0/UDP h;branch=z9hG4bK1", "fe80::1%eth0", "SIP/2.0/UDP h;branch=z9hG4bK1;received=fe80::1"),
    ],
)  # fmt: skip
def test_ipv6(via: str, source: str, marked: str) -> None:
    request = received(via, (source, 5060))
    assert request.headers[request.via_index][1] == b"Via: " + marked.encode()


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_streams_answer_on_their_own_connection(transport: str) -> None:
    request = received("SIP/2.0/TCP 192.0.2.10:5062;branch=z9hG4bK1", SOURCE, transport)
    assert response_flow(request) == request.flow
