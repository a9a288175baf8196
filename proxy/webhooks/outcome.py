"""Outcome: what became of a try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a try. `detail` says it in words. `status` None: nobody answered. `refused`: it leads to
    an address that nothing is sent to. `gone`: who was told wants no more. `retry_after`: seconds that the
    answer asks for."""

    ok: bool
    detail: str
    status: int | None = None
    refused: bool = False
    gone: bool = False
    retry_after: int = 0
