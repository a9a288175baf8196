"""How often the tokens of one account may change something."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

BURST: Final = 100
INTERVAL: Final = 2.0
A_DAY: Final = 500
_DAY: Final = 86_400.0
_RATES: Final = ((BURST, INTERVAL), (A_DAY, _DAY / A_DAY))
_MOST_ACCOUNTS: Final = 4096


class Pace:
    """Each account has BURST changes, and one more each INTERVAL seconds; and no more than A_DAY that come
    back in a day. Each of them compiles the policy of all, at every instance, and pushes an older version out
    of the history. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        # When each account has all its changes back, by rate.
        self._full_at: OrderedDict[str, tuple[float, ...]] = OrderedDict()

    def wait(self, account: str, now: float) -> float:
        """How many seconds this account has to wait; 0: none, and that was one change."""
        known = self._full_at.get(account, (now,) * len(_RATES))
        full_at = [max(now, at) for at in known]
        rates = list(zip(full_at, _RATES, strict=True))
        wait = max(at - now - (burst - 1) * interval for at, (burst, interval) in rates)
        if wait > 0:
            return wait
        self._full_at[account] = tuple(at + interval for at, (_, interval) in rates)
        self._full_at.move_to_end(account)
        if len(self._full_at) > _MOST_ACCOUNTS:
            self._full_at.popitem(last=False)
        return 0.0
