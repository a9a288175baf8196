"""URIs as tables: RFC 3261 §19.1, RFC 3966, RFC 5118, and the torture messages' spirit."""

from __future__ import annotations

import pytest

from proxy.sip.errors import UriError
from proxy.sip.uri import SipUri, to_attempt_fields

PARTS = [
    # URI, scheme, user, host, port, params, headers, password
    (b"sip:+442071838750@192.0.2.1", b"sip", b"+442071838750", b"192.0.2.1", None, (), b"", False),
    (b"sip:a@h:5062", b"sip", b"a", b"h", 5062, (), b"", False),
    (b"SIP:a@h", b"sip", b"a", b"h", None, (), b"", False),
    (b"sIpS:a@H.Example", b"sips", b"a", b"H.Example", None, (), b"", False),
    (b"sip:h", b"sip", None, b"h", None, (), b"", False),
    (b"sip:@h", b"sip", b"", b"h", None, (), b"", False),
    (b"sip:a:secret@h", b"sip", b"a", b"h", None, (), b"", True),
    (b"sip:a:@h", b"sip", b"a", b"h", None, (), b"", True),
    (b"sip:a@[2001:db8::1]", b"sip", b"a", b"[2001:db8::1]", None, (), b"", False),
    (b"sip:a@[2001:db8::1]:5070;lr", b"sip", b"a", b"[2001:db8::1]", 5070, ((b"lr", None),), b"", False),
    (b"sip:[2001:db8::192.0.2.1]", b"sip", None, b"[2001:db8::192.0.2.1]", None, (), b"", False),
    (
        b"sip:a@h;Transport=TCP;maddr=192.0.2.9;x",
        b"sip", b"a", b"h", None, ((b"transport", b"TCP"), (b"maddr", b"192.0.2.9"), (b"x", None)), b"",
         False,
    ),
    (b"sip:a@h?Route=%3Csip:e%3E&Subject=", b"sip", b"a", b"h", None, (), b"Route=%3Csip:e%3E&Subject=",
     False),
    (b"sip:%2B1876@h", b"sip", b"%2B1876", b"h", None, (), b"", False),
    (b"sip:123#456@h", b"sip", b"123#456", b"h", None, (), b"", False),
    (b"sip:+1(876)555.01@h", b"sip", b"+1(876)555.01", b"h", None, (), b"", False),
    (b"sip:user;par=u%40example.net@example.com", b"sip", b"user;par=u%40example.net", b"example.com",
     None, (), b"", False),
    (b"sip:sips%3Auser%40example.com@example.net", b"sip", b"sips%3Auser%40example.com", b"example.net",
     None, (), b"", False),

        (b"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
     b"sip", b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*", b"example.com", None, (), b"", True),
    (b"sip:null-%00-null@example.com", b"sip", b"null-%00-null", b"example.com", None, (), b"", False),
    (b"tel:+1-876-555-0100;phone-context=+1", b"tel", b"+1-876-555-0100", b"",
     None, ((b"phone-context", b"+1"),), b"", False),
    (b"TEL:112", b"tel", b"112", b"", None, (), b"", False),
    (b"urn:service:sos", b"urn", b"service:sos", b"", None, (), b"", False),
    (b"soap.beep://192.0.2.103:3002", b"soap.beep", b"//192.0.2.103:3002", b"", None, (), b"", False),
    (b"nobodyKnowsThisScheme:totallyopaquecontent", b"nobodyknowsthisscheme", b"totallyopaquecontent", b"",
     None, (), b"", False),
]  # fmt: skip

BROKEN = [
    b"",
    b"sip",
    b"sip:",
    b":a@h",
    b"1sip:a@h",
    b"sip:a@",
    b"sip:a@b@c",
    b"sip:a b@h",
    b"sip:a@h ",
    b"sip:a@h; lr",
    b"sip:a@h;",
    b"sip:a@h;;lr",
    b"sip:a@h;=x",
    b"sip:a@h:",
    b"sip:a@h:65536",
    b"sip:a@h:123456",
    b"sip:a@h:5o60",
    b"sip:a@h?",
    b"sip:%4@h",
    b"sip:%zz@h",
    b"sip:a%@h",
    b"sip:a<b@h",
    b'sip:"a"@h',
    b"sip:a:b:c@h",
    b"sip:\xc3\xa9@h",
    b"sip:a\x00@h",
    b"sip:a@h\r\nVia: x",
    b"sip:a@2001:db8::10",
    b"sip:2001:db8::10",
    b"sip:a@[2001:db8::1",
    b"sip:a@[::1]x",
    b"sip:a@[]",
    b"sip:a@h\n",
    b"<sip:user@example.com>",
    b"tel:",
    b"tel:+1 876",
    b"tel:+1;",
    b"tel:+1@h",
    b"urn:a b",
    b"urn:<x>",
    b"urn:x\x7f",
]


@pytest.mark.parametrize(
    ("raw", "scheme", "user", "host", "port", "params", "headers", "password"),
    PARTS,
    ids=[row[0].decode() for row in PARTS],
)
def test_parts(raw, scheme, user, host, port, params, headers, password) -> None:
    uri = SipUri.parse(raw)
    assert (uri.scheme, uri.user, uri.host, uri.port) == (scheme, user, host, port)
    assert (uri.params, uri.headers, uri.password) == (params, headers, password)


@pytest.mark.parametrize("raw", BROKEN, ids=repr)
def test_what_breaks_the_grammar_is_refused(raw: bytes) -> None:
    with pytest.raises(UriError):
        SipUri.parse(raw)


def test_param_tells_absent_from_empty() -> None:
    uri = SipUri.parse(b"sip:a@h;lr;maddr=x")
    assert (uri.param(b"lr"), uri.param(b"maddr"), uri.param(b"ob")) == (b"", b"x", None)


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"sip:%2B44:pw@h;User=phone;x", ("sip", "%2B44", (("user", "phone"), ("x", None)))),
        (b"sips:h", ("sips", "", ())),
        (b"tel:+1876;phone-context=example.com", ("tel", "+1876", (("phone-context", "example.com"),))),
        (b"urn:service:sos.police", ("urn", "service:sos.police", ())),
    ],
)
def test_fields_of_a_call_attempt(raw: bytes, fields: tuple[object, ...]) -> None:
    assert to_attempt_fields(SipUri.parse(raw)) == fields
