"""Resolver: the next hops of providers, looked up ahead of the calls and kept fresh.

A call never waits for DNS: it takes what is known now. What is known stays when no better answer comes: a
name that stops resolving keeps its last addresses, a domain that says that it has no such service does not.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from policy.compiled import Provider
from proxy.call.reach import Hop
from proxy.routing.location import Location, Target, is_address, locate, locate_service, plain_location
from proxy.routing.names import Names, Unanswered
from proxy.routing.selection import Choice, Slate
from proxy.routing.source import source_towards
from proxy.sip.listeners import EVERYWHERE
from proxy.sip.message import HURRIED, Flow

_log = logging.getLogger(__name__)

SHORTEST_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 300.0
"""An answer is good for as long as its TTL says, within these."""

RETRY_SECONDS: Final = 10.0
"""After a question that nobody answered."""

LOOKUP_SECONDS: Final = 8.0
"""Longest time for all that one provider's name takes."""

_Key = tuple[str, str, str, int | None]
_NONE = Slate()


class _Known:
    __slots__ = ("due", "hosts", "slate")

    def __init__(self) -> None:
        self.slate = _NONE
        self.hosts: frozenset[str] = frozenset()
        self.due = 0.0


class Resolver:
    """Provider → hops. `listeners` are the local addresses of the sockets that calls leave from, by
    transport; the first one's family comes first. Of several the one is used whose address `source` names:
    the one that the system sends from to a host, None where it knows no way. `number` gives the number of a
    name that a TLS peer must be certified for; `draw`, random numbers from 0 up to 1."""

    def __init__(
        self,
        listeners: Iterable[tuple[str, tuple[str, int]]],
        number: Callable[[str], int] = lambda name: 0,
        names: Names | None = None,
        draw: Callable[[], float] = random.random,
        source: Callable[[str], str | None] = source_towards,
    ) -> None:
        self._source = source
        self._listeners = list(listeners)
        self._number = number
        self._names = names or Names()
        self._draw = draw
        self._known: dict[_Key, _Known] = {}
        self._said: dict[_Key, str] = {}

    def hops(self, provider: Provider) -> tuple[Hop, ...]:
        """Where one call to `provider` goes, in the order in which it tries them; empty while there is no
        usable address, or no listener of its family. Its status is the policy's to judge: where all else
        fails, emergency calls go to a blocked one too."""
        known = self._known.get(_key(provider))
        return () if known is None else known.slate.hops(self._draw)

    def leads_to(self, provider: Provider, host: str) -> bool:
        """Whether `host` is any of the addresses that the provider's name leads to: not all of its requests
        need come from the one that calls are sent to."""
        known = self._known.get(_key(provider))
        return known is not None and host in known.hosts

    def provider_at(self, host: str) -> bool:
        """Whether the name of any provider leads to this address."""
        return any(host in known.hosts for known in self._known.values())

    async def refresh(self, providers: Iterable[Provider]) -> None:
        """Look every provider up."""
        await asyncio.gather(*(self._look_up(provider) for provider in providers))

    async def renew(self, providers: Iterable[Provider], within: float) -> None:
        """Look up providers that are new or have changed, for `within` seconds; who takes longer is looked up
        later. What they forbid now is not used any more in any case."""
        changed = list(providers)
        for provider in changed:
            known = self._known.get(_key(provider))
            if known is not None:
                known.due = 0.0
                self._forget_forbidden(provider, known)
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.refresh(changed)

    async def refresh_due(self, providers: Iterable[Provider]) -> None:
        """Look up those whose answers have had their time."""
        now = asyncio.get_running_loop().time()
        await self.refresh(
            provider
            for provider in providers
            if (known := self._known.get(_key(provider))) is None or known.due <= now
        )

    def keep_only(self, providers: Iterable[Provider]) -> None:
        """Forget the others."""
        wanted = {_key(provider) for provider in providers}
        for gone in self._known.keys() - wanted:
            del self._known[gone]
            self._said.pop(gone, None)

    # --- looking up -----------------------------------------------------------------------------------------

    async def _look_up(self, provider: Provider) -> None:
        key = _key(provider)
        known = self._known.setdefault(key, _Known())
        seconds = RETRY_SECONDS
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                location, stream = await self._locations(provider, bool(known.slate))
        except (Unanswered, TimeoutError) as error:
            self._say(key, f"{provider.host} is not resolved: {error or 'it takes too long'}")
            self._forget_forbidden(provider, known)
        else:
            if location.targets or location.denied:
                seconds = min(max(location.seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
                self._take(provider, known, location, stream)
            else:
                self._say(key, f"{provider.host} does not resolve")
                self._forget_forbidden(provider, known)
        known.due = asyncio.get_running_loop().time() + seconds

    async def _locations(self, provider: Provider, known: bool) -> tuple[Location, Location | None]:
        """Where the provider is, and where what is too large for UDP goes, as far as its domain says so. What
        nobody answers is no reason to take what is known for wrong, but without that the system is asked."""
        host, port, transport = provider.host, provider.port, provider.transport
        try:
            location = await locate(self._names, host, port, transport)
        except Unanswered:
            if known:
                raise
            location = Location((), RETRY_SECONDS)
        if not location.targets and not location.denied:
            location = plain_location(await self._names.by_system(host), port, transport)
        stream = None
        if transport == "udp" and location.by_service and any(kind == "tcp" for kind, _ in self._listeners):
            try:
                stream = await locate_service(self._names, host, "tcp")
            except Unanswered:
                stream = None
        return location, stream

    def _take(self, provider: Provider, known: _Known, location: Location, stream: Location | None) -> None:
        """A fresh answer: it takes the place of all that was known."""
        key = _key(provider)
        hosts: set[str] = set()
        refused: list[str] = []
        for target in (*location.targets, *(() if stream is None else stream.targets)):
            for host in target.hosts:
                if _acceptable(provider, host):
                    hosts.add(host)
                else:
                    refused.append(host)
        slate = Slate(
            [
                Choice(target.rank, target.weight, self._hops_of(provider, target, hosts, stream))
                for target in location.targets
            ]
        )
        if refused:
            self._say(key, f"{provider.host} leads to {', '.join(sorted(set(refused)))}, which is not used")
        elif location.denied:
            self._say(key, f"{provider.host} says that it has no service over {provider.transport}")
        elif slate:
            self._said.pop(key, None)
        if not slate and known.slate:
            _log.error("provider %s: none of its addresses can be used", provider.name)
        known.slate, known.hosts = slate, frozenset(hosts)

    def _forget_forbidden(self, provider: Provider, known: _Known) -> None:
        """What the operator has forbidden since it was found is not used any more."""
        if any(not _acceptable(provider, hop.flow.remote[0]) for hop in known.slate.all()):
            known.slate, known.hosts = _NONE, frozenset()

    def _hops_of(
        self, provider: Provider, target: Target, usable: set[str], stream: Location | None
    ) -> tuple[Hop, ...]:
        """The hops of one target, of the first listener's family first."""
        transport = provider.transport
        number = self._number(provider.host) if transport == "tls" else 0
        found: list[tuple[int, Hop]] = []
        for host in target.hosts:
            place, local = self._listener(transport, host) or (0, None)
            if host not in usable or local is None:
                continue
            flow = Flow(transport, local, (host, target.port), number)
            large = self._stream(flow, usable, stream) if transport == "udp" else None
            found.append((place, Hop(flow, large)))
        return tuple(hop for _, hop in sorted(found, key=lambda entry: entry[0]))

    def _stream(self, flow: Flow, usable: set[str], stream: Location | None) -> Flow | None:
        """Where the host of a UDP flow takes TCP: what the domain says of this host, else of others, else the
        same port; nowhere if it says that it does not."""
        if stream is not None and stream.denied:
            return None
        ipv6 = ":" in flow.remote[0]
        named = [
            (host, target.port)
            for target in (() if stream is None else sorted(stream.targets))
            for host in target.hosts
            if host in usable and (":" in host) == ipv6
        ]
        same = [remote for remote in named if remote[0] == flow.remote[0]]
        remote = (same or named or [flow.remote])[0]
        listener = self._listener("tcp", remote[0])
        return None if listener is None else Flow("tcp", listener[1], remote, HURRIED)

    def _listener(self, transport: str, host: str) -> tuple[int, tuple[str, int]] | None:
        """Our address for this transport and host, and the place of its family among all: the one that the
        system would send from where it is one of ours, else the first of the family."""
        fitting = [
            (place, local)
            for place, (kind, local) in enumerate(self._listeners)
            if kind == transport and (":" in local[0]) == (":" in host)
        ]
        if not fitting:
            return None
        place, first = fitting[0]
        source = self._source(host) if len(fitting) > 1 or first[0] in EVERYWHERE else None
        if source is not None:
            for _, (own, port) in fitting:
                if own == source or own in EVERYWHERE:
                    return place, (source, port)
        return place, first

    def _say(self, key: _Key, what: str) -> None:
        """A warning, once until it changes."""
        if self._said.get(key) != what:
            self._said[key] = what
            _log.warning("provider %s: %s", key[0], what)


def _key(provider: Provider) -> _Key:
    """What an answer of the DNS is good for: another host under the same name of a provider is another
    question."""
    return (provider.name, provider.transport, provider.host, provider.port)


def _acceptable(provider: Provider, address: str) -> bool:
    """Whether packets may go there: the operator's networks decide; without them a name must not lead to this
    machine or its own link, which only a forged or broken answer would do."""
    if provider.networks is not None:
        return provider.networks.lookup(address) is not None
    if provider.host == "localhost" or is_address(provider.host):
        return True
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    return not any(
        one.is_loopback or one.is_link_local or one.is_multicast or one.is_unspecified
        for one in (found, mapped)
    )
