"""The fragments by themselves."""

from __future__ import annotations

import pytest

from proxy.sip.grammar import CALL_ID, LIST_ITEM, NAME_ADDR, PARAMETER, QUOTED_STRING, TOKEN, VIA, VIA_PLAIN


@pytest.mark.parametrize("text", [b"INVITE", b"!interesting-Method0123456789_*+`.%indeed'~"])
def test_token(text: bytes) -> None:
    assert TOKEN.fullmatch(text)


@pytest.mark.parametrize("text", [b"", b"a b", b"a@b", b"a/b", b'"a"', b"a\x00", b"\xc3\xa9", b"a\n"])
def test_no_token(text: bytes) -> None:
    assert not TOKEN.fullmatch(text)


@pytest.mark.parametrize("text", [b'""', b'"a"', b'"\\""', b'"\\\\"', b'"\xff\t"'])
def test_quoted_string(text: bytes) -> None:
    assert QUOTED_STRING.fullmatch(text)


@pytest.mark.parametrize("text", [b'"', b'"\\"', b'"a"b"', b"a", b'"\\\r"'])
def test_no_quoted_string(text: bytes) -> None:
    assert not QUOTED_STRING.fullmatch(text)


@pytest.mark.parametrize("text", [b"a", b"a@b", b"3d9485ad==@h", b"{}()<>"])
def test_call_id(text: bytes) -> None:
    assert CALL_ID.fullmatch(text)


@pytest.mark.parametrize("text", [b"", b"a b", b"a\x00", b"a\x7f", b"\xff"])
def test_no_call_id(text: bytes) -> None:
    assert not CALL_ID.fullmatch(text)


@pytest.mark.parametrize(
    "value",
    [
        b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa",
        b"SIP/2.0/TLS host.example;branch=z9hG4bKa;rport",
        b"SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKa",
        b"SIP/2.0/UDP h;branch=x",
    ],
)
def test_plain_via_is_a_via(value: bytes) -> None:
    """The quick pattern accepts nothing that the full one refuses, and reads the same."""
    plain, full = VIA_PLAIN.match(value), VIA.match(value)
    assert plain is not None
    assert full is not None
    assert plain.group(1, 2, 3) == full.group(1, 2, 3)


@pytest.mark.parametrize(
    ("pattern", "text", "end"),
    [
        (LIST_ITEM, b'a"b,c"<d,e>,f', 11),
        (LIST_ITEM, b'a"b,c', 1),
        (LIST_ITEM, b"<a<b>", 0),
        (PARAMETER, b'; a = "x;y" ;b', 12),
        (PARAMETER, b";a;b", 2),
        (NAME_ADDR, b"<sip:a@h>", 9),
    ],
)
def test_where_a_fragment_ends(pattern, text: bytes, end: int) -> None:
    match = pattern.match(text)
    assert match is not None
    assert match.end() == end
