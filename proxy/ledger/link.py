"""The way to the server, kept open: fails fast while it is down, comes back by itself."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from proxy.ledger.connection import Command, PipelinedConnection
from proxy.ledger.endpoint import Endpoint
from proxy.ledger.ledger import LedgerObserver, LedgerRefused, LedgerUnavailable
from proxy.observe.tasks import TaskKeeper

FIRST_PAUSE = 0.05  # seconds between tries, doubled each time
LONGEST_PAUSE = 1.0
MOST_PENDING = 20_000  # commands without a reply; more are refused at once

_log = logging.getLogger(__name__)


class Link:
    """At most one PipelinedConnection at a time. `on_up` is called whenever one was made, the first
    included."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        deadline: float,
        keeper: TaskKeeper,
        observer: LedgerObserver,
    ) -> None:
        self.endpoint = endpoint
        self._deadline = deadline
        self._keeper = keeper
        self._observer = observer
        self.on_up: Callable[[], None] = lambda: None
        self._connection: PipelinedConnection | None = None
        self._down_kind = "connection"
        self._closed = False
        self.connections_made = 0
        self.up_since = 0.0

    @property
    def run_id(self) -> bytes:
        """Names the run of the server: another one after each of its starts."""
        return self.endpoint.run_id

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def open(self, patience: float) -> None:
        """Connect for the first time, trying for `patience` seconds. Raises LedgerUnavailable or
        LedgerRefused."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        pause = FIRST_PAUSE
        while True:
            try:
                await self._connect()
                return
            except LedgerUnavailable as error:
                if error.kind == "noauth" or loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    def submit(self, command: Command) -> None:
        """Send a command, with the next flush or within LINGER_SECONDS. Raises LedgerUnavailable at once
        while there is no connection, or too much is under way."""
        connection = self._connection
        if connection is None:
            self._observer.ledger_error(self._down_kind)
            raise LedgerUnavailable(self._down_kind, f"ledger {self.endpoint.shown} is away", sent=False)
        if len(connection) >= MOST_PENDING:
            self._observer.ledger_error("busy")
            raise LedgerUnavailable(
                "busy", f"{MOST_PENDING} commands wait for the ledger already", sent=False
            )
        connection.send(command)

    def flush(self) -> None:
        """Write what was sent now."""
        if self._connection is not None:
            self._connection.flush()

    def flush_soon(self) -> None:
        """Write it at the end of this turn."""
        if self._connection is not None:
            self._connection.flush_soon()

    def close(self) -> None:
        """Disconnect and stay so."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()

    async def _connect(self) -> None:
        opened = await self.endpoint.open()
        self._connection = PipelinedConnection(
            opened,
            deadline=self._deadline,
            on_lost=self._lost,
            on_reply=self._observer.ledger_seconds,
            moves=self.endpoint.topology.moves,
        )
        self.connections_made += 1
        self.up_since = asyncio.get_running_loop().time()
        self.on_up()

    def _lost(self, connection: PipelinedConnection, kind: str) -> None:
        self._connection = None
        self._down_kind = kind
        if not self._closed:
            _log.warning("ledger %s lost (%s), reconnecting", self.endpoint.shown, kind)
            self._keeper.start(self._reconnect(), name="ledger-reconnect")

    async def _reconnect(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed:
            try:
                await self._connect()
            except LedgerUnavailable as error:
                self._down_kind = error.kind
            except LedgerRefused as error:
                _log.error("ledger %s: %s", self.endpoint.shown, error)
                self._down_kind = "other"
            except Exception:
                # Whatever it was, an instance without a ledger must go on looking for it.
                _log.exception("ledger %s: connecting failed", self.endpoint.shown)
                self._down_kind = "other"
            else:
                _log.warning("ledger %s is back", self.endpoint.shown)
                return
            # Not all instances at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, pause * 2)
