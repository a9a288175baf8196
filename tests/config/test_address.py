"""Hosts, ports and networks."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from config.address import is_host, is_loopback, parse_network, split_host_port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip.example.org", ("sip.example.org", None)),
        ("sip.example.org:5080", ("sip.example.org", 5080)),
        ("_sip._udp.example.org.", ("_sip._udp.example.org.", None)),
        ("192.0.2.1:0", ("192.0.2.1", 0)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int | None]) -> None:
    assert split_host_port(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5060",
        "host:",
        "host:65536",
        "host:-1",
        "host:٣",
        "[::1",
        "[::1]x",
        "[192.0.2.1]:1",
        "1:2:3",
        "a b",
        "a\nb",
    ],
)
def test_what_is_no_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|is neither"):
        split_host_port(text)


@pytest.mark.parametrize(
    "host", ["192.0.2.300", "1.2.3", "fe80::1%eth0", "-a", "a..b", "a" * 64, "é.example"]
)
def test_what_is_no_host(host: str) -> None:
    assert not is_host(host)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True)),
        *(("0.0.0.0", False), ("::", False), ("192.0.2.1", False), ("localhost.example", False)),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.10", "192.0.2.10/32"),
        ("198.51.100.0/24", "198.51.100.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::/48", "2001:db8::/48"),
        ("2001:DB8::0001", "2001:db8::1/128"),
        ("::ffff:192.0.2.10", "192.0.2.10/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_networks(text: str, network: str) -> None:
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/24",
        "192.0.2.1/24",
        "192.0.2.0/",
        "192.0.2.0/33",
        "192.0.2.0/+24",
        "::/129",
        "::ffff:1.2.3.4/120",
    ],
)
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"not|bits"):
        parse_network(text)
