"""Reachability: what calls have found out about next hops, for the calls after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from proxy.sip.message import Flow

REST_SECONDS: Final = 30.0
"""How long a hop that failed is tried last, at least."""

LONGEST_REST_SECONDS: Final = 3600.0
"""How long at most, where it named a time itself."""

STREAM_SECONDS: Final = 600.0
"""How long it is remembered whether a hop takes TCP."""

LARGEST_DATAGRAM: Final = 1300
"""Bytes of the longest request that is sent over UDP where there is another way (RFC 3261 §18.1.1)."""

_MOST_REMEMBERED = 1024

Remote = tuple[str, int]
_K = TypeVar("_K")
_V = TypeVar("_V")


class Hop(NamedTuple):
    """One next hop. `stream` is the flow over TCP for what is too large for UDP; None: there is none."""

    flow: Flow
    stream: Flow | None = None


class Reachability:
    """What calls have found out about hosts: which failed lately, and which take TCP."""

    __slots__ = ("_resting", "_streams")

    def __init__(self) -> None:
        self._resting: dict[tuple[str, Remote], float] = {}
        self._streams: dict[Remote, tuple[bool, float]] = {}

    def failed(self, flow: Flow, now: float, asked: float = 0.0) -> None:
        """No answer, no connection, or 503: others come first for a while. `asked`: the seconds for which it
        wants to be left alone (RFC 3261 §21.5.4)."""
        rest = min(max(asked, REST_SECONDS), LONGEST_REST_SECONDS)
        _remember(self._resting, (flow.transport, flow.remote), now + rest)

    def answered(self, flow: Flow) -> None:
        """It works."""
        if self._resting:
            self._resting.pop((flow.transport, flow.remote), None)

    def ordered(self, hops: Sequence[Hop], now: float) -> Sequence[Hop]:
        """The hops in their order, but those that failed lately last; none is left out."""
        resting = self._resting
        if not resting or len(hops) < 2:
            return hops
        return sorted(hops, key=lambda hop: resting.get((hop.flow.transport, hop.flow.remote), 0.0) > now)

    def stream_found(self, flow: Flow, works: bool, now: float) -> None:
        """Whether the TCP connection of `flow`, opened for a large request, came to be."""
        _remember(self._streams, flow.remote, (works, now + STREAM_SECONDS))

    def may_stream(self, flow: Flow, now: float) -> bool:
        """Whether TCP is worth a try: nobody has found out otherwise lately."""
        works, until = self._streams.get(flow.remote, (True, 0.0))
        return works or until <= now

    def streams(self, flow: Flow, now: float) -> bool:
        """Whether TCP is known to work."""
        works, until = self._streams.get(flow.remote, (False, 0.0))
        return works and until > now


def _remember(memory: dict[_K, _V], key: _K, value: _V) -> None:
    """Bounded: what is oldest goes."""
    memory.pop(key, None)
    if len(memory) >= _MOST_REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value
