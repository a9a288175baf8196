"""Waiting with a limit: every wait of these tests ends at a condition, or fails at a stated time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02


def eventually(read: Callable[[], T], limit: float = 5.0, what: str = "the condition") -> T:
    """The first true value of `read`. Raises AssertionError after `limit` seconds, with the last value."""
    deadline = time.monotonic() + limit
    while True:
        value = read()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {limit} s; last seen: {value!r}")
        time.sleep(POLL_SECONDS)


def udp_socket_is_bound(host: str, port: int) -> bool:
    """Whether some process has bound this IPv4 address and port, as the kernel tells."""
    raw = bytes(int(part) for part in host.split("."))
    wanted = {f"{raw[::-1].hex().upper()}:{port:04X}", f"00000000:{port:04X}"}
    rows = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(row.split()[1] in wanted for row in rows)
