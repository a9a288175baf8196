"""Resolver: the addresses of providers, looked up ahead of the calls and kept fresh.

A call never waits for DNS: it takes what is known now. A name that stops resolving keeps its last addresses.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable

from policy.compiled import Provider
from proxy.call.reach import Hop
from proxy.sip.message import Flow

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 30.0
LOOKUP_SECONDS = 5.0
DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}

Address = tuple[str, int]
_Key = tuple[str, str, str, int | None]


class Resolver:
    """Provider → flow. `listeners` are the local addresses of the sockets that calls leave from, by
    transport."""

    def __init__(
        self, listeners: Iterable[tuple[str, tuple[str, int]]], number: Callable[[str], int] = lambda name: 0
    ) -> None:
        self._listeners = list(listeners)
        self._number = number
        self._flows: dict[_Key, Flow] = {}
        self._hosts: dict[_Key, frozenset[str]] = {}

    def route(self, provider: Provider) -> Flow | None:
        """The flow to `provider`; None while it has no usable address, or no listener of its family. Its
        status is the policy's to judge: where all else fails, emergency calls go to a blocked one too."""
        return self._flows.get(_key(provider))

    def hops(self, provider: Provider) -> list[Hop]:
        """The hops of `provider`."""
        flow = self.route(provider)
        return [] if flow is None else [Hop(flow)]

    def leads_to(self, provider: Provider, host: str) -> bool:
        """Whether `host` is any of the addresses that the provider's name leads to: not all of its requests
        need come from the one that calls are sent to."""
        return host in self._hosts.get(_key(provider), ())

    async def refresh(self, providers: Iterable[Provider]) -> None:
        """Look every provider up."""
        await asyncio.gather(*(self._look_up(provider) for provider in providers))

    def keep_only(self, providers: Iterable[Provider]) -> None:
        """Forget the others."""
        wanted = {_key(provider) for provider in providers}
        for gone in self._flows.keys() - wanted:
            del self._flows[gone]
        for gone in self._hosts.keys() - wanted:
            del self._hosts[gone]

    async def _look_up(self, provider: Provider) -> None:
        addresses = await self._addresses(provider)
        if addresses:
            self._hosts[_key(provider)] = frozenset(
                host for host, _ in addresses if _acceptable(provider, host)
            )
        for address in addresses:
            if not _acceptable(provider, address[0]):
                _log.warning(
                    "provider %s: address %s of %s is not used", provider.name, address[0], provider.host
                )
                continue
            flow = self._flow(provider, address)
            if flow is not None:
                self._flows[_key(provider)] = flow
                return
        if addresses:
            _log.error("provider %s: none of its addresses can be used", provider.name)
        kept = self._flows.get(_key(provider))
        if kept is not None and (addresses or not _acceptable(provider, kept.remote[0])):
            del self._flows[_key(provider)]

    async def _addresses(self, provider: Provider) -> list[Address]:
        port = provider.port or DEFAULT_PORTS[provider.transport]
        if _is_address(provider.host):
            return [(provider.host, port)]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await loop.getaddrinfo(provider.host, port, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError, UnicodeError) as error:  # the last: a label that no name can have
            _log.warning("provider %s: %s does not resolve: %s", provider.name, provider.host, error)
            return []
        return [(str(entry[4][0]), port) for entry in found]

    def provider_at(self, host: str) -> bool:
        """Whether the name of any provider leads to this address."""
        return any(host in hosts for hosts in self._hosts.values())

    def _flow(self, provider: Provider, address: Address) -> Flow | None:
        transport = provider.transport
        for kind, local in self._listeners:
            if kind == transport and (":" in local[0]) == (":" in address[0]):
                return Flow(
                    transport, local, address, self._number(provider.host) if transport == "tls" else 0
                )
        return None


def _key(provider: Provider) -> _Key:
    """What an answer of the DNS is good for: another host under the same name of a provider is another
    question."""
    return (provider.name, provider.transport, provider.host, provider.port)


def _acceptable(provider: Provider, address: str) -> bool:
    """Whether packets may go there: the operator's networks decide; without them a name must not lead to this
    machine or its own link, which only a forged or broken answer would do."""
    if provider.networks is not None:
        return provider.networks.lookup(address) is not None
    if provider.host == "localhost" or _is_address(provider.host):
        return True
    found = ipaddress.ip_address(address)
    return not (found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
