"""Limits of a trunk towards some destinations: further scopes of the calls that go there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policy.compiled import Scope


@dataclass(frozen=True, slots=True)
class DestinationLimit:
    """Calls to these countries (upper case) or to numbers that begin with one of `prefixes` (digits) are
    counted at `scope`."""

    scope: Scope
    countries: frozenset[str]
    prefixes: tuple[str, ...]

    def holds(self, digits: str, country: str | None) -> bool:
        return country in self.countries or digits.startswith(self.prefixes)


class Destinations:
    """All destination limits of one trunk. Every one that matches a call counts it: each can only narrow."""

    __slots__ = ("_known", "_scopes", "limits")

    def __init__(self, scopes: tuple[Scope, ...], limits: Sequence[DestinationLimit]) -> None:
        """`scopes` are those of every call of the trunk."""
        self._scopes = scopes
        self.limits = tuple(limits)
        self._known: dict[int, tuple[Scope, ...]] = {0: scopes}

    def scopes_of(self, called: str, country: str | None) -> tuple[Scope, ...]:
        """The scopes of a call: the trunk's, then those of its destination. The same object for the same
        scopes, so that what is made of them can be kept."""
        digits = called.removeprefix("+")
        matching, bit = 0, 1
        for limit in self.limits:
            if limit.holds(digits, country):
                matching |= bit
            bit <<= 1
        known = self._known.get(matching)
        if known is None:
            found = (limit.scope for at, limit in enumerate(self.limits) if matching >> at & 1)
            known = self._known[matching] = (*self._scopes, *found)
        return known
