"""Logging: one record is one line of JSON, whatever text a stranger managed to put into it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from proxy.observe.clock import iso

# They tell each URL that something is sent to, with whatever secret its owner has put into it.
_TALKATIVE = ("httpx", "httpcore")

LEVELS = ("debug", "info", "warning", "error", "critical")

_OWN_FIELDS = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
}


class JsonFormatter(logging.Formatter):
    """One escaped line per record: everything outside printable ASCII, CR, LF, NUL and ESC included, leaves
    as a JSON escape, so that no text can forge a second record or drive a terminal.

    Fields: `time`, `level`, `logger`, `message`, those given as `extra=`, and `error` with the traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _OWN_FIELDS and name not in fields:
                fields[name] = value
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return json.dumps(fields, ensure_ascii=True, default=_text)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send what is at or above `level` (one of LEVELS, any case) to `stream` (None: stderr) as JSON lines.

    Replaces what was configured before. An unknown level is a ValueError.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"no such log level: `{level}`; known are {', '.join(LEVELS)}")
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


class Sampler:
    """Lets the first few events of a kind through in each period and counts the rest: a flood stays short.

    At most `max_keys` kinds are told apart; while that many are fresh, all further ones share one.
    """

    __slots__ = ("_burst", "_max_keys", "_period", "_seen")

    def __init__(self, *, burst: int = 5, period: float = 10.0, max_keys: int = 256) -> None:
        """`burst` events each `period` seconds pass per key."""
        self._burst = burst
        self._period = period
        self._max_keys = max_keys
        self._seen: dict[str, list[float]] = {}

    def admit(self, key: str, now: float) -> int | None:
        """None: say nothing. Else how many events of this key were kept back since the last one that passed.

        `now` is in monotonic seconds.
        """
        entry = self._seen.get(key)
        if entry is None:
            if len(self._seen) >= self._max_keys:
                self._forget(now)
                if len(self._seen) >= self._max_keys:
                    key = ""
            entry = self._seen.setdefault(key, [now, 0.0, 0.0])
        if now - entry[0] >= self._period:
            entry[0], entry[1] = now, 0.0
        if entry[1] >= self._burst:
            entry[2] += 1
            return None
        entry[1] += 1
        kept_back, entry[2] = int(entry[2]), 0.0
        return kept_back

    def _forget(self, now: float) -> None:
        for key in [key for key, entry in self._seen.items() if now - entry[0] >= self._period]:
            del self._seen[key]
