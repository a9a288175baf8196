"""SIP messages as the proxy holds them: header lines kept byte for byte, with the few fields that routing reads.

A header is kept as its raw line, so that whatever the proxy does not touch leaves as it came.
"""

from __future__ import annotations

from typing import NamedTuple


class Flow(NamedTuple):
    """The way a message came, and the way its answer goes back.

    `local` is the listener's own address, `remote` the peer's; `connection` tells stream connections apart (0: UDP).
    """

    transport: str
    local: tuple[str, int]
    remote: tuple[str, int]
    connection: int = 0


Header = tuple[bytes, bytes]
"""(full lower-case name, compact forms expanded; the raw line without its final CRLF, folds and all)."""


class Via:
    """The topmost Via, as far as the proxy needs it. `rport` is None when absent, 0 when present without a value."""

    __slots__ = ("branch", "host", "port", "raw", "received", "rport", "transport")

    def __init__(
        self,
        raw: bytes,
        transport: bytes,
        host: bytes,
        port: int | None,
        branch: bytes,
        rport: int | None,
        received: bytes | None,
    ) -> None:
        self.raw = raw
        self.transport = transport
        self.host = host
        self.port = port
        self.branch = branch
        self.rport = rport
        self.received = received


def unfold(value: bytes) -> bytes:
    """A header value on one line (RFC 3261 §7.3.1): each fold becomes one space."""
    if b"\n" in value or b"\r" in value:
        value = b" ".join(part.strip(b" \t") for part in value.splitlines())
    return value.strip(b" \t")


class SipMessage:
    """What requests and responses share. Tags are b"" where absent."""

    __slots__ = ("body", "call_id", "cseq", "cseq_method", "flow", "from_tag", "headers", "to_tag", "via")

    headers: list[Header]
    body: bytes
    via: Via
    from_tag: bytes
    to_tag: bytes
    call_id: bytes
    cseq: int
    cseq_method: bytes
    flow: Flow

    def first(self, name: bytes) -> bytes | None:
        """The value of the first header called `name` (full, lower case), unfolded; None when there is none."""
        for key, line in self.headers:
            if key == name:
                return unfold(line[line.index(b":") + 1 :])
        return None

    def all(self, name: bytes) -> list[bytes]:
        """The values of every header line called `name`, unfolded, in order; lists are not split at commas."""
        return [unfold(line[line.index(b":") + 1 :]) for key, line in self.headers if key == name]


class SipRequest(SipMessage):
    """A request. `uri` is the Request-URI as it stood; `max_forwards` is None when the header is absent."""

    __slots__ = ("max_forwards", "method", "uri")

    method: bytes
    uri: bytes
    max_forwards: int | None


class SipResponse(SipMessage):
    """A response. `reason` is the phrase."""

    __slots__ = ("reason", "status")

    status: int
    reason: bytes
