"""What can be wrong with bytes that claim to be SIP, and which status says so."""

from __future__ import annotations

from typing import Final

CAUSES: Final = frozenset(
    {
        "body",  # fewer bytes of body than Content-Length says
        "call_id",  # absent, twice, or not a Call-ID
        "content_length",  # not a number, out of range, or several that disagree
        "cseq",  # absent, twice, not a number below 2**31, or of another method than the request
        "encoding",  # NUL, bare CR or bare LF in the head
        "from",  # absent, twice, or not an address
        "header",  # a line that is no header
        "max_forwards",  # not a number from 0 to 255
        "not_sip",  # nothing that looks like a SIP message
        "route",  # a Route that is no list of addresses in angle brackets
        "size",  # too large a head, or too many headers
        "start_line",  # a request line or status line with wrong parts or spaces
        "to",  # absent, twice, or not an address
        "uri",  # a Request-URI that breaks its scheme's grammar
        "uri_length",  # a Request-URI that is too long
        "version",  # a version other than SIP/2.0
        "via",  # absent, or a topmost value that is no Via
    }
)
"""The closed set of labels that `trunkwarden_sip_malformed_total{cause}` can have."""

PHRASES: Final[dict[int, bytes]] = {
    400: b"Bad Request",
    414: b"Request-URI Too Long",
    505: b"Version Not Supported",
    513: b"Message Too Large",
}
"""Reason phrases of the statuses that a ParseError can ask for (RFC 3261 §21.4, §21.5)."""


class UriError(ValueError):
    """The bytes break the grammar of the URI scheme that they name (RFC 3261 §19.1, RFC 3966)."""


class HeaderError(ValueError):
    """A header's value breaks the grammar of that header (RFC 3261 §25.1)."""


class ParseError(ValueError):
    """The sender's fault: bytes that are no well-formed SIP message.

    `cause` is one of CAUSES; `status` is the answer that a request in this state deserves: 400, 414, 505 or
    513.
    """

    def __init__(self, cause: str, status: int = 400) -> None:
        super().__init__(cause)
        self.cause = cause
        self.status = status
