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
# Stale ones taken beside a slice.
_MOST_STALE: Final = 256
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
        self._count = 0
        self.dropped = [0, 0, 0]

    def __len__(self) -> int:
        return self._count

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
        self._count += 1

    def take(self, stale_before: float, most_new: int = SLICE) -> list[Waiting]:
        """The next slice, with the times at which its datagrams came: of new calls at most `most_new`, not
        counting those that came before `stale_before`, which go for next to nothing."""
        under_way, new, strangers = self._lanes
        spare = SLICE - sum(min(len(lane), share) for lane, share in zip(self._lanes, _SHARES, strict=True))
        taken: list[Waiting] = []
        most = min(len(under_way), _SHARES[0] + spare)
        spare -= max(0, most - _SHARES[0])
        self._move(0, most, taken)
        most = min(len(new), _SHARES[1] + spare, most_new)
        spare -= max(0, most - _SHARES[1])
        stale = 0
        while stale < _MOST_STALE and stale < len(new) and new[stale][0] < stale_before:
            stale += 1
        self._move(1, min(len(new), most + stale), taken)
        self._move(2, min(len(strangers), _SHARES[2] + spare), taken)
        return taken

    def _move(self, number: int, count: int, taken: list[Waiting]) -> None:
        lane = self._lanes[number]
        self._count -= count
        for _ in range(count):
            one = lane.popleft()
            self._room[number] += len(one[1]) + _OVERHEAD
            taken.append(one)

    @property
    def urgent(self) -> bool:
        """Whether something of calls under way waits."""
        return bool(self._lanes[0])
