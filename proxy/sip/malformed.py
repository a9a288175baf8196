"""Answers to requests that cannot be parsed: what can be read of them is enough, or there is none."""

from __future__ import annotations

import re
import zlib
from typing import Final

from proxy.sip.errors import PHRASES, ParseError
from proxy.sip.grammar import HOST, TOKEN
from proxy.sip.headers import NAMES
from proxy.sip.message import Flow, SipRequest
from proxy.sip.via import DEFAULT_PORT, RELIABLE

MOST_AMPLIFICATION: Final = 1.5
"""Bytes out for each byte in, at most: whoever forges a source gains nothing by us."""

_ECHOED: Final = (b"from", b"to", b"call-id", b"cseq")
_LONGEST: Final = 65535

# sent-protocol LWS sent-by of any version, and what the sender wrote of its own source
_SENT_BY: Final = re.compile(
    rb"(?i:SIP)[ \t]*+/[ \t]*+[0-9.]++[ \t]*+/[ \t]*+[^\s/;,]++[ \t]++("
    + HOST
    + rb")(?:[ \t]*+:[ \t]*+([0-9]{1,5}+))?+"
)
_RECEIVED: Final = re.compile(rb";[ \t]*+received[ \t]*+=[^;,]*+", re.IGNORECASE)
_RPORT: Final = re.compile(rb";[ \t]*+rport[ \t]*+(?:=[ \t]*+[0-9]*+[ \t]*+)?+(?=[;,]|\Z)", re.IGNORECASE)
_HAS_TAG: Final = re.compile(rb";[ \t]*+tag[ \t]*+=", re.IGNORECASE)


def error_response(data: bytes, flow: Flow, error: ParseError) -> tuple[bytes, Flow] | None:
    """The stateless answer that `error` asks for, and its way. None for responses, for ACK, for what is no
    request, without a usable Via, and where the answer would be large beside the request."""
    head = data[:_LONGEST].lstrip(b"\r\n").partition(b"\r\n\r\n")[0]
    lines = head.split(b"\r\n")
    start = lines[0]
    method = start.partition(b" ")[0]
    upper = start.upper()
    if method == b"ACK" or b"SIP/" not in upper or upper[:4] == b"SIP/" or TOKEN.fullmatch(method) is None:
        return None
    found = _echo(lines)
    vias = found.pop(b"via", None)
    if vias is None:
        return None
    top = _mark(vias[0], flow)
    if top is None:
        return None
    via_line, port = top
    out = [b"SIP/2.0 %d %b" % (error.status, PHRASES[error.status]), via_line, *vias[1:]]
    for name in _ECHOED:
        if name in found:
            line = found[name][0]
            if name == b"to" and _HAS_TAG.search(line) is None:
                line += b";tag=%08x" % zlib.crc32(head)
            out.append(line)
    out.append(b"Content-Length: 0\r\n\r\n")
    answer = b"\r\n".join(out)
    if len(answer) > MOST_AMPLIFICATION * len(data):
        return None
    if port is None or flow.transport in RELIABLE:
        return answer, flow
    return answer, Flow(flow.transport, flow.local, (flow.remote[0], port), flow.connection)


def amplifies(answer: bytes, request: SipRequest) -> bool:
    """Whether `answer` is so large beside the request that it shall not go to a sender who may be forged."""
    size = len(request.start) + len(request.body) + 4 + sum(len(line) + 2 for _, line in request.headers)
    if request.via.received is not None:
        # What we wrote into the topmost Via ourselves, at most.
        size -= len(b";received=") + len(request.via.received) + len(b"=65535")
    return len(answer) > MOST_AMPLIFICATION * size


def _echo(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """Via lines, and the first of each other header that a response repeats, unfolded. Lines with a bare CR
    or LF or with NUL are left out."""
    found: dict[bytes, list[list[bytes]]] = {}
    parts: list[bytes] | None = None
    for line in lines[1:]:
        usable = b"\n" not in line and b"\r" not in line and b"\0" not in line
        if line[:1] in (b" ", b"\t"):
            if parts is not None and usable:
                parts.append(line.strip(b" \t"))
            continue
        parts = None
        name = line.partition(b":")[0].rstrip(b" \t").lower()
        name = NAMES.get(name, name)
        if usable and (name == b"via" or (name in _ECHOED and name not in found)):
            parts = [line]
            found.setdefault(name, []).append(parts)
    return {name: [b" ".join(line) for line in found_lines] for name, found_lines in found.items()}


def _mark(line: bytes, flow: Flow) -> tuple[bytes, int | None] | None:
    """(the topmost Via line with the packet's source in it, port to answer to or None for the source's)."""
    match = _SENT_BY.search(line)
    if match is None:
        return None
    end = match.end()
    rest, asked = _RPORT.subn(b"", line[end:], 1)
    rest = _RECEIVED.sub(b"", rest, 1)
    mark = b";received=" + flow.remote[0].partition("%")[0].encode("ascii", "replace")
    if asked:
        return line[:end] + mark + b";rport=%d" % flow.remote[1] + rest, None
    port = int(match.group(2) or DEFAULT_PORT)
    return line[:end] + mark + rest, port if 0 < port < 65536 else None
