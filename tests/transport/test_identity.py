"""Who a certificate speaks for."""

from __future__ import annotations

import pytest

from proxy.sip.message import HURRIED
from proxy.transport.identity import PeerNames, certifies, server_name, sip_domains

Names = tuple[tuple[str, str], ...]


def certificate(*names: tuple[str, str]) -> dict[str, object]:
    return {"subject": ((("commonName", "cn.example"),),), "subjectAltName": names}


@pytest.mark.parametrize(
    ("names", "domains"),
    [
        ((("URI", "sip:carrier.example"),), {"carrier.example"}),
        ((("URI", "SIP:Carrier.Example"),), {"carrier.example"}),
        ((("URI", "sip:a.example"), ("URI", "sip:b.example")), {"a.example", "b.example"}),
        ((("URI", "sip:a.example"), ("DNS", "b.example")), {"a.example"}),
        ((("DNS", "A.example"), ("DNS", "b.example")), {"a.example", "b.example"}),
        ((("URI", "sips:a.example"), ("DNS", "b.example")), {"b.example"}),
        ((("URI", "https://a.example"), ("DNS", "b.example")), {"b.example"}),
        ((("URI", "sip:alice@a.example"), ("DNS", "b.example")), {"b.example"}),
        ((("URI", "sip:\xfc.example"), ("DNS", "b.example")), {"b.example"}),
        ((("URI", "sip:"),), set()),
        ((("email", "a@a.example"),), set()),
        ((), set()),
    ],
)
def test_domains_are_those_of_rfc_5922(names: Names, domains: set[str]) -> None:
    assert sip_domains(certificate(*names)) == domains


@pytest.mark.parametrize(
    ("names", "name", "speaks"),
    [
        ((("DNS", "sip.carrier.example"),), "SIP.Carrier.Example.", True),
        ((("DNS", "carrier.example"),), "sip.carrier.example", False),
        ((("DNS", "sip.carrier.example"),), "carrier.example", False),
        ((("DNS", "*.carrier.example"),), "sip.carrier.example", False),
        ((("DNS", "*.carrier.example"),), "*.carrier.example", False),
        ((("DNS", "a\0.carrier.example"),), "a", False),
        ((), "cn.example", False),
        ((), "", False),
        ((("IP Address", "192.0.2.7"),), "192.0.2.7", True),
        ((("IP Address", "2001:DB8:0:0:0:0:0:7"),), "2001:db8::7", True),
        ((("IP Address", "192.0.2.8"),), "192.0.2.7", False),
        ((("URI", "sip:192.0.2.7"),), "192.0.2.7", True),
        ((("URI", "sip:[2001:db8::7]"),), "2001:db8::7", True),
        ((("DNS", "192.0.2.7"),), "192.0.2.7", True),
    ],
)
def test_names_are_compared_whole(names: Names, name: str, speaks: bool) -> None:
    assert certifies(certificate(*names), name) is speaks


def test_who_showed_no_certificate_is_nobody() -> None:
    assert not certifies({}, "a.example")


@pytest.mark.parametrize(
    ("name", "asked"),
    [("Carrier.example.", "carrier.example"), ("192.0.2.1", None), ("2001:db8::1", None), ("", None)],
)
def test_only_host_names_are_asked_for(name: str, asked: str | None) -> None:
    assert server_name(name) == asked


def test_names_have_one_number_each() -> None:
    names = PeerNames()
    first, second = names.number("a.example"), names.number("b.example")
    assert first != second
    assert max(first, second) < HURRIED  # which means something else
    assert names.number("A.example.") == first
    assert names.name(second) == "b.example"
    assert names.name(0) is None
    assert names.name(5) is None
