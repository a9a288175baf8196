"""The simulated provider: what becomes of a call is told by the last digits of the number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from proxy.demo.call import IncomingCall
from proxy.demo.user_agent import UserAgent
from proxy.observe.tasks import TaskKeeper

BUSY: Final = "486"
SILENT: Final = "480"
SHORT: Final = "487"

_PAUSE = 0.02
_SHORT_TALK = 0.2


class Provider:
    """Rings and answers, but for numbers that end in BUSY (refused at once), SILENT (rings until the caller
    gives up) and SHORT (answers, and hangs up first).

    `ring_seconds` says how long a call rings. `seen` counts the INVITEs that arrived here.
    """

    def __init__(self, agent: UserAgent, keeper: TaskKeeper, ring_seconds: Callable[[], float]) -> None:
        self.agent = agent
        agent.on_call = self._came_in
        self.seen = 0
        self._keeper = keeper
        self._ring_seconds = ring_seconds

    def _came_in(self, call: IncomingCall) -> None:
        self.seen += 1
        self._keeper.start(self._serve(call), name="provider call")

    async def _serve(self, call: IncomingCall) -> None:
        await asyncio.sleep(_PAUSE)
        if call.number.endswith(BUSY):
            call.refuse(486, b"Busy Here")
            return
        call.ring()
        if call.number.endswith(SILENT):
            return
        await asyncio.sleep(self._ring_seconds())
        call.answer()
        if call.number.endswith(SHORT):
            with suppress(TimeoutError):
                async with asyncio.timeout(_SHORT_TALK):
                    await call.ended.wait()
            await call.hang_up()
