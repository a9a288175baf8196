"""Happenings: what the SIP process leaves for the HTTP process to tell others of. Counting is all that is
done here; nothing waits."""

from __future__ import annotations

from typing import TypedDict

Facts = dict[str, str | None]


class Tally(TypedDict):
    """How often something happened to a trunk, and facts of the last time."""

    event: str
    trunk: str
    count: int
    last: Facts


class Told(TypedDict):
    """short: trunk → the least amount, in micro-units, that a call wanted and could not have."""

    tallies: list[Tally]
    short: dict[str, int]


class Happenings:
    """Bounded by trunks and kinds of events: both come from the policy, never from a message."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], Facts] = {}
        self._short: dict[str, int] = {}

    def note(self, event: str, trunk: str, facts: Facts) -> None:
        """It happened once more."""
        key = (event, trunk)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._last[key] = facts

    def short(self, trunk: str, wanted: int) -> None:
        """A call wanted so much, in micro-units, and the trunk did not have it."""
        known = self._short.get(trunk)
        if known is None or wanted < known:
            self._short[trunk] = wanted

    def take(self) -> Told:
        """All since the last time."""
        tallies = [
            Tally(event=event, trunk=trunk, count=count, last=self._last[event, trunk])
            for (event, trunk), count in self._counts.items()
        ]
        told = Told(tallies=tallies, short=self._short)
        self._counts, self._last, self._short = {}, {}, {}
        return told
