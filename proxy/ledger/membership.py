"""Which ledger this is: its epoch, and what this instance does when an epoch ends.

The epoch is a name that the ledger carries and every reservation repeats. It is gone when somebody emptied
the server, and void when the server was started anew or another one took its place: in all these cases what
was written last may be lost. Then nothing is reserved until every instance that lives has told its calls.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final, cast

from proxy.ledger.keys import Keys
from proxy.ledger.ledger import Concerns, LedgerUnavailable, Restore, everything
from proxy.ledger.requests import Requests
from proxy.observe.tasks import TaskKeeper

BEAT_SECONDS: Final = 1.0
AWAITED_SECONDS: Final = 2.0  # how long the others are waited for once a rebuild began
_PAUSE: Final = 0.05
_FLOORS_AT_ONCE: Final = 100

_log = logging.getLogger(__name__)


async def _nothing(_: bool, __: Concerns) -> None:
    pass


class Membership:
    """This instance's part in it. `epoch` is None while nothing may be reserved.

    `repeat` sends again what was settled last, `forget` gives that up, and `confirmed` is told while there is
    no need to; `seen` is what scopes had spent when last looked at: id → (window, micro-units).
    """

    def __init__(
        self,
        requests: Requests,
        owner: str,
        keeper: TaskKeeper,
        keys: Keys,
        *,
        repeat: Callable[[], None],
        confirmed: Callable[[], None],
        forget: Callable[[], None],
    ) -> None:
        self._requests = requests
        self._keys = keys
        self._owner = owner.encode()
        self._keeper = keeper
        self._repeat = repeat
        self._confirmed = confirmed
        self._forget = forget
        self.restore: Restore = _nothing
        self.epoch: bytes | None = None
        self.seen: dict[bytes, tuple[bytes, int]] = {}
        self._last = b""
        self._others: list[bytes] = []
        self._look = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join for the first time, then keep in touch. Raises LedgerUnavailable."""
        await self._beat()
        self._keeping = self._keeper.start(self._keep(), name="ledger epoch")

    def suspect(self) -> None:
        """The ledger may have become another: look at once. Nothing is reserved before that is known."""
        self.epoch = None
        self._look.set()

    def look(self) -> None:
        """Something was not as expected: see now whether the ledger is still the same."""
        self._look.set()

    async def leave(self) -> None:
        """Nobody need wait for this instance any more."""
        if self._keeping is not None:
            self._keeping.cancel()  # no sign of life after this
            await self._requests.plain("leave", b"ZREM", self._keys.instances, self._owner)

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            try:
                await self._beat()
            except LedgerUnavailable:
                # Whether it is still the same one is asked when it is back.
                await asyncio.sleep(_PAUSE)
            except Exception:  # without an epoch every call would be refused for ever
                _log.exception("joining the ledger failed; it goes on")

    async def _beat(self) -> None:
        """One sign of life; a whole rebuild when it turns out that one is due."""
        told = b""
        while True:
            arguments = (
                self._owner,
                self._requests.link.run_id,
                secrets.token_hex(8).encode(),
                told,
                b"%d" % int(AWAITED_SECONDS * 1000),
                *self._others,
            )
            names = (self._keys.clock, self._keys.epoch, self._keys.instances)
            answer = cast("list[bytes]", await self._requests.script("join", names, arguments))
            open_, epoch, emptied, *others = answer
            if open_:
                self._others = others
                if epoch != self._last and self._last and told != epoch:
                    # It was rebuilt while this instance was out of reach.
                    _log.warning("the ledger was rebuilt meanwhile: telling it the live calls")
                    # Of an emptied one the others remembered the sums, with what this instance had moved:
                    # told when the next epoch ends, that would count twice.
                    if emptied:
                        self._forget()
                    else:
                        self._repeat()
                    await self.restore(bool(emptied), everything)
                self._confirmed()
                self.epoch = self._last = epoch
                return
            self.epoch = None
            if told != epoch:
                if self._last:
                    _log.warning("the ledger may have lost data: rebuilding it from the live calls")
                await self._tell(epoch)
                told = epoch
            else:
                await asyncio.sleep(_PAUSE)

    async def _tell(self, epoch: bytes) -> None:
        self._repeat()
        await self.restore(False, everything)
        fields = [(window, scope, b"%d" % spent) for scope, (window, spent) in self.seen.items() if spent > 0]
        for at in range(0, len(fields), _FLOORS_AT_ONCE):
            flat = [part for field in fields[at : at + _FLOORS_AT_ONCE] for part in field]
            await self._requests.script("floors", (self._keys.clock, self._keys.epoch), [epoch, *flat])
