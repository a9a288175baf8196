"""Overload: whether a new call is turned away because the instance is behind with its work.

The sign is how long messages waited before they were served, as in CoDel (RFC 8289): a wait that passes by
itself is a burst and does no harm; one that stays is a standing queue, and makes every call late without
serving one more.
"""

from __future__ import annotations

from typing import Final

BURST_SECONDS: Final = 0.35
"""Longest wait of a new call in a burst. Its caller sends again after T1 (0.5 s): work without a use."""

STANDING_SECONDS: Final = 0.05
"""Longest wait of a new call once the queue stands."""

INTERVAL_SECONDS: Final = 0.4
"""A queue that was not empty for so long stands."""

MOST_CALLS: Final = 50_000
"""Calls in memory, ringing and talking."""

MOST_JUDGED: Final = 1_000
"""Calls that wait for the ledger."""

MOST_TRANSACTIONS: Final = 400_000
"""Transactions in memory: each stays for up to 64*T1 after its end."""


class Overload:
    """Decides by the wait alone; the caller measures it. Times are monotonic seconds."""

    __slots__ = ("_caught_up_at",)

    def __init__(self, now: float) -> None:
        self._caught_up_at = now

    def caught_up(self, now: float) -> None:
        """Nothing waits."""
        self._caught_up_at = now

    def sheds(self, waited: float, now: float) -> bool:
        """Whether a new call is turned away, when it or what is served before it has waited so long.

        The queue counts as standing until it has been empty: not until it is short, since shedding keeps it
        short while there is still more than can be served.
        """
        if waited <= STANDING_SECONDS:
            return False
        return waited > BURST_SECONDS or now - self._caught_up_at > INTERVAL_SECONDS
