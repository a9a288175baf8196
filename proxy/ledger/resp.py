"""Commands as the bytes that the server reads (RESP 2), and its error replies as kinds of
`LedgerUnavailable`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final


class ServerError(Exception):
    """An error reply. The first word of its message is the server's error code."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


ELSEWHERE: Final = frozenset({"MOVED", "ASK", "CLUSTERDOWN", "READONLY", "MASTERDOWN"})
"""Codes of a server that has not, or no longer, what is asked for."""

_KINDS: Final = {
    "MOVED": "readonly",
    "ASK": "readonly",
    "TRYAGAIN": "readonly",
    "CLUSTERDOWN": "readonly",
    "MASTERDOWN": "readonly",
    "LOADING": "loading",
    "READONLY": "readonly",
    "MISCONF": "readonly",  # it cannot write its disk and therefore refuses writes
    "NOREPLICAS": "readonly",
    "OOM": "oom",
    "NOAUTH": "noauth",
    "NOPERM": "noauth",
    "WRONGPASS": "noauth",
    "BUSY": "busy",
    "NOSCRIPT": "script",
}


def error_kind(error: ServerError) -> str:
    """The label of an error reply, of the closed set that `LedgerUnavailable` names."""
    message = str(error)
    if "max number of clients" in message:
        return "busy"
    if "script:" in message and error.code == "ERR":
        return "script"
    return _KINDS.get(error.code, "other")


def bulk(value: bytes) -> bytes:
    """One argument."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def bulks(values: Iterable[bytes]) -> bytes:
    """Several arguments."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in values])


def command(*arguments: bytes) -> bytes:
    """A whole command."""
    return b"*%d\r\n%b" % (len(arguments), bulks(arguments))
