"""Challenges and credentials in headers (RFC 3261 §22, RFC 7616 §3.3 and §3.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from proxy.sip.grammar import QUOTED, TOKEN_CHARS, WS
from proxy.sip.message import SipMessage

LONGEST: Final = 4096
"""Bytes of a header that is read at all."""

_SCHEME: Final = re.compile(rb"[Dd][Ii][Gg][Ee][Ss][Tt][ \t]++")
_PAIR: Final = re.compile(
    rb"([" + TOKEN_CHARS + rb"]++)" + WS + rb"=" + WS + rb"(?:(" + QUOTED + rb")|([^\s,\"]++))" + WS,
    re.DOTALL,
)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_NEEDS_ESCAPE: Final = re.compile(rb'(["\\])')


def digest_params(value: bytes) -> dict[bytes, bytes] | None:
    """The parameters of a Digest challenge or of Digest credentials, names in lower case, values without
    their quotes. None for another scheme, for what breaks the grammar, and where one stands twice."""
    if len(value) > LONGEST:
        return None
    start = _SCHEME.match(value)
    if start is None:
        return None
    params: dict[bytes, bytes] = {}
    position, end = start.end(), len(value)
    while True:
        match = _PAIR.match(value, position)
        if match is None:
            return None
        name = match.group(1).lower()
        quoted, plain = match.group(2), match.group(3)
        if name in params:
            return None
        params[name] = plain if quoted is None else _ESCAPED.sub(rb"\1", quoted[1:-1])
        position = match.end()
        if position == end:
            return params
        if value[position] != 0x2C:
            return None
        position += 1
        while position < end and value[position] in b" \t":
            position += 1


class Challenge(NamedTuple):
    """What a server wants proved. qops: of `auth` and `auth-int` those that it takes, in its order; none: it
    is of RFC 2069. stale: only the nonce was wrong."""

    realm: bytes
    nonce: bytes
    opaque: bytes | None
    algorithm: str
    qops: tuple[bytes, ...]
    stale: bool


def challenges(message: SipMessage, header: bytes, algorithms: Iterable[str]) -> list[Challenge]:
    """The Digest challenges in the headers called `header` that can be answered with one of `algorithms`, in
    their order, which is that of the server's preference (RFC 8760 §2.3)."""
    known = {name.upper(): name for name in algorithms}
    found = []
    for value in message.all(header):
        params = digest_params(value)
        if params is None or b"realm" not in params or not params.get(b"nonce"):
            continue
        algorithm = known.get(params.get(b"algorithm", b"MD5").decode("latin-1").upper())
        offered = [word.strip(b" \t").lower() for word in params.get(b"qop", b"").split(b",")]
        qops = tuple(qop for qop in offered if qop in (b"auth", b"auth-int"))
        if algorithm is None or (b"qop" in params and not qops):
            continue
        stale = params.get(b"stale", b"").lower() == b"true"
        challenge = Challenge(
            params[b"realm"], params[b"nonce"], params.get(b"opaque"), algorithm, qops, stale
        )
        found.append(challenge)
    return found


def challenge_lines(
    header: bytes, realm: str, nonce: bytes, algorithms: Sequence[str], stale: bool
) -> tuple[bytes, ...]:
    """One challenge for each algorithm, as whole header lines (RFC 8760 §2.4)."""
    more = b", stale=true" if stale else b""
    return tuple(
        b'%b: Digest realm="%b", nonce="%b", qop="auth,auth-int", algorithm=%b%b'
        % (header, escaped(realm.encode()), nonce, algorithm.encode(), more)
        for algorithm in algorithms
    )


def credentials_value(
    username: str, challenge: Challenge, uri: bytes, response: bytes, qop: bytes, count: bytes, cnonce: bytes
) -> bytes:
    """The value of Authorization or Proxy-Authorization that answers `challenge`."""
    parts = [
        b'Digest username="%b"' % escaped(username.encode()),
        b'realm="%b"' % escaped(challenge.realm),
        b'nonce="%b"' % escaped(challenge.nonce),
        b'uri="%b"' % uri,
        b'response="%b"' % response,
        b"algorithm=%b" % challenge.algorithm.encode(),
    ]
    if qop:
        parts += [b"qop=%b" % qop, b"nc=%b" % count, b'cnonce="%b"' % cnonce]
    if challenge.opaque is not None:
        parts.append(b'opaque="%b"' % escaped(challenge.opaque))
    return b", ".join(parts)


def escaped(text: bytes) -> bytes:
    """`text` as it may stand between quotes."""
    return _NEEDS_ESCAPE.sub(rb"\\\1", text)
