from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.cidr_table import CidrTable, Network, unmapped

# Few high bits, so that networks nest and addresses hit them.
V4 = st.builds(
    lambda bits, length: IPv4Network((bits << 28 >> (32 - length) << (32 - length) if length else 0, length)),
    st.integers(0, 15),
    st.integers(0, 32),
)
V6 = st.builds(
    lambda bits, length: IPv6Network((bits << 112 >> (128 - length) << (128 - length), length)),
    st.integers(0, 0xFFFF),
    st.integers(1, 128),
)
NETWORKS = st.lists(st.one_of(V4, V6), max_size=12, unique=True)


def brute_force(networks: list[Network], address: IPv4Address | IPv6Address) -> Network | None:
    mapped = getattr(address, "ipv4_mapped", None)
    wanted = address if mapped is None else mapped
    holding = [network for network in networks if network.version == wanted.version and wanted in network]
    return max(holding, key=lambda network: network.prefixlen, default=None)


@given(NETWORKS, st.one_of(st.integers(0, 15).map(lambda n: n << 28), st.integers(0, 2**32 - 1)))
def test_ipv4_agrees_with_brute_force(networks: list[Network], number: int) -> None:
    table = CidrTable((network, network) for network in networks)
    address = IPv4Address(number)
    wanted = brute_force(networks, address)
    assert table.lookup(str(address)) == wanted
    assert table.lookup(f"::ffff:{address}") == wanted


@given(NETWORKS, st.one_of(st.integers(0, 0xFFFF).map(lambda n: n << 112), st.integers(0, 2**128 - 1)))
def test_ipv6_agrees_with_brute_force(networks: list[Network], number: int) -> None:
    table = CidrTable((network, network) for network in networks)
    assert table.lookup(str(IPv6Address(number))) == brute_force(networks, IPv6Address(number))


@given(st.text())
def test_text_that_is_no_address_is_in_no_network(text: str) -> None:
    table = CidrTable([(ip_network("0.0.0.0/0"), "any"), (ip_network("::/0"), "any")])
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        assert table.lookup(text) is None


@given(st.from_regex(r"[0-9.:a-f%]{0,20}", fullmatch=True))
def test_what_looks_like_an_address_is_read_as_ipaddress_reads_it(text: str) -> None:
    table = CidrTable([(ip_network("0.0.0.0/0"), "any"), (ip_network("::/0"), "any")])
    try:
        ip_address(text)
    except ValueError:
        assert table.lookup(text) is None
    else:
        assert table.lookup(text) == "any"


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("198.51.99.255", None),
        ("198.51.100.0", "net"),
        ("198.51.100.255", "net"),
        ("198.51.101.0", None),
        ("198.51.100.7", "host"),
        ("::ffff:198.51.100.7", "host"),
        ("::ffff:c633:6407", "host"),
        ("::ffff:0:198.51.100.7", None),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", None),
        ("2001:db8::", "six"),
        ("2001:db8:0:ffff:ffff:ffff:ffff:ffff", "six"),
        ("2001:db8:1::", None),
        ("fe80::1%eth0", "link"),
        ("198.51.100.07", None),
        ("198.51.100", None),
        ("198.51.100.256", None),
        ("198.51.100.7 ", None),
        ("198.51.100.٧", None),
        ("[2001:db8::1]", None),
        ("", None),
    ],
)
def test_first_and_last_addresses(address: str, found: str | None) -> None:
    table = CidrTable(
        [
            (ip_network("198.51.100.0/24"), "net"),
            (ip_network("198.51.100.7/32"), "host"),
            (ip_network("2001:db8::/48"), "six"),
            (ip_network("fe80::/10"), "link"),
        ]
    )
    assert table.lookup(address) == found


def test_a_mapped_network_is_its_ipv4_network() -> None:
    table = CidrTable([(ip_network("::ffff:192.0.2.0/120"), "net")])
    assert table.lookup("192.0.2.255") == "net"
    assert table.lookup("192.0.3.0") is None
    assert unmapped(ip_network("::fffe:0:0/95")) == ip_network("::fffe:0:0/95")


def test_everything_in_ipv6_holds_no_ipv4() -> None:
    table = CidrTable([(ip_network("::/0"), "six")])
    assert table.lookup("192.0.2.1") is None
    assert table.lookup("::ffff:192.0.2.1") is None


def test_iterates_what_was_given() -> None:
    entries = [(ip_network("192.0.2.0/24"), 1), (ip_network("2001:db8::/32"), 2)]
    assert list(CidrTable(entries)) == entries
    assert len(CidrTable(entries)) == 2
