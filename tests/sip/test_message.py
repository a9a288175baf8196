"""Header access."""

from __future__ import annotations

import pytest

from proxy.sip.message import Flow, SipMessage, unfold


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b" a ", b"a"),
        (b"a\r\n b", b"a b"),
        (b"\r\n \t a\r\n\t b \r\n", b"a b"),
        (b"", b""),
        (b"a  b", b"a  b"),
    ],
)
def test_unfold(value: bytes, line: bytes) -> None:
    assert unfold(value).strip() == line


def test_headers_by_name() -> None:
    message = SipMessage()
    message.headers = [
        (b"route", b"Route: <sip:a>"),
        (b"x", b"X:1"),
        (b"route", b"ROUTE :\r\n <sip:b>, <sip:c>"),
    ]
    assert message.first(b"route") == b"<sip:a>"
    assert message.first(b"x") == b"1"
    assert message.first(b"y") is None
    assert message.all(b"route") == [b"<sip:a>", b"<sip:b>, <sip:c>"]
    assert message.all(b"y") == []


def test_flows_compare_by_what_they_are() -> None:
    assert Flow("udp", ("a", 1), ("b", 2)) == Flow("udp", ("a", 1), ("b", 2), 0)
    assert Flow("tcp", ("a", 1), ("b", 2), 1) != Flow("tcp", ("a", 1), ("b", 2), 2)
