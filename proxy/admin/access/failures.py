"""How often somebody may show a wrong token."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

BURST: Final = 10
INTERVAL: Final = 6.0
MOST_SOURCES: Final = 4096
MOST_GOOD: Final = 1024


class Failures:
    """Each source has BURST failures, and one more each INTERVAL seconds.

    Who has used them up is not asked for its token any more, unless this very token was good from this very
    source before: a stranger behind the same proxy or router locks nobody out. `now` is in monotonic seconds.
    """

    def __init__(self) -> None:
        # When each source has all its failures back.
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._good: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait(self, source: str, digest: str, now: float) -> float:
        """How many seconds this token may not be tried by this source; 0: it may."""
        source = _network(source)
        full_at = self._full_at.get(source)
        if full_at is None or (source, digest) in self._good:
            return 0.0
        return max(0.0, full_at - now - (BURST - 1) * INTERVAL)

    def failed(self, source: str, digest: str, now: float) -> None:
        """A wrong token came."""
        source = _network(source)
        self._good.pop((source, digest), None)  # it was good, and is revoked
        self._full_at[source] = max(now, self._full_at.pop(source, now)) + INTERVAL
        if len(self._full_at) > MOST_SOURCES:
            self._full_at.popitem(last=False)

    def passed(self, source: str, digest: str) -> None:
        """A token was good."""
        key = (_network(source), digest)
        self._good[key] = None
        self._good.move_to_end(key)
        if len(self._good) > MOST_GOOD:
            self._good.popitem(last=False)


def _network(source: str) -> str:
    """One host of IPv6 has a /64 of addresses."""
    if ":" not in source:
        return source
    try:
        address = ipaddress.IPv6Address(source.partition("%")[0])
    except ValueError:
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
