"""How often the tokens of one account may change something."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

BURST: Final = 100
INTERVAL: Final = 2.0
_MOST_ACCOUNTS: Final = 4096


class Pace:
    """Each account has BURST changes, and one more each INTERVAL seconds: each of them compiles the policy of
    all, at every instance, and pushes an older version out of the history. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        # When each account has all its changes back.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, account: str, now: float) -> float:
        """How many seconds this account has to wait; 0: none, and that was one change."""
        full_at = max(now, self._full_at.get(account, now))
        wait = full_at - now - (BURST - 1) * INTERVAL
        if wait > 0:
            return wait
        self._full_at[account] = full_at + INTERVAL
        self._full_at.move_to_end(account)
        if len(self._full_at) > _MOST_ACCOUNTS:
            self._full_at.popitem(last=False)
        return 0.0
