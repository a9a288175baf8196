"""Inbox: datagrams that wait because more came than could be served at once, in lanes.

It is used only while there is a backlog. What belongs to calls under way is served first, new calls second,
strangers last; each lane has its share of every turn, so that none starves, and is bounded in bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from proxy.sip.message import Flow

Waiting = tuple[float, bytes, Flow]

SLICE: Final = 64
"""Messages served in one turn of the event loop: some five milliseconds, so that timers, the ledger's
replies and connections have their turns."""

# Of each slice, what a lane gets at least when it wants it; what others leave goes by the order of lanes.
_SHARES: Final = (44, 16, 4)
_MEBIBYTE: Final = 1_048_576
_BOUNDS: Final = (16 * _MEBIBYTE, 16 * _MEBIBYTE, _MEBIBYTE // 2)
# What a waiting datagram takes beside its bytes.
_OVERHEAD: Final = 512

# A CANCEL must not come before its INVITE.
_NEW: Final = (b"INVITE", b"CANCEL")


class Inbox:
    """`known` says whether an address belongs to a trunk or a provider. `dropped` counts, by lane, what found
    its lane full."""

    def __init__(self, known: Callable[[str], bool]) -> None:
        self._known = known
        self._lanes: tuple[deque[Waiting], deque[Waiting], deque[Waiting]] = (deque(), deque(), deque())
        self._room = list(_BOUNDS)
        self.dropped = [0, 0, 0]

    def __len__(self) -> int:
        return sum(map(len, self._lanes))

    def put(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one datagram in, or drop it: its sender will send it again."""
        if not self._known(flow.remote[0]):
            lane = 2
        else:
            lane = 1 if data.startswith(_NEW) else 0
        size = len(data) + _OVERHEAD
        if size > self._room[lane]:
            self.dropped[lane] += 1
            return
        self._room[lane] -= size
        self._lanes[lane].append((now, data, flow))

    def take(self) -> list[Waiting]:
        """The next slice, with the times at which its datagrams came."""
        counts = [min(len(lane), share) for lane, share in zip(self._lanes, _SHARES, strict=True)]
        spare = SLICE - sum(counts)
        taken: list[Waiting] = []
        for number, lane in enumerate(self._lanes):
            more = min(spare, len(lane) - counts[number])
            spare -= more
            room = self._room
            for _ in range(counts[number] + more):
                one = lane.popleft()
                room[number] += len(one[1]) + _OVERHEAD
                taken.append(one)
        return taken

    def oldest(self) -> float | None:
        """When the first of what still waits for a call came; strangers do not count."""
        heads = [lane[0][0] for lane in self._lanes[:2] if lane]
        return min(heads) if heads else None
