"""From the URI of a next hop to the flow that leads there."""

from __future__ import annotations

import pytest

from proxy.call.ways import Ways
from proxy.sip.message import HURRIED, Flow

V4 = ("127.0.0.1", 5060)
V6 = ("::1", 5060)
SECURE = ("127.0.0.1", 5061)
WAYS = Ways([("udp", V4), ("udp", V6), ("tcp", V4), ("tls", SECURE)])
UDP = Flow("udp", V4, ("127.0.0.3", 5090))
UDP6 = Flow("udp", V6, ("::1", 5090))
TCP = Flow("tcp", V4, ("127.0.0.3", 5090), 7)
TLS = Flow("tls", SECURE, ("127.0.0.3", 5091), -2)


@pytest.mark.parametrize(
    ("uri", "base", "flow"),
    [
        (b"sip:x@192.0.2.7:5070", UDP, Flow("udp", V4, ("192.0.2.7", 5070))),
        (b"sip:x@192.0.2.7", UDP, Flow("udp", V4, ("192.0.2.7", 5060))),
        (b"sip:x@[2001:db8::7]", UDP6, Flow("udp", V6, ("2001:db8::7", 5060))),
        (b"sip:x@[2001:db8::7]", UDP, Flow("udp", V6, ("2001:db8::7", 5060))),
        (b"sip:x@192.0.2.7;transport=TCP", UDP, Flow("tcp", V4, ("192.0.2.7", 5060))),
        (b"sip:x@192.0.2.7;transport=udp", TCP, Flow("udp", V4, ("192.0.2.7", 5060))),
        (b"sip:x@192.0.2.7", TCP, Flow("udp", V4, ("192.0.2.7", 5060))),
        (b"sip:x@127.0.0.3", TCP, Flow("tcp", V4, ("127.0.0.3", 5060))),
        (b"sip:x@192.0.2.7;transport=tls", TCP, Flow("tls", SECURE, ("192.0.2.7", 5061))),
        (b"sips:x@192.0.2.7", TLS, Flow("tls", SECURE, ("192.0.2.7", 5061), -2)),
        (b"sip:x@192.0.2.7;transport=tcp", TLS, Flow("tcp", V4, ("192.0.2.7", 5060))),
    ],
)
def test_the_uri_says_how(uri: bytes, base: Flow, flow: Flow) -> None:
    assert WAYS.towards(uri, base) == flow


@pytest.mark.parametrize(
    "uri",
    [b"sip:x@sip.example.org", b"sip:x@999.1.1.1", b"tel:+15551230001", b"not a uri",
     b"sip:x@192.0.2.7;transport=sctp", b"sip:x@[2001:db8::7];transport=tcp"],
)  # fmt: skip
def test_what_no_listener_of_ours_reaches_is_no_flow(uri: bytes) -> None:
    assert WAYS.towards(uri, UDP) is None


def test_without_udp_the_transport_stays() -> None:
    assert Ways([("tcp", V4)]).towards(b"sip:x@192.0.2.7", TCP) == Flow("tcp", V4, ("192.0.2.7", 5060))


def test_stream_to_try() -> None:
    ways = Ways([("udp", ("127.0.0.1", 5060)), ("tcp", ("127.0.0.1", 5062)), ("tls", ("::1", 5061))])
    found = ways.stream(("192.0.2.1", 5090))
    assert found == Flow("tcp", ("127.0.0.1", 5062), ("192.0.2.1", 5090), HURRIED)
    assert found is not None
    assert found.hurried
    assert ways.stream(("2001:db8::1", 5090)) is None


def test_a_way_from_elsewhere_leaves_from_the_same_address_where_we_have_that_or_all() -> None:
    kept = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.7", 5060))
    assert WAYS.own(UDP) == UDP
    assert WAYS.own(kept) == kept._replace(local=V4)
    assert Ways([("udp", ("0.0.0.0", 5060))]).own(kept) == kept
    assert Ways([("udp", ("0.0.0.0", 5070))]).own(kept) == kept._replace(local=("0.0.0.0", 5070))
    assert Ways([("tcp", V4)]).own(kept) is None
