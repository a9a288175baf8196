"""The simulated PBX: places calls through the proxy, talks, hangs up, gives up."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from proxy.demo.call import Outcome, OutgoingCall
from proxy.demo.user_agent import UserAgent

PATIENCE_SECONDS = 20.0


class Pbx:
    """One source of calls. `proxy` is the address that it sends them to; `up` are its calls that live or
    ring."""

    def __init__(self, agent: UserAgent, proxy: tuple[str, int]) -> None:
        self.agent = agent
        self.proxy = proxy
        self.up: set[OutgoingCall] = set()

    def dial(self, number: str) -> OutgoingCall:
        """Place a call; somebody else follows it."""
        return self.agent.call(number, self.proxy)

    async def talk(self, call: OutgoingCall, seconds: float, patience: float = PATIENCE_SECONDS) -> Outcome:
        """Wait for the answer at most `patience` seconds, then give up; talk for `seconds`, unless the far
        end hangs up sooner; hang up."""
        self.up.add(call)
        try:
            try:
                async with asyncio.timeout(patience):
                    outcome = await call.outcome()
            except TimeoutError:
                call.cancel()
                outcome = await call.outcome()
            if call.dialog is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await call.ended.wait()
                await call.hang_up()
            return outcome
        finally:
            self.up.discard(call)

    async def hang_up_all(self) -> None:
        """End every call now: BYE to those that are answered, CANCEL to those that ring."""
        for call in list(self.up):
            if call.dialog is None:
                call.cancel()
        await asyncio.gather(*(call.hang_up() for call in list(self.up)))
