"""Ranges that were used for international revenue share fraud, in lists by name.

`high_risk.csv` holds them, each with the reason and the public source that says so; a row is added or taken
out by hand. What is there is a warning about where fraud went, not about a country.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Range(NamedTuple):
    """Numbers that begin with `prefix` (digits): in which list, why, and who says so (a URL)."""

    name: str
    prefix: str
    why: str
    source: str


@cache
def load_ranges() -> tuple[Range, ...]:
    """All rows of the file, in its order."""
    text = files("policy.numbering").joinpath("high_risk.csv").read_text(encoding="utf-8")
    return tuple(Range(**row) for row in csv.DictReader(text.splitlines()))


class HighRisk:
    """The ranges of some lists."""

    __slots__ = ("_lengths", "_ranges")

    def __init__(self, names: Iterable[str]) -> None:
        wanted = frozenset(names)
        self._ranges: Mapping[str, Range] = {row.prefix: row for row in load_ranges() if row.name in wanted}
        self._lengths = tuple(sorted({len(prefix) for prefix in self._ranges}))

    def lookup(self, number: str) -> Range | None:
        """The range that `number` (`+` and digits) is in; None for none."""
        for length in self._lengths:
            found = self._ranges.get(number[1 : length + 1])
            if found is not None:
                return found
        return None
