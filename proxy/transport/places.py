"""Places: how many connections may be held, and who has to go when there is no room."""

from __future__ import annotations

import ipaddress
from typing import Generic, TypeVar

C = TypeVar("C")

_SUBSCRIBER_BITS = 64


class _Origin(Generic[C]):
    __slots__ = ("silent", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.silent: dict[C, None] = {}


class Places(Generic[C]):
    """A limit in all and one for each origin. When one is reached, a newcomer takes the place of the oldest
    connection that has said nothing yet, so that connections held idle keep nobody out; connections that have
    spoken keep their places."""

    def __init__(self, total: int, per_origin: int) -> None:
        self._total = total
        self._per_origin = per_origin
        self._guests: dict[C, str] = {}
        self._silent: dict[C, None] = {}
        self._origins: dict[str, _Origin[C]] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, connection: C, origin: str) -> tuple[bool, C | None]:
        """(whether there is a place for the newcomer, who has to leave for it)."""
        found = self._origins.get(origin)
        silent = None
        if found is not None and found.taken >= self._per_origin:
            silent = found.silent
        elif len(self._guests) >= self._total:
            silent = self._silent
        victim: C | None = None
        if silent is not None:
            victim = next(iter(silent), None)
            if victim is None:
                return False, None
            self.leave(victim)
        place = self._origins.setdefault(origin, _Origin())
        place.taken += 1
        place.silent[connection] = None
        self._silent[connection] = None
        self._guests[connection] = origin
        return True, victim

    def spoke(self, connection: C) -> None:
        """The connection has brought a message: its place is its own."""
        if connection in self._silent:
            del self._silent[connection]
            del self._origins[self._guests[connection]].silent[connection]

    def leave(self, connection: C) -> None:
        """The connection is gone. More than once does no harm."""
        origin = self._guests.pop(connection, None)
        if origin is None:
            return
        self._silent.pop(connection, None)
        place = self._origins[origin]
        place.silent.pop(connection, None)
        place.taken -= 1
        if not place.taken:
            del self._origins[origin]


def origin_of(host: str) -> str:
    """Who an address belongs to, as far as it shows: an IPv4 address, or the /64 that one IPv6 subscriber
    has."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _SUBSCRIBER_BITS), strict=False))
