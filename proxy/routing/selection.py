"""Selection: which of several targets a call tries first (RFC 2782)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from proxy.call.reach import Hop


class Choice(NamedTuple):
    """One SRV target: `rank`, lower is first; `weight`, its share among those of one rank; its hops, in their
    order."""

    rank: tuple[int, int]
    weight: int
    hops: tuple[Hop, ...]


class Slate:
    """What a provider's name leads to now. Drawn from anew for each call."""

    __slots__ = ("_fixed", "_ranks")

    def __init__(self, choices: Sequence[Choice] = ()) -> None:
        ordered = sorted((choice for choice in choices if choice.hops), key=lambda choice: choice.rank)
        self._ranks = [list(group) for _, group in groupby(ordered, key=lambda choice: choice.rank)]
        only = all(len(rank) == 1 for rank in self._ranks)
        self._fixed = tuple(hop for choice in ordered for hop in choice.hops) if only else None

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def hops(self, draw: Callable[[], float]) -> tuple[Hop, ...]:
        """All hops in the order in which one call tries them. `draw` gives a random number from 0 up to,
        not including, 1."""
        if self._fixed is not None:
            return self._fixed
        found: list[Hop] = []
        for rank in self._ranks:
            for choice in _shuffled(rank, draw):
                found += choice.hops
        return tuple(found)

    def all(self) -> list[Hop]:
        """Every hop, in no order that means anything."""
        return [hop for rank in self._ranks for choice in rank for hop in choice.hops]


def _shuffled(rank: list[Choice], draw: Callable[[], float]) -> list[Choice]:
    """Those of weight 0 stand first, so that they have a small chance; each turn takes the first whose
    running sum reaches a random number from 0 to the sum of all."""
    left = sorted(rank, key=lambda choice: choice.weight)
    order: list[Choice] = []
    while len(left) > 1:
        mark = int(draw() * (sum(choice.weight for choice in left) + 1))
        running = 0
        for choice in left:
            running += choice.weight
            if running >= mark:
                break
        left.remove(choice)
        order.append(choice)
    return order + left
