"""RateTable: the rate of the longest prefix of a deck that a number begins with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from config.deck import Dated, destination_of, tariff_of
from policy.rating.rate import Rate
from policy.verdict import PASS, Check

# Which lengths of prefixes there are is known for each beginning of this many digits.
_HEAD = 4


def _lengths(prefixes: Iterable[str]) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    """The lengths of the prefixes that may match, the longest first, by the first digits of a number; and
    those that may match any number."""
    found: dict[str, int] = {}
    short = 0
    for prefix in prefixes:
        length = len(prefix)
        if length < _HEAD:
            short |= 1 << length
        else:
            head = prefix[:_HEAD]
            found[head] = found.get(head, 0) | 1 << length
    spelt = {bits | short: () for bits in (*found.values(), 0)}
    lengths = {bits: tuple(at for at in range(bits.bit_length(), 0, -1) if bits >> at & 1) for bits in spelt}
    return {head: lengths[bits | short] for head, bits in found.items()}, lengths[short]


def _coming(dated: Mapping[str, Sequence[Dated]]) -> list[tuple[datetime, list[str]]]:
    """The moments at which rows come or go, the next one last, each with the prefixes of those rows."""
    found: dict[datetime, dict[str, None]] = {}
    for prefix, rows in dated.items():
        for row in rows:
            for moment in row.period:
                if moment is not None:
                    found.setdefault(moment, {})[prefix] = None
    return [(moment, list(prefixes)) for moment, prefixes in sorted(found.items(), reverse=True)]


class RateTable:
    """A rate deck. Numbers and prefixes are digits; one leading plus of a number is ignored.

    `currency` is the accounting currency, in which checks name prices. Rows that are in force for a time come
    and go by `prices_at`; nothing else changes. `switches_at` is when it has to be called next, or None.
    """

    __slots__ = (
        "_checks", "_coming", "_dated", "_destinations", "_due", "_lengths", "_rates", "_short", "_tariffs",
        "_used", "currency", "name", "switches_at",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        tariffs: Sequence[Rate],
        destinations: Sequence[str],
        rates: dict[str, int],
        dated: Mapping[str, Sequence[Dated]] | None = None,
        *,
        currency: str = "",
        found: dict[str, Any] | None = None,
    ) -> None:
        """`tariffs` have no prefix or destination of their own; `rates` gives the terms of each prefix that
        is always in force, and is the table's own from now on; `dated` are the rows of the other prefixes,
        none of them in force before `prices_at`. `found` takes what is worked out from all
        rows, and spares a table of the same rows that work."""
        self.name = name
        self.currency = currency
        self.switches_at: datetime | None = None
        self._tariffs = tariffs
        self._destinations = destinations
        self._rates = rates
        self._dated = dict(dated or {})
        self._due = list(self._dated)
        self._coming = _coming(self._dated)
        known = {} if found is None else found
        if "lengths" not in known:
            known["lengths"] = _lengths(chain(rates, self._dated))
        self._lengths, self._short = known["lengths"]
        # Rates with their prefixes, made when first wanted: of a large deck few rows are ever called.
        self._used: dict[str, Rate] = {}
        self._checks: dict[str, Check] = {}

    @classmethod
    def of(cls, name: str, rates: Iterable[Rate], *, currency: str = "") -> RateTable:
        """A table of rates that bring their prefixes."""
        used = {rate.prefix: rate for rate in rates}
        table = cls(name, (), (), dict.fromkeys(used, 0), currency=currency)
        table._used = used
        return table

    def lookup(self, number: str) -> Rate | None:
        """The rate of the longest prefix that is in force; None when the deck knows none."""
        digits = number[1:] if number.startswith("+") else number
        rates = self._rates
        for length in self._lengths.get(digits[:_HEAD], self._short):
            prefix = digits[:length]
            if prefix in rates:
                rate = self._used.get(prefix)
                return self._use(prefix) if rate is None else rate
        return None

    def _use(self, prefix: str) -> Rate:
        terms = self._rates[prefix]
        destination = self._destinations[destination_of(terms)]
        rate = replace(self._tariffs[tariff_of(terms)], prefix=prefix, destination=destination)
        self._used[prefix] = rate
        return rate

    def prices_at(self, now: datetime, most: int | None = None) -> None:
        """Bring the rows into force that are so at `now`, aware and never earlier than before; take the
        others out. At most `most` prefixes at a time: `switches_at` is then `now`, for the rest."""
        while self._coming and self._coming[-1][0] <= now:
            self._due += self._coming.pop()[1]
        for prefix in self._due[:most]:
            self._switch(prefix, now)
        del self._due[:most]
        self.switches_at = now if self._due else self._coming[-1][0] if self._coming else None

    def _switch(self, prefix: str, now: datetime) -> None:
        terms = next((row.terms for row in self._dated[prefix] if row.period.holds(now)), None)
        if terms == self._rates.get(prefix):
            return
        self._used.pop(prefix, None)
        self._checks.pop(prefix, None)
        if terms is None:
            del self._rates[prefix]
        else:
            self._rates[prefix] = terms

    def check(self, rate: Rate) -> Check:
        """The check that names a rate of this deck; made when it is first wanted."""
        check = self._checks.get(rate.prefix)
        if check is None:
            price = f"{rate.per_minute_text} {self.currency} a minute".replace("  ", " ")
            increments = f"{rate.initial_increment}/{rate.subsequent_increment}"
            detail = f"prefix +{rate.prefix} costs {price}, {increments}"
            check = self._checks[rate.prefix] = Check("rate", f"deck:{self.name}", PASS, detail)
        return check

    def __len__(self) -> int:
        return len(self._rates)
