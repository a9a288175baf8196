"""URLs that can be read in one way only, and addresses that nothing is sent to."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from config.web_address import Reach, forbidden, read_web_address


@pytest.mark.parametrize(
    ("text", "expected", "authority"),
    [
        ("https://hooks.example.org", ("https", "hooks.example.org", 443, "/"), "hooks.example.org"),
        ("HTTPS://Hooks.Example.org/A?b=%2f", ("https", "hooks.example.org", 443, "/A?b=%2f"),
         "hooks.example.org"),
        ("http://192.0.2.1:8080/x", ("http", "192.0.2.1", 8080, "/x"), "192.0.2.1:8080"),
        ("http://[2001:DB8:0:0::1]:80/", ("http", "2001:db8::1", 80, "/"), "[2001:db8::1]"),
        ("https://a_b.example.?q", ("https", "a_b.example.", 443, "/?q"), "a_b.example."),
    ],
)  # fmt: skip
def test_what_is_read(text: str, expected: tuple[str, str, int, str], authority: str) -> None:
    address = read_web_address(text)
    assert tuple(address) == expected
    assert address.authority == authority


@pytest.mark.parametrize(
    "text",
    [
        "", "hooks.example.org", "//hooks.example.org/", "ftp://hooks.example.org/",
        "https:/hooks.example.org", "https://", "https:///x", "https://user@hooks.example.org/",
        "https://user:p@hooks.example.org/", "https://hooks.example.org@evil.example/",
        "https://hooks.example.org/#x", "https://hooks.example.org/a b",
        "https://hooks.example.org/\r\nX: y", "https://hooks.example.org\\@evil.example/",
        "https://h\u00f6oks.example/", "https://hooks.example.org:0/", "https://hooks.example.org:65536/",
        "https://hooks.example.org:/", "https://hooks.example.org:x/", "https://2130706433/",
        "https://0x7f000001/", "https://0x7f.0.0.1/", "https://017700000001/", "https://0177.0.0.1/",
        "https://127.1/", "https://127.0.0.1./", "https://1.2.3.4.5/", "https://256.0.0.1/",
        "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[::1/", "https://[1.2.3.4]/",
        "https://a..b/", "https://-a.example/", "https://hooks.example.org/%zz",
        "https://hooks%2eexample.org/", "https://hooks.example.org/" + "a" * 2048,
        "javascript://hooks.example.org/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_web_address(text)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1",
        "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
        "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1",
        "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert "not a public address" in (forbidden(address, Reach()) or "")


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "198.17.0.1",
     "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2a00::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"],
)  # fmt: skip
def test_what_is_public(address: str) -> None:
    assert forbidden(address, Reach()) is None


def test_networks_that_are_allowed_and_denied() -> None:
    inside, one = ip_network("10.0.0.0/8"), ip_network("10.0.0.1/32")
    assert forbidden("10.0.0.1", Reach([inside])) is None
    assert forbidden("::ffff:10.0.0.1", Reach([inside])) is None
    assert forbidden("10.0.0.1", Reach([inside], [one])) == "10.0.0.1 is in `deny_networks`"
    why = forbidden("192.168.0.1", Reach([inside], key="callback_networks"))
    assert why == "192.168.0.1 is not a public address, and not in `callback_networks`"
    assert forbidden("1.1.1.1", Reach((), [ip_network("1.0.0.0/8")])) is not None
