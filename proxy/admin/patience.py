"""Connections that ask for nothing: how many there may be, and for how long."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from proxy.admin.doorway import Doorway

SECONDS: Final = 15.0
MOST: Final = 64
CLOSING_SECONDS: Final = 1.0
"""So long a peer may take to say goodbye (TLS)."""


def patient(most: int = MOST, seconds: float = SECONDS, doorway: Doorway | None = None) -> type[H11Protocol]:
    """uvicorn's protocol, for connections on which no request is under way: new ones, those whose request
    does not arrive whole, and those that were answered. Each is closed after `seconds`; when there are more
    than `most`, the one that has been so for longest. uvicorn itself gives a request no time to arrive in,
    and counts such connections among those that it serves, so that a stranger could hold all of them.
    `doorway` is where they come from."""
    idle: dict[H11Protocol, asyncio.TimerHandle] = {}

    class Patient(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if doorway is not None:
                doorway.passed(transport.get_extra_info("socket").fileno())
            self._look()

        def connection_lost(self, exc: Exception | None) -> None:
            self._busy()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._look()

        def _look(self) -> None:
            cycle: Any = self.cycle
            if self.transport.is_closing() or (cycle is not None and not cycle.response_complete):
                self._busy()
            elif self not in idle:
                idle[self] = self.loop.call_later(seconds, self._give_up)
                if len(idle) > most:
                    next(iter(idle))._give_up()  # type: ignore[attr-defined]

        def _busy(self) -> None:
            timer = idle.pop(self, None)
            if timer is not None:
                timer.cancel()

        def _give_up(self) -> None:
            self._busy()
            self.transport.close()
            self.loop.call_later(CLOSING_SECONDS, self.transport.abort)

    return Patient
