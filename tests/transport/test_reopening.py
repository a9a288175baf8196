"""Where a response goes whose connection is gone."""

from __future__ import annotations

import pytest

from proxy.sip.message import Flow
from proxy.transport.reopening import asks_for_reuse, is_response, way_back
from tests.transport.stage import request, response

TCP = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.10", 40000), 7)
TLS = Flow("tls", ("192.0.2.1", 5061), ("2001:db8::10", 40000), 7)


@pytest.mark.parametrize(
    ("via", "flow", "address", "name"),
    [
        ("192.0.2.10:5070", TCP, ("192.0.2.10", 5070), "192.0.2.10"),
        ("192.0.2.10", TCP, ("192.0.2.10", 5060), "192.0.2.10"),
        ("203.0.113.66:5070;received=203.0.113.67", TCP, ("192.0.2.10", 5070), "203.0.113.66"),
        ("PBX.example;received=192.0.2.10;rport=40000", TCP, ("192.0.2.10", 5060), "pbx.example"),
        ("pbx.example", TLS, ("2001:db8::10", 5061), "pbx.example"),
        ("[2001:db8::10]:5071", TLS, ("2001:db8::10", 5071), "2001:db8::10"),
    ],
)
def test_address_is_the_source_s_and_port_is_sent_by_s(
    via: str, flow: Flow, address: tuple[str, int], name: str
) -> None:
    assert way_back(response(via), flow) == (address, name)


def test_the_topmost_via_counts() -> None:
    data = response("h:1").replace(b"From:", b"v: SIP/2.0/TCP h:2\r\nFrom:")
    assert way_back(data, TCP) == (("192.0.2.10", 1), "h")
    folded = response("h:3").replace(b"Via: ", b"v :\r\n\t")
    assert way_back(folded, TCP) == (("192.0.2.10", 3), "h")


@pytest.mark.parametrize("via", ["h:0", "h:99999", ";"])
def test_no_way_without_a_via(via: str) -> None:
    assert way_back(response(via), TCP) is None
    assert way_back(b"SIP/2.0 200 OK\r\n\r\n", TCP) is None


def test_what_is_a_response() -> None:
    assert is_response(response())
    assert not is_response(request())


@pytest.mark.parametrize(
    ("via", "asked"),
    [
        ("SIP/2.0/TLS pbx.example:5071;alias;branch=z9hG4bK1", ("pbx.example", 5071)),
        ("SIP/2.0/TLS pbx.example;branch=z9hG4bK1;Alias", ("pbx.example", 5061)),
        ("SIP/2.0/TLS [2001:db8::1];branch=z9hG4bK1;alias", ("2001:db8::1", 5061)),
        ("SIP/2.0/TLS pbx.example;branch=z9hG4bK1", None),
        ("SIP/2.0/TLS alias.example;branch=z9hG4bK1;x=alias", None),
        ("SIP/2.0/TLS a.example;branch=z9hG4bK1, SIP/2.0/TLS b.example;branch=z9hG4bK2;alias", None),
        ("alias", None),
    ],
)
def test_who_asks_for_requests_on_its_connection(via: str, asked: tuple[str, int] | None) -> None:
    head = f"\r\nVia: {via}\r\nVia: SIP/2.0/TLS c.example;branch=z9hG4bK3;alias\r\n\r\n".encode()
    assert asks_for_reuse(b"OPTIONS sip:h SIP/2.0" + head) == asked
    assert asks_for_reuse(b"SIP/2.0 200 OK" + head) is None
