"""Location: from the name of a provider to the hosts that serve it (RFC 3263 §4.2, RFC 2782, RFC 3403).

The transport is the operator's to say; NAPTR and SRV are followed for that one only.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Final, NamedTuple

from proxy.routing.names import Addresses, Found, Names, Unanswered

DEFAULT_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}

_SERVICES: Final = {"udp": b"SIP+D2U", "tcp": b"SIP+D2T", "tls": b"SIPS+D2T"}
_LABELS: Final = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
_MOST_SERVICES = 4
_MOST_ADDRESSES = 8
_FOREVER = float("inf")


class Target(NamedTuple):
    """One target of a service: `rank` is its place (NAPTR order, SRV priority; lower is first), `weight` its
    share within it. `hosts` are its addresses."""

    rank: tuple[int, int]
    weight: int
    hosts: tuple[str, ...]
    port: int


class Location(NamedTuple):
    """What a name leads to. seconds: for how long that is good. denied: the domain says that it has no such
    service (a target of `.`). by_service: by SRV rather than by address records alone."""

    targets: tuple[Target, ...]
    seconds: float
    denied: bool = False
    by_service: bool = False


class _Service(NamedTuple):
    """SRV records of one owner name. found: there are any; they are `.` where there is nothing else in it."""

    targets: list[Target]
    seconds: float
    found: bool


async def locate(names: Names, host: str, port: int | None, transport: str) -> Location:
    """Where requests for `host` go over `transport`. No targets and not denied: there is no such name.
    Raises Unanswered."""
    usual = port or DEFAULT_PORTS[transport]
    if is_address(host):
        return Location((Target((0, 0), 0, (host,), usual),), _FOREVER)
    if port is None and names.local(host) is None:
        location = await locate_service(names, host, transport)
        if location.by_service:
            return location
    return _plain(await names.addresses(host), usual)


async def locate_service(names: Names, host: str, transport: str) -> Location:
    """As `locate`, by NAPTR and SRV alone."""
    owners, seconds = await _owners(names, host, transport)
    for rank, owner in enumerate(owners):
        owners_left = rank + 1 < len(owners)
        service = await _service(names, owner, rank)
        seconds = min(seconds, service.seconds)
        if not service.found and owners_left:
            continue
        if service.found:
            return Location(tuple(service.targets), seconds, denied=not service.targets, by_service=True)
    return Location((), seconds)


def plain_location(found: Addresses, port: int | None, transport: str) -> Location:
    """Addresses that were found without a service."""
    return _plain(found, port or DEFAULT_PORTS[transport])


async def _owners(names: Names, host: str, transport: str) -> tuple[list[str], float]:
    """The names to ask for SRV records: what NAPTR records replace the host by, in their order, then the
    usual one."""
    usual = _LABELS[transport] + host
    found = await names.ask(host, "NAPTR")
    wanted = _SERVICES[transport]
    records = [
        record
        for record in found.records
        # `s`: an SRV name follows; a regular expression has no place in it (RFC 3263 §4.1).
        if record.service.upper() == wanted and record.flags.lower() == b"s" and not record.regexp
    ]
    records.sort(key=lambda record: (record.order, record.preference))
    owners = [record.replacement.to_text() for record in records[:_MOST_SERVICES]]
    seconds = found.seconds if found.records else _FOREVER
    return list(dict.fromkeys([*owners, usual])), seconds


async def _service(names: Names, owner: str, rank: int) -> _Service:
    found: Found = await names.ask(owner, "SRV")
    if not found.records:
        return _Service([], _FOREVER, False)
    records = [(record, _text(record.target)) for record in found.records if record.port]
    records = [(record, host) for record, host in records if host]
    outcomes = await asyncio.gather(*(names.addresses(host) for _, host in records), return_exceptions=True)
    seconds = found.seconds
    targets = []
    unanswered: Unanswered | None = None
    for (record, _), outcome in zip(records, outcomes, strict=True):
        if isinstance(outcome, Unanswered):
            unanswered = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            seconds = min(seconds, outcome.seconds)
            hosts = outcome.hosts[:_MOST_ADDRESSES]
            if hosts:
                targets.append(Target((rank, record.priority), record.weight, hosts, record.port))
    if unanswered is not None:
        if not targets:
            raise unanswered
        seconds = 0.0  # the rest is asked for again soon
    if records and not targets:
        raise Unanswered(f"{owner} SRV: its targets have no addresses")
    return _Service(targets, seconds, True)


def _plain(found: Addresses, port: int) -> Location:
    hosts = found.hosts[:_MOST_ADDRESSES]
    return Location((Target((0, 0), 0, hosts, port),) if hosts else (), found.seconds)


def _text(name: object) -> str:
    """A name without its final full stop; `.` itself is empty."""
    return str(name).rstrip(".")


def is_address(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
