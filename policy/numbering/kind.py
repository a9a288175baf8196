"""Which kind of number it is, where that is no ordinary one: what costs more, or bills otherwise.

Told by its range, whether or not the number is complete: a premium number with a digit too many is premium.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType

from policy.numbering.country import allocated
from policy.numbering.metadata import parsed

Kinds = frozenset[str]

ORDINARY: Final[Kinds] = frozenset()
_OTHER: Final = "other"
_OF_TYPE: Final[dict[int, Kinds]] = {
    PhoneNumberType.PREMIUM_RATE: frozenset({"premium"}),
    PhoneNumberType.SHARED_COST: frozenset({"shared_cost"}),
    PhoneNumberType.PERSONAL_NUMBER: frozenset({"personal"}),
    PhoneNumberType.PAGER: frozenset({"pager"}),
    PhoneNumberType.TOLL_FREE: frozenset({"toll_free"}),
}


class KindTable:
    """Rows of (digits, kinds separated by spaces); no row hides another."""

    __slots__ = ("_below", "_lengths", "_rows")

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        self._rows = {digits: frozenset(kinds.split(" ")) for digits, kinds in rows}
        self._lengths = tuple(sorted({len(digits) for digits in self._rows}))
        self._below: dict[str, Kinds] = {}
        for digits, kinds in self._rows.items():
            for end in range(1, len(digits)):
                self._below[digits[:end]] = self._below.get(digits[:end], ORDINARY) | kinds

    def lookup(self, digits: str) -> Kinds:
        """The kinds in the row of a number's digits. One that ends before the table can tell has all the
        kinds below it."""
        rows, below = self._rows, self._below
        for length in self._lengths:
            begun = digits[:length]
            found = rows.get(begun)
            if found is not None:
                return found
            if begun not in below:
                return ORDINARY
        return below.get(digits, ORDINARY)


def load_table() -> KindTable:
    """The table that is shipped beside this module; `build_kind_table` makes it."""
    text = files("policy.numbering").joinpath("kind_table.csv").read_text(encoding="ascii")
    rows: list[tuple[str, str]] = []
    for line in text.splitlines()[2:]:
        digits, _, kinds = line.partition(",")
        rows.append((digits, kinds))
    return KindTable(rows)


_TABLE = load_table()


def kinds_of(number: str) -> Kinds:
    """The kinds of `number` (`+` and digits): `premium`, `shared_cost`, `personal`, `satellite`, `pager`,
    `toll_free`. Empty for an ordinary number; several where it cannot be told which."""
    found = _TABLE.lookup(number[1:])
    if len(found) < 2:
        return found
    return _narrow(number[1:], found)


def wholly(prefix: str, kinds: Kinds) -> bool:
    """Whether every number that begins with the digits `prefix`, no plus, is of one of `kinds`. Slow: for
    compiling."""
    ranges = [row if len(row) > len(prefix) else prefix for row in allocated(prefix)]
    found = [_TABLE.lookup(digits) for digits in ranges]
    return bool(found) and all(own and own <= kinds for own in found)


@lru_cache(maxsize=4096)
def _narrow(digits: str, kinds: Kinds) -> Kinds:
    """The kind that the whole number has; where that is not valid, all that it may have."""
    number = parsed(digits)
    kind = PhoneNumberType.UNKNOWN if number is None else phonenumbers.number_type(number)
    if kind == PhoneNumberType.UNKNOWN:
        return kinds - {_OTHER}
    return _OF_TYPE.get(kind, ORDINARY)
