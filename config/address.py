"""Reading of `host:port` and of networks, with messages that say how to mend what is wrong."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96
_HOST_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*\.?", re.ASCII)


def is_address(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address (without brackets, without a zone)."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def is_loopback(host: str) -> bool:
    """Whether `host` is an address that only this machine can reach: 127.0.0.0/8, also mapped, or ::1."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def split_host_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[::1]`, `[::1]:port` or bare IPv6, as host (no brackets) and port (or None).

    Raises ValueError for what is neither an address nor a host name, and for ports outside 0..65535.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"`{text}` is not `[address]:port`")
        if not (":" in host and is_address(host)):
            raise ValueError(f"`{host}` in brackets is not an IPv6 address")
        return host, _port(rest[1:], text) if rest else None
    if text.count(":") > 1:
        if not is_address(text):
            raise ValueError(f"`{text}` is not an address; write IPv6 with a port as `[::1]:5060`")
        return text, None
    host, colon, port = text.partition(":")
    if not is_host(host):
        raise ValueError(f"`{host}` is neither an IP address nor a host name")
    return host, _port(port, text) if colon else None


def is_host(host: str) -> bool:
    """Whether `host` is an IP address, or a name that DNS could hold (not a mistyped IPv4 address)."""
    if is_address(host):
        return True
    if len(host) > 253 or _HOST_NAME.fullmatch(host) is None:
        return False
    return not host.rstrip(".").rsplit(".", 1)[-1].isdigit()


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(f"`{text}` in `{whole}` is not a port (0 to 65535)")
    return int(text)


def parse_network(text: str) -> Network:
    """An address (one host) or a network in CIDR form; IPv4 mapped into IPv6 becomes the IPv4 that it is.

    Raises ValueError for anything else, and for a network with host bits set, which usually hides a mistake.
    """
    if "%" in text:
        raise ValueError(f"`{text}` has a zone, which means nothing here; leave out `%` and what follows")
    address, slash, length = text.partition("/")
    if not is_address(address):
        raise ValueError(f"`{text}` is not an IP address or a network such as `198.51.100.0/24`")
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"`{text}` has `/{length}`; write the number of network bits, such as `/24`")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        widest = 128 if ":" in address else 32
        raise ValueError(f"`{text}` has /{length}, but an address of this kind has {widest} bits") from None
    if network.network_address != ip_address(address):
        raise ValueError(
            f"`{text}` has bits set beyond /{length}: "
            f"write `{network}` for the network or `{address}` for one address"
        )
    return _unmapped(network)


def _unmapped(network: Network) -> Network:
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
