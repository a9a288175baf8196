"""Names: questions to the DNS, and what this machine knows without it.

`/etc/hosts` and `localhost` come first, as they do for every other program (RFC 6761 §6.3); then the name
servers of `/etc/resolv.conf`, or those that were named instead; then the system's own resolver, which knows
search lists and other sources, but only where no servers were named.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from config.address import split_host_port

NAMESERVERS_VARIABLE: Final = "TRUNKWARDEN_NAMESERVERS"
"""Environment: name servers in place of those of /etc/resolv.conf, `address` or `address:port`, by commas."""

HOSTS_FILE: Final = "/etc/hosts"
LOCAL_SECONDS: Final = 30.0
"""How long an answer without a TTL is good for: the system's, or that there is none."""

MOST_RECORDS: Final = 16
"""Records of one answer that are looked at."""

_QUERY_SECONDS = 2.0
_TRY_SECONDS = 0.7
_MOST_ALIASES = 4
_LARGEST_HOSTS_FILE = 1_048_576
_LOCALHOST = ("127.0.0.1", "::1")


class Unanswered(Exception):
    """No server said whether there is such a name: silence, failure, or an answer that cannot be read."""


class Found(NamedTuple):
    """Records, and for how many seconds they are good. No records: there are none."""

    records: tuple[Any, ...]
    seconds: float


class Addresses(NamedTuple):
    """Addresses of one name, IPv4 first, and for how many seconds they are good."""

    hosts: tuple[str, ...]
    seconds: float


class Names:
    """`servers` are asked in place of those of /etc/resolv.conf, which is read each time: it may change."""

    def __init__(self, servers: Sequence[tuple[str, int]] = (), hosts_file: str = HOSTS_FILE) -> None:
        self._servers = tuple(servers)
        self._hosts_file = hosts_file
        self._asking: set[str] = set()

    @classmethod
    def of_environment(cls) -> Names:
        """With the servers that the environment names. Raises ValueError."""
        text = os.environ.get(NAMESERVERS_VARIABLE, "")
        servers = []
        for item in filter(None, (part.strip() for part in text.split(","))):
            host, port = split_host_port(item)
            ipaddress.ip_address(host)
            servers.append((host, port or 53))
        return cls(servers)

    async def ask(self, name: str, kind: str) -> Found:
        """The records of `kind` (A, AAAA, SRV, NAPTR) of `name`, aliases followed. Raises Unanswered."""
        resolver = self._resolver()
        seconds = float("inf")
        try:
            asked = dns.name.from_text(name)
            for _ in range(_MOST_ALIASES):
                answer = await resolver.resolve(
                    asked, kind, search=False, raise_on_no_answer=False, lifetime=_QUERY_SECONDS
                )
                seconds = min(seconds, float(answer.chaining_result.minimum_ttl))
                if answer.rrset is not None:
                    return Found(tuple(answer.rrset)[:MOST_RECORDS], seconds)
                if answer.canonical_name == asked:
                    return Found((), seconds)
                asked = answer.canonical_name
        except dns.resolver.NXDOMAIN:
            return Found((), LOCAL_SECONDS)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unanswered(f"{name} {kind}: {error}") from error
        raise Unanswered(f"{name} {kind}: too many aliases")

    def local(self, name: str) -> Addresses | None:
        """What /etc/hosts says, and what `localhost` is; None for other names."""
        plain = name.lower().rstrip(".")
        hosts = tuple(self._hosts().get(plain, ()))
        if not hosts and (plain == "localhost" or plain.endswith(".localhost")):
            hosts = _LOCALHOST
        return Addresses(hosts, LOCAL_SECONDS) if hosts else None

    async def addresses(self, name: str) -> Addresses:
        """The addresses of a name. Raises Unanswered when neither family could be found out."""
        local = self.local(name)
        if local is not None:
            return local
        outcomes: tuple[Found | BaseException, ...] = await asyncio.gather(
            self.ask(name, "A"), self.ask(name, "AAAA"), return_exceptions=True
        )
        hosts: list[str] = []
        seconds = float("inf")
        unanswered: Unanswered | None = None
        for outcome in outcomes:
            if isinstance(outcome, Unanswered):
                unanswered = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            elif outcome.records:
                seconds = min(seconds, outcome.seconds)
                hosts += [record.address for record in outcome.records]
        if hosts:
            return Addresses(tuple(hosts), seconds)
        if unanswered is not None:
            raise unanswered
        return Addresses((), LOCAL_SECONDS)

    async def by_system(self, name: str) -> Addresses:
        """What the system's own resolver says; nothing where name servers were named instead."""
        if self._servers or name in self._asking:
            return Addresses((), LOCAL_SECONDS)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def look_up() -> None:
            try:
                found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
            except (OSError, UnicodeError):  # the last: a label that no name can have
                found = []
            self._asking.discard(name)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_give, answer, [str(entry[4][0]) for entry in found])

        # A thread of its own, one at a time for a name: it may hang for minutes, and hold up neither other
        # threads' work nor the end of the program.
        self._asking.add(name)
        threading.Thread(target=look_up, name=f"look up {name}", daemon=True).start()
        return Addresses(tuple(dict.fromkeys(await answer)), LOCAL_SECONDS)

    def _resolver(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        if self._servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in self._servers]
        else:
            try:
                resolver.read_resolv_conf("/etc/resolv.conf")
            except dns.exception.DNSException as error:
                raise Unanswered(f"no name server: {error}") from error
        resolver.timeout = _TRY_SECONDS
        resolver.use_edns(0, 0, 1232)
        return resolver

    def _hosts(self) -> dict[str, list[str]]:
        try:
            with open(self._hosts_file, encoding="utf-8", errors="replace") as file:
                text = file.read(_LARGEST_HOSTS_FILE)
        except OSError:
            return {}
        found: dict[str, list[str]] = {}
        for line in text.splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            try:
                host = str(ipaddress.ip_address(address))
            except ValueError:
                continue
            for name in names:
                known = found.setdefault(name.lower().rstrip("."), [])
                if host not in known:
                    known.append(host)
        return found


def _give(answer: asyncio.Future[list[str]], found: list[str]) -> None:
    if not answer.done():
        answer.set_result(found)
