"""Overload: whether a new call is turned away because the instance is behind with its work.

The sign is a queue that stands, as in CoDel (RFC 8289): one that passes by itself is a burst and does no
harm; one that stays makes every call late without serving one more. While it stands, each turn of the event
loop serves what belongs to calls under way, then a few new calls, and turns others away: the busier the
turns, the fewer of them there are, and the fewer new calls.
"""

from __future__ import annotations

from typing import Final

STALE_SECONDS: Final = 0.35
"""A new call that waited so long is not even answered over UDP: its caller is about to send it again (T1,
0.5 s), and two copies would make twice the work."""

LATE_SECONDS: Final = 0.05
"""How late timers are when there is more to do than time."""

INTERVAL_SECONDS: Final = 1.0
"""A queue that was not empty for so long stands."""

NEW_CALLS: Final = 5
"""New calls served in one turn while the queue stands, if nothing of calls under way waits."""

MOST_NEW: Final = 16
"""New calls served or turned away in one turn while the queue stands: turning away never takes more than a
small share of the time, however many come."""

MOST_CALLS: Final = 50_000
"""Calls in memory, ringing and talking."""

MOST_JUDGED: Final = 1_000
"""Calls that wait for the ledger."""

MOST_TRANSACTIONS: Final = 400_000
"""Transactions in memory: each stays for up to 64*T1 after its end."""


_NEVER: Final = float("inf")


class Lateness:
    """Whether timers have been late for long: the sign of a queue that nobody sees, such as that of what
    peers sent over connections. Times are monotonic seconds."""

    __slots__ = ("_last", "_since")

    def __init__(self) -> None:
        self._since = self._last = _NEVER

    def fired(self, due: float, now: float) -> None:
        """A timer that was due at `due` fires only now."""
        if now - due <= LATE_SECONDS:
            self._since = _NEVER
        elif self._since == _NEVER or now - self._last > INTERVAL_SECONDS:
            self._since = now
        self._last = now

    def stands(self, now: float) -> bool:
        """Whether all timers have been late for so long, the last of them a moment ago."""
        return now - self._since > INTERVAL_SECONDS and now - self._last < INTERVAL_SECONDS


class Overload:
    """Decides which new calls are served. Times are monotonic seconds."""

    __slots__ = ("_caught_up_at", "_room", "_stands")

    def __init__(self, now: float) -> None:
        self._caught_up_at = now
        self._stands = False
        self._room = 0

    def caught_up(self, now: float) -> None:
        """Nothing waits."""
        self._caught_up_at = now

    def stands(self, now: float) -> bool:
        """Whether the queue stands: it has not been empty for long. That it is short says nothing, since
        shedding keeps it short while there is still more than can be served."""
        return now - self._caught_up_at > INTERVAL_SECONDS

    def begin_turn(self, behind: bool, now: float) -> None:
        """The next messages are served; `behind`: of calls under way more waits than fits into this turn."""
        self._stands = self.stands(now)
        self._room = 0 if behind else NEW_CALLS

    def sheds(self) -> bool:
        """Whether the next new call of this turn is turned away."""
        if not self._stands:
            return False
        self._room -= 1
        return self._room < 0
