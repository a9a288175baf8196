"""Where a dialog's packets may go."""

from __future__ import annotations

import pytest

from proxy.call.dialog import flow_towards, is_literal
from proxy.sip.message import Flow

V4 = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.3", 5090))
V6 = Flow("udp", ("::1", 5060), ("::1", 5090))


@pytest.mark.parametrize("host", ["127.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_addresses_are_literal(host: str) -> None:
    assert is_literal(host)


@pytest.mark.parametrize("host", ["999.1.1.1", "1.2", "12345", "1.2.3.4.5", "host7", "a:b", "", "01.2.3.4"])
def test_what_only_looks_like_an_address_is_not(host: str) -> None:
    """Sending to it would ask the DNS, and stand still meanwhile."""
    assert not is_literal(host)


def test_flow_keeps_the_listener() -> None:
    assert flow_towards(b"sip:x@192.0.2.7:5070", V4) == Flow("udp", V4.local, ("192.0.2.7", 5070))
    assert flow_towards(b"sip:x@192.0.2.7", V4) == Flow("udp", V4.local, ("192.0.2.7", 5060))
    assert flow_towards(b"sip:x@[2001:db8::7]", V6) == Flow("udp", V6.local, ("2001:db8::7", 5060))


@pytest.mark.parametrize(
    ("uri", "base"),
    [
        (b"sip:x@sip.example.org", V4),
        (b"sip:x@999.1.1.1", V4),
        (b"tel:+15551230001", V4),
        (b"sip:x@[2001:db8::7]", V4),
        (b"sip:x@192.0.2.7", V6),
        (b"not a uri", V4),
    ],
)
def test_what_cannot_be_reached_from_the_listener_is_no_flow(uri: bytes, base: Flow) -> None:
    assert flow_towards(uri, base) is None
