"""Waiting with a limit: every wait of these tests ends at a condition, or fails at a stated time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from proxy.observe.clock import utc_now

T = TypeVar("T")

POLL_SECONDS = 0.02
# As the kernel writes them: TCP_LISTEN; TCP_ESTABLISHED and TCP_CLOSE_WAIT.
_LISTENING = "0A"
_HELD = ("01", "08")


def eventually(read: Callable[[], T], limit: float = 20.0, what: str = "the condition") -> T:
    """The first true value of `read`. Raises AssertionError after `limit` seconds, with the last value: read
    once more when the time is over, since a machine that stood still has read nothing meanwhile."""
    deadline = time.monotonic() + limit
    while True:
        late = time.monotonic() > deadline
        value = read()
        if value:
            return value
        if late:
            raise AssertionError(f"{what} did not come within {limit} s; last seen: {value!r}")
        time.sleep(POLL_SECONDS)


def keep_clear_of_midnight(seconds: float) -> None:
    """Go on when the day (UTC) lasts so long yet, else in the next one: what is counted by the day must not
    be spent in one and looked at in another."""
    left = 86_400 - utc_now().timestamp() % 86_400
    if left < seconds:
        time.sleep(left + 1.0)


def socket_is_bound(transport: str, host: str, port: int) -> bool:
    """Whether some process has bound this IPv4 address and port (`udp`), or listens there (`tcp`)."""
    wanted = {_address(host, port), _address("0.0.0.0", port)}
    return any(row[1] in wanted and (transport == "udp" or row[3] == _LISTENING) for row in _rows(transport))


class Held(NamedTuple):
    """One connection at the program's end: whether it has been accepted, and the bytes that wait to be
    read."""

    accepted: bool
    unread: int


def connections_at(listener: tuple[str, int]) -> list[Held]:
    """The connections that came to this listener and that the program has not closed.

    The address counts as well as the port: a peer's end may have the same port by chance.
    """
    wanted = _address(*listener)
    return [
        Held(row[9] != "0", int(row[4].partition(":")[2], 16))  # what nobody has accepted has no inode
        for row in _rows("tcp")
        if row[1] == wanted and row[3] in _HELD
    ]


def _rows(transport: str) -> list[list[str]]:
    return [row.split() for row in Path(f"/proc/net/{transport}").read_text().splitlines()[1:]]


def _address(host: str, port: int) -> str:
    raw = bytes(int(part) for part in host.split("."))
    return f"{raw[::-1].hex().upper()}:{port:04X}"
