"""Plain counters of the stack, read by the metrics endpoint. No label holds anything that a sender
chooses."""

from __future__ import annotations

from typing import Final

IN: Final = "in"
OUT: Final = "out"

METHOD_KINDS: Final[dict[bytes, str]] = {
    name.encode(): name
    for name in (
        "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "UPDATE", "PRACK",
        "INFO", "REFER", "MESSAGE", "NOTIFY", "SUBSCRIBE", "PUBLISH",
    )
}  # fmt: skip
"""Methods with a label of their own; every other one counts as OTHER."""

OTHER: Final = "other"

STATUS_KINDS: Final = ("", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx")
"""Label of a response by its first digit."""


class SipCounters:
    """Counts since the start of the process.

    messages: by (direction `in` or `out`, transport, kind: a method, `other`, or `1xx` … `6xx`).
    malformed: by a cause of `errors.CAUSES`; stray: responses that belong to no client transaction of ours.
    retransmissions: by direction: `in` for what a peer repeated, `out` for what we repeated.
    """

    __slots__ = ("malformed", "messages", "retransmissions", "stray")

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str, str], int] = {}
        self.malformed: dict[str, int] = {}
        self.retransmissions: dict[str, int] = {IN: 0, OUT: 0}
        self.stray = 0

    def message(self, direction: str, transport: str, kind: str) -> None:
        """Count one message."""
        key = (direction, transport, kind)
        messages = self.messages
        messages[key] = messages.get(key, 0) + 1

    def malformation(self, cause: str) -> None:
        """Count one message that was refused by the parser."""
        self.malformed[cause] = self.malformed.get(cause, 0) + 1
