"""Throttle: how often somebody may be wrong. Its memory is bounded, whatever is sent."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

MOST_REMEMBERED: Final = 10_000
"""Entries; the one that failed longest ago makes room."""


class Throttle:
    """A leaky bucket of failures for each of many: `burst` at once, then one each `seconds`."""

    __slots__ = ("_burst", "_levels", "_seconds")

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._levels: OrderedDict[Hashable, float] = OrderedDict()  # who → when all failures are forgiven

    def __len__(self) -> int:
        return len(self._levels)

    def closed(self, who: Hashable, now: float) -> bool:
        """Whether `who` has to wait."""
        return self._levels.get(who, 0.0) - now > (self._burst - 1) * self._seconds

    def failed(self, who: Hashable, now: float) -> None:
        """Count a failure."""
        levels = self._levels
        levels[who] = max(levels.get(who, 0.0), now) + self._seconds
        levels.move_to_end(who)
        if len(levels) > MOST_REMEMBERED:
            levels.popitem(last=False)


class Recent:
    """The last who did something, at most MOST_REMEMBERED of them."""

    __slots__ = ("_who",)

    def __init__(self) -> None:
        self._who: OrderedDict[Hashable, None] = OrderedDict()

    def __contains__(self, who: Hashable) -> bool:
        return who in self._who

    def add(self, who: Hashable) -> None:
        """Remember it, as the newest."""
        self._who[who] = None
        self._who.move_to_end(who)
        if len(self._who) > MOST_REMEMBERED:
            self._who.popitem(last=False)


def neighbourhood(source: str) -> str:
    """What one customer of a network has for an address: IPv6 by its /64."""
    if ":" not in source:
        return source
    try:
        packed = ipaddress.IPv6Address(source.partition("%")[0]).packed
    except ValueError:
        return source
    return packed[:8].hex()
