"""Which hosts are this machine alone. The SIP process asks as well, and needs no web framework for that."""

from __future__ import annotations

import ipaddress
import re

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/?#\s]+)(?::([0-9]{1,5}))?")


def is_loopback(host: str) -> bool:
    """Whether `host` (a name, an address, `[::1]`) can only be this machine: localhost, 127.0.0.0/8, ::1."""
    name = host.lower()
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
        if ":" not in name:
            return False
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def host_is_loopback(value: str) -> bool:
    """Whether the value of a Host header, with or without a port, names this machine."""
    match = _HOST.fullmatch(value)
    return match is not None and is_loopback(match[1])
