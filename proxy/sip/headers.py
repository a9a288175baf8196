"""Header names and the values of the few headers that a proxy reads."""

from __future__ import annotations

from typing import Final, NamedTuple

from proxy.sip.errors import HeaderError
from proxy.sip.grammar import LIST_ITEM, NAME_ADDR, PARAMETER, VIA, VIA_PLAIN
from proxy.sip.message import Header, Via

# RFC 3261 §7.3.3 and §20, with the compact forms registered since
COMPACT_FORMS: Final[dict[bytes, bytes]] = {
    b"a": b"accept-contact",
    b"b": b"referred-by",
    b"c": b"content-type",
    b"d": b"request-disposition",
    b"e": b"content-encoding",
    b"f": b"from",
    b"i": b"call-id",
    b"j": b"reject-contact",
    b"k": b"supported",
    b"l": b"content-length",
    b"m": b"contact",
    b"n": b"identity-info",
    b"o": b"event",
    b"r": b"refer-to",
    b"s": b"subject",
    b"t": b"to",
    b"u": b"allow-events",
    b"v": b"via",
    b"x": b"session-expires",
    b"y": b"identity",
}

_COMMON: Final = (
    b"Accept", b"Alert-Info", b"Allow", b"Allow-Events", b"Authorization", b"Call-ID", b"Call-Info",
    b"Contact", b"Content-Disposition", b"Content-Encoding", b"Content-Length", b"Content-Type", b"CSeq",
    b"Date", b"Diversion", b"Event", b"Expires", b"From", b"History-Info", b"Identity", b"Max-Forwards",
    b"Min-SE", b"Organization", b"P-Asserted-Identity", b"P-Preferred-Identity", b"Path", b"Privacy",
    b"Proxy-Authenticate", b"Proxy-Authorization", b"Proxy-Require", b"RAck", b"RSeq", b"Reason",
    b"Record-Route", b"Refer-To", b"Remote-Party-ID", b"Replaces", b"Require", b"Retry-After", b"Route",
    b"Server", b"Session-Expires", b"Session-ID", b"Subject", b"Supported", b"Timestamp", b"To",
    b"Unsupported", b"User-Agent", b"Via", b"Warning", b"WWW-Authenticate",
)  # fmt: skip

NAMES: Final[dict[bytes, bytes]] = {
    **{name: name.lower() for name in _COMMON},
    **{name.lower(): name.lower() for name in _COMMON},
    **COMPACT_FORMS,
    **{short.upper(): name for short, name in COMPACT_FORMS.items()},
}
"""Spellings that stand on most messages → full lower-case name. Others are lowered one by one."""

Params = tuple[tuple[bytes, bytes | None], ...]

MAX_PARAMS: Final = 64
"""Most parameters of one header value."""


class NameAddr(NamedTuple):
    """A From, To, Contact, Route or P-Asserted-Identity value. display: b"" where absent, with its quotes
    where it has them; params: of the header, not of the URI; names in lower case."""

    display: bytes
    uri: bytes
    params: Params

    def param(self, name: bytes) -> bytes | None:
        """The value of a parameter, b"" where it has none, None where it is absent."""
        for key, value in self.params:
            if key == name:
                return value or b""
        return None


def split_list(value: bytes) -> list[bytes]:
    """The values of a comma-separated header, stripped; commas in quotes and in <> do not separate. Empty
    items are kept. Total: an unbalanced rest is one item."""
    if b"," not in value:
        return [value.strip(b" \t")]
    if b'"' not in value and b"<" not in value:
        return [item.strip(b" \t") for item in value.split(b",")]
    items: list[bytes] = []
    position = 0
    end = len(value)
    while True:
        match = LIST_ITEM.match(value, position)
        stop = match.end() if match is not None else end
        if stop < end and value[stop] != 0x2C:  # an opening quote or "<" that nothing closes
            stop = end
        items.append(value[position:stop].strip(b" \t"))
        if stop >= end:
            return items
        position = stop + 1


def parse_params(raw: bytes) -> Params:
    """`;a=b;c` → ((b"a", b"b"), (b"c", None)); whitespace around `;` and `=` is allowed. Raises
    HeaderError."""
    params: list[tuple[bytes, bytes | None]] = []
    position = 0
    end = len(raw)
    while position < end:
        if len(params) == MAX_PARAMS:
            raise HeaderError("too many parameters")
        match = PARAMETER.match(raw, position)
        if match is None:
            raise HeaderError("bad parameter")
        params.append((match.group(1).lower(), match.group(2)))
        position = match.end()
    return tuple(params)


def name_addr(value: bytes) -> NameAddr:
    """Take one value apart, in either form of RFC 3261 §20.10: `"Bob" <uri>;params` or `uri;params`. Raises
    HeaderError."""
    match = NAME_ADDR.match(value)
    if match is None:
        raise HeaderError("not an address")
    quoted, words, uri, bare, params = match.groups()
    display = quoted if quoted is not None else (words or b"").strip(b" \t")
    return NameAddr(display, uri if uri is not None else bare, parse_params(params) if params else ())


def delta_seconds(value: bytes | None) -> int:
    """The seconds at the beginning of an Expires or Retry-After value, before its comment and parameters
    (RFC 3261 §20.19, §20.33); 0 where there are none, or more than nine digits."""
    text = (value or b"").split(b"(")[0].split(b";")[0].strip()
    return int(text) if text.isdigit() and len(text) < 10 else 0


def parse_via(value: bytes) -> Via:
    """The first value of an unfolded, stripped Via header (RFC 3261 §20.42, RFC 3581). Raises HeaderError."""
    match = VIA_PLAIN.match(value)
    if match is not None:
        transport, host, port_text, before, branch, after = match.groups()
        port = None if port_text is None else int(port_text)
        if (port is None or 0 < port < 65536) and (before is None or after is None):
            asked = None if before is None and after is None else 0
            return Via(value, transport, host, port, branch, asked, None)
    raw, rest = value, b""
    if b"," in value:
        raw = split_list(value)[0]
        rest = value[len(raw) :].lstrip(b" \t")[1:].lstrip(b" \t")
    match = VIA.match(raw)
    if match is None:
        raise HeaderError("not a Via")
    transport, host, port_text, params = match.groups()
    port = None
    if port_text is not None:
        port = int(port_text)
        if not 0 < port < 65536:
            raise HeaderError("port out of range")
    branch = b""
    rport: int | None = None
    received: bytes | None = None
    if params:
        for name, text in parse_params(params):
            if name == b"branch":
                if branch:
                    raise HeaderError("two branches")
                branch = text or b""
            elif name == b"rport":
                rport = int(text) if text and text.isdigit() and len(text) < 6 else 0
            elif name == b"received":
                received = text or b""
    return Via(raw, transport.upper(), host.lower(), port, branch, rport, received, rest)


def header_line(name: bytes, value: bytes) -> Header:
    """A header of our own making: `name` as it shall be written, and a value that may hold foreign bytes.
    Whatever could end the line becomes a space."""
    return (name.lower(), name + b": " + clean(value))


_CONTROLS: Final = bytes(range(32)) + b"\x7f"
_CLEANED: Final = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))


def clean(value: bytes) -> bytes:
    """The value with every control character replaced by a space, so that it can end no line and start no
    header."""
    return value.translate(_CLEANED)
