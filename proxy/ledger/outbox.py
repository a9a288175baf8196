"""Behind the wire: what must reach the ledger but nobody waits for. Kept until it is known to be done."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice, takewhile
from typing import Final, cast

from proxy.ledger.connection import Command
from proxy.ledger.keys import STREAM_LENGTH
from proxy.ledger.ledger import LedgerObserver, LedgerUnavailable
from proxy.ledger.link import Link
from proxy.ledger.lua import Script, script
from proxy.ledger.resp import ServerError, bulk, bulks, error_kind

WINDOW = 512  # sent and unanswered at most, so that what is awaited never stands behind a long backlog
MOST_KEPT = 100_000
MOST_RECORDS = 10_000
RECORDS_AT_ONCE = 32  # in one command: some tens of microseconds of the server's
TRIES = 8  # of something that the server keeps refusing for a reason that does not pass by itself
UNSENT = -1.0  # as a moment: that of the first sending
REPEATED_SECONDS = 5.0  # what was settled in the last seconds is settled again when the ledger lost data
PAUSE = 0.1  # seconds, doubled up to a second, after the server refused
_FENCED = 2  # the call is somebody else's: an emptied ledger could not know that, and would end it
_PASSING = frozenset({"readonly", "loading", "oom", "noauth", "busy"})

_RECORDS: Final = script("records")

_log = logging.getLogger(__name__)


class Posted:
    """One command to be done once or more often: all verbs are idempotent, but for records, which are sent
    once; `records` says how many it has.

    `at`, when given, is the monotonic time of what is told; its age in µs is added as the last argument when
    it is sent. With UNSENT it is the moment of the first sending.
    """

    __slots__ = ("at", "count", "records", "ref", "script", "tail", "tries", "verb")

    def __init__(
        self, verb: str, ref: str, script: Script | None, count: int, tail: bytes, at: float | None = None
    ) -> None:
        self.verb = verb
        self.ref = ref
        self.script = script
        self.count = count
        self.tail = tail
        self.at = at
        self.tries = 0
        self.records = 0


class Outbox:
    """The queue of such commands, in order; after a lost connection what has no answer is sent again, in
    order.

    What the server refuses for now is sent again later, past others: no two calls depend on each other, and
    of one call a settle that comes before its `answered` makes that void.
    """

    def __init__(self, link: Link, observer: LedgerObserver) -> None:
        self._link = link
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Posted] = deque()
        self._records: deque[tuple[bytes, bytes]] = deque()
        self._returned: list[Posted] = []
        self._done: deque[tuple[float, Posted]] = deque(maxlen=MOST_KEPT)
        self._flying = 0
        self._retry: asyncio.TimerHandle | None = None
        self._pause = PAUSE
        self._idle: asyncio.Future[None] | None = None
        self.records_dropped = 0
        self.lost_commands = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._records) + len(self._returned) + self._flying

    def post(self, item: Posted) -> None:
        """Queue a command and send it when that is possible."""
        if len(self._queue) >= MOST_KEPT:
            self._give_up(self._queue.popleft(), "too many are waiting")
        self._queue.append(item)
        self.pump()

    def post_records(self, stream: bytes, lines: Sequence[bytes]) -> None:
        """Queue lines for the stream with this key; the oldest are dropped when there are too many."""
        self._records.extend([(stream, line) for line in lines])
        while len(self._records) > MOST_RECORDS:
            self._records.popleft()
            self._drop_records(1)
        self.pump()

    def pump(self) -> None:
        """Send what may be sent. Called when the link is up, when a reply made room, and when something was
        posted."""
        if self._retry is not None:
            return
        if self._returned:
            self._queue.extendleft(reversed(self._returned))
            self._returned.clear()
        link = self._link
        while (self._queue or self._records) and self._flying < WINDOW and link.connected:
            item = self._queue[0] if self._queue else self._next_records()
            tail = item.tail
            if item.at is not None:
                now = self._loop.time()
                age = 0 if item.at == UNSENT else max(0, int((now - item.at) * 1_000_000))
                tail += bulk(b"%d" % age)
            try:
                link.submit(Command(item.verb, item.script, item.count, tail, self, item))
            except LedgerUnavailable:
                return
            if item.at == UNSENT:
                item.at = now
            if item.records:
                for _ in range(item.records):
                    self._records.popleft()
            else:
                self._queue.popleft()
            self._flying += 1
        if self._idle is not None and not len(self) and not self._idle.done():
            self._idle.set_result(None)

    def _next_records(self) -> Posted:
        """The lines that wait first, as far as they are for one stream and fit into one command."""
        stream = self._records[0][0]
        first = islice(self._records, RECORDS_AT_ONCE)
        lines = [line for _, line in takewhile(lambda record: record[0] == stream, first)]
        parts = (b"1", stream, b"%d" % STREAM_LENGTH, *lines)
        item = Posted("records", "", _RECORDS, 2 + len(parts), bulks(parts))
        item.records = len(lines)
        return item

    def repeat(self) -> None:
        """Send again what was settled last: a server that lost its last moments has forgotten that."""
        done = list(self._done)
        self._done.clear()
        for _, item in done:
            self.post(item)

    def forget(self) -> None:
        """What was settled last is in the ledger without our telling it again."""
        self._done.clear()

    def confirmed(self) -> None:
        """The server still has what it was told: what was settled long enough ago is safe. Not before: in an
        outage nothing is, however long it lasts."""
        before = self._loop.time() - REPEATED_SECONDS
        while self._done and self._done[0][0] <= before:
            self._done.popleft()

    async def drain(self, seconds: float) -> bool:
        """Wait until everything is done, at most `seconds`; whether it is."""
        if not len(self):
            return True
        self._idle = self._loop.create_future()
        await asyncio.wait([self._idle], timeout=seconds)
        self._idle = None
        return not len(self)

    def close(self) -> None:
        """Send nothing more. What is left is logged: leases that lapse will end those calls."""
        if self._retry is not None:
            self._retry.cancel()
        left = [item for item in (*self._returned, *self._queue) if not item.records]
        if left:
            _log.error(
                "%d commands did not reach the ledger, the first: %s %s", len(left), left[0].verb, left[0].ref
            )

    # Sink

    def replied(self, command: Command, reply: object) -> None:
        self._flying -= 1
        if isinstance(reply, ServerError):
            self._refused(command.item, reply)
        else:
            self._pause = PAUSE
            if command.verb == "settle" and reply != _FENCED:
                self._done.append((self._loop.time(), cast("Posted", command.item)))
        if self._queue or self._records or self._returned or self._idle is not None:
            self.pump()

    def lost(self, command: Command, kind: str) -> None:
        self._flying -= 1
        self._observer.ledger_error(kind)
        item = command.item
        assert isinstance(item, Posted)
        if item.records:
            self._drop_records(item.records)
        else:
            self._returned.append(item)

    def _refused(self, item: object, error: ServerError) -> None:
        assert isinstance(item, Posted)
        kind = error_kind(error)
        self._observer.ledger_error(kind)
        if item.records:
            self._drop_records(item.records)
            return
        if kind not in _PASSING:
            item.tries += 1
            if item.tries >= TRIES:
                self._give_up(item, str(error))
                return
        self._returned.append(item)
        if self._retry is None:
            self._retry = self._loop.call_later(self._pause, self._try_again)
            self._pause = min(1.0, self._pause * 2)

    def _try_again(self) -> None:
        self._retry = None
        self.pump()

    def _drop_records(self, count: int) -> None:
        self.records_dropped += count
        self._observer.ledger_error("dropped")

    def _give_up(self, item: Posted, why: str) -> None:
        self.lost_commands += 1
        self._observer.ledger_error("other")
        _log.error("%s of call %s was given up: %s", item.verb, item.ref, why)
