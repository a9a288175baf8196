"""Who a certificate speaks for (RFC 5922), and the names that flows ask for."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from proxy.sip.errors import UriError
from proxy.sip.message import HURRIED
from proxy.sip.uri import SipUri

Certificate = Mapping[str, Any]
"""As `SSLObject.getpeercert` gives it for a verified certificate; empty when the peer showed none."""


def sip_domains(certificate: Certificate) -> frozenset[str]:
    """The SIP domains of a certificate, in lower case (RFC 5922 §7.1): the hosts of its `sip:` URIs without a
    user part; only when it has none, its DNS names. The common name is not looked at."""
    names: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
    domains = frozenset(
        host for kind, value in names if kind == "URI" for host in [_domain_of(value)] if host is not None
    )
    return domains or frozenset(_plain(value) for kind, value in names if kind == "DNS")


def certifies(certificate: Certificate, name: str) -> bool:
    """Whether the certificate speaks for `name`, a host name or an address. Names are compared whole, without
    regard to case; a wildcard matches nothing (RFC 5922 §7.2)."""
    wanted = _plain(name)
    if not wanted or "*" in wanted:
        return False
    if wanted in sip_domains(certificate):
        return True
    address = _address(wanted)
    if address is None:
        return False
    return any(
        kind == "IP Address" and _address(value.strip()) == address
        for kind, value in certificate.get("subjectAltName", ())
    )


def server_name(name: str) -> str | None:
    """What to ask a server for (SNI, RFC 6066 §3): a host name, never an address."""
    plain = _plain(name)
    return None if not plain or _address(plain) is not None else plain


class PeerNames:
    """Numbers for names, so that a flow can say whom its peer has to be: `Flow.connection` below HURRIED is
    the number of a name. One for all listeners of a process; grows with the providers of the
    configuration."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def number(self, name: str) -> int:
        """The number of `name`, the same each time; below HURRIED."""
        plain = _plain(name)
        number = self._numbers.get(plain)
        if number is None:
            number = self._numbers[plain] = HURRIED - 1 - len(self._numbers)
            self._names[number] = plain
        return number

    def name(self, number: int) -> str | None:
        """The name with this number."""
        return self._names.get(number)


def _plain(name: str) -> str:
    return name.lower().rstrip(".")


def _domain_of(uri: str) -> str | None:
    try:
        parsed = SipUri.parse(uri.encode("ascii"))
    except (UriError, UnicodeEncodeError):
        return None
    if parsed.scheme != b"sip" or parsed.user is not None:
        return None
    return _plain(parsed.host.strip(b"[]").decode("ascii"))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
