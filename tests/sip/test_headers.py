"""Header values as tables."""

from __future__ import annotations

import pytest

from proxy.sip.errors import HeaderError
from proxy.sip.headers import (
    COMPACT_FORMS,
    NAMES,
    clean,
    delta_seconds,
    header_line,
    name_addr,
    parse_params,
    parse_via,
    split_list,
)


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (b"", [b""]),
        (b" a ", [b"a"]),
        (b"a,b , c", [b"a", b"b", b"c"]),
        (b"<sip:a,b@h>, <sip:c@h>", [b"<sip:a,b@h>", b"<sip:c@h>"]),
        (b'"a, \\"b" <sip:x>, y', [b'"a, \\"b" <sip:x>', b"y"]),
        (b"a,,b", [b"a", b"", b"b"]),
        (b"<a>,", [b"<a>", b""]),
        (b'a, "b, c', [b"a", b'"b, c']),
        (b"a, <b, c", [b"a", b"<b, c"]),
        (b"<a>,<b>,<c>", [b"<a>", b"<b>", b"<c>"]),
    ],
)
def test_split_list(value: bytes, items: list[bytes]) -> None:
    assert split_list(value) == items


@pytest.mark.parametrize(
    ("value", "display", "uri", "params"),
    [
        (b"<sip:a@h>", b"", b"sip:a@h", ()),
        (b'"Alice" <sip:a@h;x=y>;tag=1', b'"Alice"', b"sip:a@h;x=y", ((b"tag", b"1"),)),
        (b"caller<sip:a@h>;tag=323", b"caller", b"sip:a@h", ((b"tag", b"323"),)),
        (b"A. Bell <sip:a@h>", b"A. Bell", b"sip:a@h", ()),
        (b"sip:a@h;tag=9", b"", b"sip:a@h", ((b"tag", b"9"),)),
        (b'"a<b>;\\"c" <sip:a@h>;Q="x;y,>" ; tag = z', b'"a<b>;\\"c"', b"sip:a@h",
         ((b"q", b'"x;y,>"'), (b"tag", b"z"))),
        (b"<http://www.example.com>;tag=1", b"", b"http://www.example.com", ((b"tag", b"1"),)),
        (b"isbn:2983792873", b"", b"isbn:2983792873", ()),
        ('"Ж" <sip:a@h>'.encode(), '"Ж"'.encode(), b"sip:a@h", ()),
    ],
)  # fmt: skip
def test_name_addr(value: bytes, display: bytes, uri: bytes, params: tuple[object, ...]) -> None:
    assert name_addr(value) == (display, uri, params)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"alice",
        b'"Mr. J. User <sip:a@h>',
        b"Bell, Alexander <sip:a@h>",
        b"< sip:a@h >",
        b"<sip:a@h",
        b"<>",
        b"<sip:a@h> tag=1",
        b"<sip:a@h>;",
        b"<sip:a@h>;;x",
        b"<sip:a@h>;tag=",
        b'<sip:a@h>;x="y',
        b"<sip:a@h><sip:b@h>",
        b"<sip:a@h>, <sip:b@h>",
    ],
    ids=repr,
)
def test_what_is_no_address(value: bytes) -> None:
    with pytest.raises(HeaderError):
        name_addr(value)


@pytest.mark.parametrize(
    ("value", "transport", "host", "port", "branch", "rport", "received", "rest"),
    [
        (b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa", b"UDP", b"192.0.2.1", None, b"z9hG4bKa", None, None, b""),
        (b"SIP/2.0/UDP h:5062;branch=z9hG4bKa;rport", b"UDP", b"h", 5062, b"z9hG4bKa", 0, None, b""),
        (b"SIP/2.0/UDP h;rport=99;received=192.0.2.9;branch=b", b"UDP", b"h", None, b"b", 99, b"192.0.2.9",
         b""),
        (b"SIP / 2.0 / udp first.Example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa.1",
         b"UDP", b"first.example.com", 4000, b"z9hG4bKa.1", None, None, b""),
        (b"sip/2.0/TLS [2001:DB8::1]:5061;branch=x", b"TLS", b"[2001:db8::1]", 5061, b"x", None, None, b""),
        (b"SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=x",
         b"UDP", b"[2001:db8::9:1]", None, b"x", None, b"[2001:db8::9:255]", b""),
        (b"SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=x",
         b"UDP", b"[2001:db8::9:1]", None, b"x", None, b"2001:db8::9:255", b""),
        (b"SIP/2.0/TCP h", b"TCP", b"h", None, b"", None, None, b""),
        (b'SIP/2.0/UDP a;x="1,2";branch=b , SIP/2.0/UDP c', b"UDP", b"a", None, b"b", None, None,
         b"SIP/2.0/UDP c"),
        (b"SIP/2.0/UNKNOWN h;branch=b,SIP/2.0/UDP c,SIP/2.0/UDP d",
         b"UNKNOWN", b"h", None, b"b", None, None, b"SIP/2.0/UDP c,SIP/2.0/UDP d"),
    ],
)  # fmt: skip
def test_parse_via(value, transport, host, port, branch, rport, received, rest) -> None:
    via = parse_via(value)
    assert (via.transport, via.host, via.port, via.branch) == (transport, host, port, branch)
    assert (via.rport, via.received, via.rest) == (rport, received, rest)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"SIP/2.0/UDP",
        b"SIP/2.0/UDP ;branch=x",
        b"SIP/2.0/UDPh;branch=x",
        b"SIP/7.0/UDP h;branch=x",
        b"SIP/2.0/UDP 192.0.2.15;;,;,,",
        b"SIP/2.0/UDP h:0;branch=x",
        b"SIP/2.0/UDP h:65536;branch=x",
        b"SIP/2.0/UDP h:99999;branch=x;rport",
        b"SIP/2.0/UDP h:;branch=x",
        b"SIP/2.0/UDP 2001:db8::1;branch=x",
        b"SIP/2.0/UDP [2001:db8::1;branch=x",
        b"SIP/2.0/UDP h;branch=x;branch=y",
        b"SIP/2.0/UDP h branch=x",
        b",SIP/2.0/UDP h;branch=x",
        b"SIP/2.0/UDP h" + b";p" * 65,
    ],
    ids=repr,
)
def test_what_is_no_via(value: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_via(value)


def test_params_are_bounded() -> None:
    assert len(parse_params(b";a=1" * 64)) == 64
    with pytest.raises(HeaderError):
        parse_params(b";a=1" * 65)


def test_a_value_of_ours_can_end_no_line() -> None:
    name, line = header_line(b"Warning", b'399 x "a\r\nRoute: <sip:evil>\n\x00\x1b[31m\x7f"')
    assert name == b"warning"
    assert line == b'Warning: 399 x "a  Route: <sip:evil>   [31m "'
    assert clean(bytes(range(256))).translate(None, bytes(range(32, 127)) + bytes(range(128, 256))) == b""


def test_names_cover_every_compact_form_in_both_cases() -> None:
    for short, full in COMPACT_FORMS.items():
        assert NAMES[short] == NAMES[short.upper()] == full
    assert NAMES[b"CSeq"] == b"cseq"
    assert NAMES[b"P-Asserted-Identity"] == b"p-asserted-identity"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"120", 120),
        (b" 18000;duration=3600", 18000),
        (b"120 (I'm in a meeting)", 120),
        (b"3600 (away);duration=5", 3600),
        (b"", 0),
        (None, 0),
        (b"soon", 0),
        (b"-5", 0),
        (b"1e3", 0),
        (b"1.5", 0),
        (b"1000000000", 0),
    ],
)
def test_delta_seconds(value: bytes | None, seconds: int) -> None:
    assert delta_seconds(value) == seconds
