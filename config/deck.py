"""One row of a rate deck, as the CSV file gives it."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

DEFAULT_CONNECT_FEE = Decimal(0)
DEFAULT_INITIAL_INCREMENT = 60
DEFAULT_SUBSEQUENT_INCREMENT = 60


class DeckRow(NamedTuple):
    """The price of calls to one prefix.

    prefix: `+` and digits; the longest prefix of the called number decides.
    destination: the name of what is called, for records; may be empty.
    rate_per_minute, connect_fee: exact, in the deck's currency, 0 or more, at most nine decimals.
    initial_increment, subsequent_increment: seconds, 1 or more.
    line: where it stands in its file, from 1; 0 when it comes from no file.
    """

    prefix: str
    destination: str
    rate_per_minute: Decimal
    connect_fee: Decimal = DEFAULT_CONNECT_FEE
    initial_increment: int = DEFAULT_INITIAL_INCREMENT
    subsequent_increment: int = DEFAULT_SUBSEQUENT_INCREMENT
    line: int = 0
