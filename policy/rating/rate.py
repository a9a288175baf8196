"""Rate: what a call to one destination costs, exactly.

A deck's prices are kept as integers of 10^-9 of its currency, the exchange rate as a ratio of integers; the
division comes last and rounds up once per call.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

NANO = 1_000_000_000
MICRO = 1_000_000
_NANO_SECONDS_PER_MICRO_MINUTE = 60 * NANO // MICRO


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of a rate deck, with the exchange rate into the accounting currency.

    prefix: digits of the row's prefix, without plus.
    per_minute_nano, connect_fee_nano: price in 10^-9 units of `currency`, not negative.
    initial_increment, subsequent_increment: seconds, at least 1: `60/60`, `30/6`, `1/1`.
    minimum_nano: what an answered call costs at least, in 10^-9 units of `currency`.
    grace_seconds: a call that lasts no longer costs nothing.
    exchange_numerator / exchange_denominator: units of the accounting currency for one unit of `currency`.
    """

    prefix: str
    destination: str
    currency: str
    per_minute_nano: int
    connect_fee_nano: int = 0
    initial_increment: int = 60
    subsequent_increment: int = 60
    exchange_numerator: int = 1
    exchange_denominator: int = 1
    minimum_nano: int = 0
    grace_seconds: int = 0

    def billed_seconds(self, duration_ms: int) -> int:
        """The seconds that an answered call of `duration_ms` milliseconds pays: at least the initial
        increment."""
        seconds = -(-duration_ms // 1000)
        initial = self.initial_increment
        if seconds <= initial:
            return initial
        step = self.subsequent_increment
        return initial + -(-(seconds - initial) // step) * step

    def cost_of_seconds(self, billed: int) -> int:
        """Connect fee and `billed` seconds, at least the minimum, in micro-units of the accounting currency,
        rounded up."""
        nano_seconds = self.connect_fee_nano * 60 + self.per_minute_nano * billed
        if nano_seconds < self.minimum_nano * 60:
            nano_seconds = self.minimum_nano * 60
        unit = _NANO_SECONDS_PER_MICRO_MINUTE * self.exchange_denominator
        return -(-nano_seconds * self.exchange_numerator // unit)

    def cost(self, duration_ms: int) -> int:
        """What an answered call of `duration_ms` milliseconds costs, in micro-units of the accounting
        currency."""
        return 0 if self.spares(duration_ms) else self.cost_of_seconds(self.billed_seconds(duration_ms))

    def spares(self, duration_ms: int) -> bool:
        """Whether an answered call of `duration_ms` milliseconds costs nothing, because it was within the
        grace."""
        return duration_ms <= self.grace_seconds * 1000 and self.grace_seconds > 0

    def block(self, seconds: int, elapsed_ms: int = 0) -> int:
        """Micro-units that pay a call from its answer to at least `seconds` beyond `elapsed_ms`.

        At least the initial increment, and always whole increments. What was spent already is part of it.
        """
        return self.cost(elapsed_ms + seconds * 1000)

    def paid_seconds(self, amount: int) -> int | None:
        """The longest call in whole seconds that costs at most `amount` micro-units.

        0: not even the shortest does. None: the call costs no more however long it lasts.
        """
        if self.cost_of_seconds(self.initial_increment) > amount:
            return 0
        if self.per_minute_nano == 0:
            return None
        nano_seconds = (
            amount * _NANO_SECONDS_PER_MICRO_MINUTE * self.exchange_denominator // self.exchange_numerator
        )
        affordable = (nano_seconds - self.connect_fee_nano * 60) // self.per_minute_nano
        steps = (affordable - self.initial_increment) // self.subsequent_increment
        return self.initial_increment + steps * self.subsequent_increment

    def exceeds(self, per_minute_nano: int) -> bool:
        """Whether the price of a minute is above `per_minute_nano` (10^-9 units of the accounting
        currency)."""
        return self.per_minute_nano * self.exchange_numerator > per_minute_nano * self.exchange_denominator

    def exceeds_by(self, other: Rate, margin_nano: int) -> bool:
        """Whether the price of a minute is at least `margin_nano` (10^-9 units of the accounting currency)
        above that of `other`."""
        own = self.per_minute_nano * self.exchange_numerator * other.exchange_denominator
        theirs = other.per_minute_nano * other.exchange_numerator * self.exchange_denominator
        return own - theirs >= margin_nano * self.exchange_denominator * other.exchange_denominator

    @property
    def per_minute(self) -> Fraction:
        """The price of a minute in the accounting currency, exactly."""
        return Fraction(self.per_minute_nano * self.exchange_numerator, NANO * self.exchange_denominator)

    @property
    def per_minute_text(self) -> str:
        """The price of a minute in the accounting currency as a decimal string without needless zeros."""
        return _decimal(self.per_minute_nano * self.exchange_numerator, NANO * self.exchange_denominator)


@lru_cache(maxsize=4096)
def _decimal(numerator: int, denominator: int) -> str:
    """The same for each call at a price, and written into the records of each."""
    with localcontext(Context(prec=60)):
        text = format(Decimal(numerator) / Decimal(denominator), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
