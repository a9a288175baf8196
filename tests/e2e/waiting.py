"""Waiting with a limit: every wait of these tests ends at a condition, or fails at a stated time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02
_LISTENING = "0A"  # TCP_LISTEN, as the kernel writes it


def eventually(read: Callable[[], T], limit: float = 20.0, what: str = "the condition") -> T:
    """The first true value of `read`. Raises AssertionError after `limit` seconds, with the last value."""
    deadline = time.monotonic() + limit
    while True:
        value = read()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {limit} s; last seen: {value!r}")
        time.sleep(POLL_SECONDS)


def socket_is_bound(transport: str, host: str, port: int) -> bool:
    """Whether some process has bound this IPv4 address and port (`udp`), or listens there (`tcp`)."""
    raw = bytes(int(part) for part in host.split("."))
    wanted = {f"{raw[::-1].hex().upper()}:{port:04X}", f"00000000:{port:04X}"}
    rows = [row.split() for row in Path(f"/proc/net/{transport}").read_text().splitlines()[1:]]
    return any(row[1] in wanted and (transport == "udp" or row[3] == _LISTENING) for row in rows)
