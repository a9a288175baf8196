"""Which country an international number belongs to, told by its region and not by its calling code.

A table built from phonenumbers' metadata answers nearly always: its rows are calling codes with up to five
national digits. Only rows that several regions share are narrowed by phonenumbers itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.resources import files

import phonenumbers

from policy.numbering.metadata import parsed

NO_COUNTRY = "001"  # the metadata's region of calling codes that the ITU gave to no country


class CountryTable:
    """Rows of (digits, regions separated by spaces), looked up by the longest."""

    __slots__ = ("_lengths", "_rows", "_shorter")

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        self._rows = dict(rows)
        self._lengths = tuple(sorted({len(digits) for digits in self._rows}, reverse=True))
        shorter: dict[str, str] = {}
        for digits, regions in self._rows.items():
            for end in range(1, len(digits)):
                known = shorter.setdefault(digits[:end], regions)
                if known != regions:
                    shorter[digits[:end]] = ""
        self._shorter = shorter

    def regions(self, digits: str) -> tuple[str, str] | None:
        """The row that decides on a number's digits, as (row, regions); None for what is not allocated.

        A number that ends before the table can tell belongs where all the rows below it belong.
        """
        rows = self._rows
        for length in self._lengths:
            row = digits[:length]
            found = rows.get(row)
            if found is not None:
                return row, found
        regions = self._shorter.get(digits)
        return (digits, regions) if regions else None

    def allocated(self, digits: str) -> Iterator[str]:
        """The rows that numbers which begin with `digits` may be in, as digits."""
        found = self.regions(digits)
        if found is not None and found[0] != digits:
            yield found[0]
            return
        for row in self._rows:
            if row.startswith(digits):
                yield row


def load_table() -> CountryTable:
    """The table that is shipped beside this module; `build_country_table` makes it."""
    text = files("policy.numbering").joinpath("country_table.csv").read_text(encoding="ascii")
    rows: list[tuple[str, str]] = []
    for line in text.splitlines()[2:]:
        digits, _, regions = line.partition(",")
        rows.append((digits, regions))
    return CountryTable(rows)


_TABLE = load_table()


def allocated(digits: str) -> Iterator[str]:
    """The allocated ranges, as digits, of numbers that begin with `digits`. Slow: for compiling."""
    return _TABLE.allocated(digits)


def country_of(number: str) -> str | None:
    """The country of `number` (`+` and digits) as upper-case ISO 3166 alpha-2.

    Calling codes without a country are told as they are dialled (`+870`). None: not allocated, or not to be
    told.
    """
    found = _TABLE.regions(number[1:])
    if found is None:
        return None
    row, regions = found
    if len(regions) == 2:
        return regions
    if regions == NO_COUNTRY:
        return "+" + row
    region = _narrow(number[1:])
    return region if region is not None and region in regions.split(" ") else None


@lru_cache(maxsize=4096)
def _narrow(digits: str) -> str | None:
    """The one region in which the whole number is valid, by phonenumbers; None when it is valid in none."""
    number = parsed(digits)
    if number is None:
        return None
    region: str | None = phonenumbers.region_code_for_number(number)
    return region
