"""Addresses that events are posted to: the URL as it is written, and which addresses it may lead to.

A URL may be chosen by a customer, and is fetched from inside the operator's network. So it is read strictly:
whoever fetches it later must not understand another host than the one that was judged here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from config.address import Network, is_address

LONGEST: Final = 2048
_CHARACTERS: Final = re.compile(r"[!$%&'()*+,./0-9:;=?@A-Z_a-z~\[\]-]+", re.ASCII)
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
# What inet_aton(3) takes for an address or a part of one: decimal, octal, hexadecimal.
_LOOKS_LIKE_NUMBER: Final = re.compile(r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)", re.ASCII)
_WRITE_AS: Final = "must be an address such as `https://hooks.example.org/calls`"

# IANA's registries of special-purpose addresses (RFC 6890), and what else is nobody's public server.
_CLOSED: Final = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        ),
    )
)
_GLOBAL: Final = ip_network("2000::/3")
_NAT64: Final = ip_network("64:ff9b::/96")


class WebAddress(NamedTuple):
    """An http or https URL, taken apart. `host` is a name or an address, IPv6 without brackets; `target` the
    path and the query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """As a Host header says it: the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


_PORTS: Final = {"http": 80, "https": 443}


def read_web_address(text: str) -> WebAddress:
    """Take a URL apart. Raises ValueError for what is none, or could be read in more than one way: user
    names, fragments, zones, numbers in place of addresses, anything but ASCII."""
    if len(text) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} characters")
    if "#" in text:
        raise ValueError("must have no fragment (`#…`): nobody is sent it")
    if _CHARACTERS.fullmatch(text) is None or _PERCENT.search(text):
        raise ValueError(f"{_WRITE_AS}, of ASCII characters without spaces")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in _PORTS:
        raise ValueError(_WRITE_AS)
    authority = rest.partition("/")[0].partition("?")[0]
    if "@" in authority:
        raise ValueError("must have no user name or password: requests are signed")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_WRITE_AS) from None
    if port == 0 or authority.endswith(":"):
        raise ValueError("must have a port from 1 to 65535, or none")
    scheme = scheme.lower()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebAddress(scheme, _host(host, authority), port or _PORTS[scheme], target)


def _host(host: str, authority: str) -> str:
    if authority.startswith("["):
        if "%" in host:
            raise ValueError("must have no zone (`%…`) in its address")
        if not (":" in host and is_address(host)):
            raise ValueError("must have an IPv6 address between the brackets")
        return str(ip_address(host))
    if is_address(host):
        return host
    if _LOOKS_LIKE_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise ValueError("must have a host name, or an address of four decimal numbers")
    if len(host) > 253 or _NAME.fullmatch(host) is None:
        raise ValueError(f"{_WRITE_AS}: what stands for its host is no host name")
    return host


class Reach(NamedTuple):
    """What may be sent to: public addresses and those of the `allowed` networks, but none of the `denied`.
    `key`: where the allowed ones are configured."""

    allowed: Sequence[Network] = ()
    denied: Sequence[Network] = ()
    key: str = "allow_networks"


def forbidden(address: str, reach: Reach) -> str | None:
    """Why nothing is sent to this address, or None. An IPv4 address inside an IPv6 one (mapped, NAT64) is
    judged as what it is."""
    written = ip_address(address)
    inner = _inner(written)
    if _within(written, reach.denied) or _within(inner, reach.denied):
        return f"{address} is in `deny_networks`"
    if _within(written, reach.allowed) or _within(inner, reach.allowed):
        return None
    closed = _within(inner, _CLOSED) or (isinstance(inner, IPv6Address) and inner not in _GLOBAL)
    return f"{address} is not a public address, and not in `{reach.key}`" if closed else None


def _within(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _web_url(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(_WRITE_AS)
    read_web_address(value)
    return value


WebUrl = Annotated[str, BeforeValidator(_web_url)]
"""A URL that `read_web_address` takes."""
