"""Outplans: how often and for how long the destinations of a call that is created over HTTP are tried."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from config.values import Name, integer, one_of

MOST_TRIES = 100
_DAY_MS = 86_400_000
_SHORT_MS = 1000


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


Text = Annotated[str, Field(max_length=255)]
Milliseconds = Annotated[int, integer(0, _DAY_MS, " milliseconds")]
Tries = Annotated[int, integer(0, MOST_TRIES)]


class OutplanSource(_Section):
    """Who calls: a number (`tel`) or a SIP address."""

    type: Annotated[Literal["tel", "sip"], one_of("tel", "sip")] = "tel"
    target: Text
    target_name: Text = ""
    name: Text = ""
    detail: Text = ""


class OutplanConfig(_Section):
    """How destinations are tried. `dial_timeout`: how long one may ring; `try_interval`: from one try to the
    next, of which the first is exempt; both in milliseconds. `max_try_count_N`: how often the destination of
    index N is tried; 0: not at all."""

    name: Name
    account: Name | None = None
    detail: Text = ""
    source: OutplanSource | None = None
    dial_timeout: Milliseconds = 30_000
    try_interval: Milliseconds = 60_000
    max_try_count_0: Tries = 0
    max_try_count_1: Tries = 0
    max_try_count_2: Tries = 0
    max_try_count_3: Tries = 0
    max_try_count_4: Tries = 0

    def short_times(self) -> list[str]:
        """The times below a second: probably seconds were meant."""
        times = {"dial_timeout": self.dial_timeout, "try_interval": self.try_interval}
        return [key for key, value in times.items() if 0 < value < _SHORT_MS]
