"""What was changed and what was refused over HTTP: on three streams of the ledger, so that neither
strangers who are refused nor customers who end calls can push changes out."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from proxy.admin.access.identity import Identity
from proxy.ledger.ledger import LedgerUnavailable
from proxy.observe.logs import Sampler
from proxy.observe.tasks import TaskKeeper

_log = logging.getLogger(__name__)

CHANGES: Final = "audit"
CUSTOMERS: Final = "audit-customers"
TURNED_AWAY: Final = "turned-away"
STREAMS: Final = (CHANGES, CUSTOMERS, TURNED_AWAY)
"""Changes, and what operators were refused; calls that tokens of one account have ended, as often as they
like, and what those were refused; what strangers were refused."""
MOST_WAITING: Final = 1000
_LONGEST_PATH: Final = 200
_PERIOD: Final = 60.0

Append = Callable[[str, list[bytes]], Awaitable[None]]


def entry(at: str, who: str, action: str, **more: object) -> bytes:
    """A line of the audit; what is None is left out."""
    fields = {"at": at, "who": who, "action": action, **more}
    known = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(known, separators=(",", ":")).encode("ascii")


class Audit:
    """Writes behind the answer: an entry that cannot be written is told in the log and delays nobody."""

    def __init__(self, append: Append, tasks: TaskKeeper, clock: Callable[[], str]) -> None:
        """`append(stream, lines)` may raise LedgerUnavailable; `clock` gives RFC 3339."""
        self._append = append
        self._tasks = tasks
        self._clock = clock
        self._strangers = Sampler(burst=3, period=_PERIOD)
        self._known = Sampler(burst=20, period=_PERIOD)
        self._waiting = 0

    def changed(self, who: Identity, source: str, method: str, path: str, status: int) -> None:
        """Somebody has changed something, or ended calls."""
        stream = CUSTOMERS if who.account is not None and path.startswith("/v1/calls") else CHANGES
        self._write(stream, who, source, method, path, status, None)

    def refused(
        self, who: Identity | None, source: str, method: str, path: str, status: int, now: float
    ) -> None:
        """Somebody was not let in, or may not do this. Only samples are kept, each with how many there were
        since the last one in `more`. `now` is in monotonic seconds."""
        more = self._strangers.admit(source, now) if who is None else self._known.admit(who.name, now)
        if more is not None:
            known = CHANGES if who is None or who.account is None else CUSTOMERS
            stream = TURNED_AWAY if who is None else known
            self._write(stream, who, source, method, path, status, more or None)

    def _write(
        self,
        stream: str,
        who: Identity | None,
        source: str,
        method: str,
        path: str,
        status: int,
        more: int | None,
    ) -> None:
        if self._waiting >= MOST_WAITING:
            _log.warning("audit: too much waits for the ledger, an entry is given up")
            return
        line = entry(
            self._clock(),
            "" if who is None else who.name,
            f"{method[:16]} {path[:_LONGEST_PATH]}",
            token=None if who is None else who.token,
            account=None if who is None else who.account,
            source=source,
            status=status,
            more=more,
        )
        self._waiting += 1
        self._tasks.start(self._send(stream, line), name="admin.audit")

    async def _send(self, stream: str, line: bytes) -> None:
        try:
            await self._append(stream, [line])
        except LedgerUnavailable as error:
            _log.warning("audit: %s is not kept: %s", line.decode("ascii"), error)
        finally:
            self._waiting -= 1


def merged(streams: Iterable[list[bytes]], limit: int) -> list[dict[str, Any]]:
    """Entries of several streams, each newest first, as one."""
    found = []
    for line in (line for lines in streams for line in lines):
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict):
            found.append(fields)
    found.sort(key=lambda fields: str(fields.get("at", "")), reverse=True)
    return found[:limit]
