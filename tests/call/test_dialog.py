"""Where a dialog's packets may go."""

from __future__ import annotations

import pytest

from proxy.call.dialog import contact_uri, is_literal, leads_somewhere
from proxy.sip.message import Flow, SipMessage
from proxy.sip.parse import MAX_URI, parse_message


@pytest.mark.parametrize("host", ["127.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_addresses_are_literal(host: str) -> None:
    assert is_literal(host)


@pytest.mark.parametrize("host", ["999.1.1.1", "1.2", "12345", "1.2.3.4.5", "host7", "a:b", "", "01.2.3.4"])
def test_what_only_looks_like_an_address_is_not(host: str) -> None:
    """Sending to it would ask the DNS, and stand still meanwhile."""
    assert not is_literal(host)


def test_contact_that_no_request_line_may_hold_is_none() -> None:
    longest = b"sip:" + b"u" * (MAX_URI - len(b"sip:@h")) + b"@h"
    assert contact_uri(_contact(longest)) == longest
    assert contact_uri(_contact(longest.replace(b"@", b"u@"))) is None
    assert leads_somewhere(b"<" + longest + b">")
    assert not leads_somewhere(b"<" + longest.replace(b"@", b"u@") + b">")


def _contact(uri: bytes) -> SipMessage:
    data = (
        b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
        b"To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n"
        b"Contact: <" + uri + b">\r\n\r\n"
    )
    message = parse_message(data, Flow("udp", ("127.0.0.1", 5060), ("127.0.0.2", 5060)))
    assert message is not None
    return message
