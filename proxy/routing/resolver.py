"""Resolver: the addresses of providers, looked up ahead of the calls and kept fresh.

A call never waits for DNS: it takes what is known now. A name that stops resolving keeps its last addresses.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Iterable

from policy.compiled import Provider
from proxy.sip.message import Flow

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 30.0
LOOKUP_SECONDS = 5.0
DEFAULT_PORT = 5060

Address = tuple[str, int]


class Resolver:
    """Provider → flow. `listeners` are the local addresses of the sockets that calls leave from, by
    transport."""

    def __init__(self, listeners: Iterable[tuple[str, tuple[str, int]]]) -> None:
        self._listeners = list(listeners)
        self._flows: dict[str, Flow] = {}

    def route(self, provider: Provider) -> Flow | None:
        """The flow to `provider`; None while it is blocked, has no usable address, or no listener of its
        family."""
        return self._flows.get(provider.name) if provider.active else None

    async def refresh(self, providers: Iterable[Provider]) -> None:
        """Look every provider up; those that are gone are forgotten."""
        known = list(providers)
        names = {provider.name for provider in known}
        for gone in self._flows.keys() - names:
            del self._flows[gone]
        await asyncio.gather(*(self._look_up(provider) for provider in known))

    async def _look_up(self, provider: Provider) -> None:
        addresses = await self._addresses(provider)
        for address in addresses:
            if provider.networks is not None and provider.networks.lookup(address[0]) is None:
                _log.warning(
                    "provider %s: address %s is outside its networks and not used", provider.name, address[0]
                )
                continue
            flow = self._flow(provider.transport, address)
            if flow is not None:
                self._flows[provider.name] = flow
                return
        if addresses:
            _log.error("provider %s: none of its addresses can be used from our listeners", provider.name)
            self._flows.pop(provider.name, None)

    async def _addresses(self, provider: Provider) -> list[Address]:
        port = provider.port or DEFAULT_PORT
        try:
            return [(str(ipaddress.ip_address(provider.host)), port)]
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await loop.getaddrinfo(provider.host, port, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError) as error:
            _log.warning("provider %s: %s does not resolve: %s", provider.name, provider.host, error)
            return []
        return [(str(entry[4][0]), port) for entry in found]

    def _flow(self, transport: str, address: Address) -> Flow | None:
        for kind, local in self._listeners:
            if kind == transport and (":" in local[0]) == (":" in address[0]):
                return Flow(transport, local, address)
        return None
