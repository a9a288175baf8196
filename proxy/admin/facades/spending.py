"""What trunks have spent, as the ledger has it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from proxy.admin.control_client import ControlClient
from proxy.admin.control_protocol import ScopeLimits, scope_of
from proxy.admin.ledger_access import LedgerAccess

_SECONDS: Final = 5.0
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Spent:
    """What one trunk has spent in its window, in micro-units, and whether its threshold leaves no room."""

    micro: int = 0
    reached: bool = False


class Spending(Protocol):
    """Where facades ask. Raises LedgerUnavailable, ControlLost and ControlError."""

    async def of(self, names: Iterable[str]) -> dict[str, Spent]:
        """Of the trunks of these names that calls are judged by; one that was just made may not be there."""
        ...


class TrunkSpending:
    """The SIP process knows the trunks' limits, the ledger what was spent."""

    def __init__(self, control: ControlClient, ledger: LedgerAccess) -> None:
        self._control = control
        self._ledger = ledger

    async def of(self, names: Iterable[str]) -> dict[str, Spent]:
        """See Spending."""
        wanted = set(names)
        if not wanted:
            return {}
        limits = await self._limits(wanted)
        used = await self._ledger.usage([scope_of(one) for one in limits]) if limits else []
        return {
            one["name"]: Spent(usage.spent, _is_reached(one["threshold"], usage.spent + usage.reserved))
            for one, usage in zip(limits, used, strict=True)
        }

    async def _limits(self, wanted: set[str]) -> list[ScopeLimits]:
        """A page asks for its trunks only: thousands of rows would be the SIP process's work."""
        if len(wanted) > _PAGE:
            known: list[ScopeLimits] = await self._control.call("trunks", within=_SECONDS)
            return [one for one in known if one["name"] in wanted]
        asked = [self._control.call("trunk", {"name": name}, within=_SECONDS) for name in wanted]
        return [one for one in await asyncio.gather(*asked) if one is not None]


def _is_reached(threshold: int | None, owed: int) -> bool:
    return threshold is not None and owed >= threshold
