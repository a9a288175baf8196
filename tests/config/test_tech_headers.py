"""Headers that a provider may not be given."""

from __future__ import annotations

import pytest

from config.tech_headers import tech_header_findings

RESERVED = """
    Via From To Call-ID CSeq Contact Route Record-Route Max-Forwards Content-Length Content-Type Content-Any
    Proxy-Require Proxy-Authorization Authorization Require Supported Identity P-Asserted-Identity Privacy
    Diversion v f t i m l c e k s
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", [*RESERVED, *(name.upper() for name in RESERVED)])
def test_reserved_names(name: str) -> None:
    (finding,) = tech_header_findings({name: "x"}, "h")
    assert finding.path == f"h.{name}"
    assert "reserved" in finding.message


@pytest.mark.parametrize("name", ["", "X A", "X:A", "X\r\nVia", "X(", "X,", "\u00dc", "X" * 65])
def test_malformed_names(name: str) -> None:
    (finding,) = tech_header_findings({name: "x"}, "h")
    assert "is not a header name" in finding.message


@pytest.mark.parametrize("value", ["a\r\nVia: b", "a\nb", "a\rb", "a\0b", "x" * 513])
def test_malformed_values(value: str) -> None:
    assert len(list(tech_header_findings({"X-A": value}, "h"))) == 1


def test_others_pass() -> None:
    headers = {"X-Customer": "a, b; c=(d)", "P-Charge-Info": "<sip:a@b>", "User-Agent": "", "x_y!": "\tz"}
    assert list(tech_header_findings(headers, "h")) == []
