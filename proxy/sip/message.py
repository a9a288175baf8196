"""SIP messages as the proxy holds them: header lines kept byte for byte, with the few fields that routing
reads.

A header is kept as its raw line, so that whatever the proxy does not touch leaves as it came.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from proxy.sip.uri import SipUri


class Flow(NamedTuple):
    """The way a message came, and the way its answer goes back.

    `local` is our own address (the listener's; of one on all addresses the one that the peer spoke to, or its
    own where the system chooses), `remote` the peer's; `connection` tells stream connections apart
    (0: UDP).
    """

    transport: str
    local: tuple[str, int]
    remote: tuple[str, int]
    connection: int = 0

    @property
    def hurried(self) -> bool:
        """Whether this is a mere try of TCP."""
        return self.connection == HURRIED and self.transport == "tcp"


HURRIED: Final = -1
"""The `connection` of a TCP flow that is a mere try: when it is not open at once, another way is taken."""

Header = tuple[bytes, bytes]
"""(full lower-case name, compact forms expanded; the raw line without its final CRLF, folds and all)."""


class Via:
    """The topmost Via, as far as the proxy needs it.

    raw: the value as it stands in the header, without surrounding whitespace. host: in lower case, an IPv6
    address with its brackets. port: None when absent. branch: b"" when absent. rport: None when absent, 0
    when present without a value. rest: what follows the value's comma in the same header line, b"" when it
    stands alone.
    """

    __slots__ = ("branch", "host", "port", "raw", "received", "rest", "rport", "transport")

    def __init__(
        self,
        raw: bytes,
        transport: bytes,
        host: bytes,
        port: int | None,
        branch: bytes,
        rport: int | None,
        received: bytes | None,
        rest: bytes = b"",
    ) -> None:
        self.raw = raw
        self.transport = transport
        self.host = host
        self.port = port
        self.branch = branch
        self.rport = rport
        self.received = received
        self.rest = rest


def unfold(value: bytes) -> bytes:
    """A header value on one line (RFC 3261 §7.3.1): each fold becomes one space."""
    if b"\n" in value or b"\r" in value:
        value = b" ".join(part.strip(b" \t") for part in value.splitlines())
    return value.strip(b" \t")


class SipMessage:
    """What requests and responses share.

    start: the start line as it stood. headers: in their order; `via_index` is the place of the topmost Via.
    Tags are b"" where absent. body: as many bytes as Content-Length says; `has_length`: whether there is one.
    """

    __slots__ = (
        "body", "call_id", "cseq", "cseq_method", "flow", "from_tag", "has_length",
        "headers", "start", "to_tag", "via", "via_index",
    )  # fmt: skip

    start: bytes
    headers: list[Header]
    body: bytes
    has_length: bool
    via: Via
    via_index: int
    from_tag: bytes
    to_tag: bytes
    call_id: bytes
    cseq: int
    cseq_method: bytes
    flow: Flow

    def first(self, name: bytes) -> bytes | None:
        """The value of the first header called `name` (full, lower case), unfolded; None when there is
        none."""
        for key, line in self.headers:
            if key == name:
                return unfold(line[line.index(b":") + 1 :])
        return None

    def all(self, name: bytes) -> list[bytes]:
        """The values of every header line called `name`, unfolded, in order; lists are not split at
        commas."""
        return [unfold(line[line.index(b":") + 1 :]) for key, line in self.headers if key == name]


class SipRequest(SipMessage):
    """A request. `uri` is the Request-URI as it stood, `parsed_uri` the same taken apart; `max_forwards` is
    None when the header is absent; `key` is what the stack matches it by (see `parse.server_key`)."""

    __slots__ = ("key", "max_forwards", "method", "parsed_uri", "uri")

    method: bytes
    uri: bytes
    parsed_uri: SipUri
    max_forwards: int | None
    key: tuple[bytes, bytes, bytes, int, str]


class SipResponse(SipMessage):
    """A response. `reason` is the phrase."""

    __slots__ = ("reason", "status")

    status: int
    reason: bytes
