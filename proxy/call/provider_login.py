"""Challenges of providers, answered with the credentials that they gave us (RFC 3261 §22.2 and §22.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from policy.digest import response as digest_response
from proxy.sip.authentication import challenges, credentials_value
from proxy.sip.headers import header_line
from proxy.sip.message import Header, SipResponse

if TYPE_CHECKING:
    from policy.compiled import Provider
    from proxy.sip.serialize import OutgoingRequest

MOST_ANSWERS: Final = 2
"""Challenges that are answered for one request: a second one says that the first nonce was stale."""

_HEADERS: Final = {
    401: (b"www-authenticate", b"Authorization"),
    407: (b"proxy-authenticate", b"Proxy-Authorization"),
}
CHALLENGES: Final = frozenset(_HEADERS)
"""Statuses that may ask for credentials."""
_FIRST: Final = b"00000001"


class Brancher(Protocol):
    """Who has what nobody can guess."""

    def branch(self) -> bytes:
        """A fresh branch."""
        ...


def answer_challenge(
    core: Brancher, provider: Provider | None, response: SipResponse, asked: OutgoingRequest, answered: int
) -> Header | None:
    """The header that answers the challenge in `response` to the request `asked`, which was sent with
    `answered` answers before. None where there is nothing to answer with: credentials go to the provider and
    the realm that they are for, and to no other."""
    login = None if provider is None else provider.login
    names = _HEADERS.get(response.status)
    if login is None or names is None or answered >= MOST_ANSWERS:
        return None
    for challenge in challenges(response, names[0], login.ha1s):
        if challenge.realm != login.realm.encode() or (answered and not challenge.stale):
            continue
        qop = b"auth" if b"auth" in challenge.qops else b"".join(challenge.qops[:1])
        cnonce = core.branch()[-24:] if qop else b""
        count = _FIRST if qop else b""
        result = digest_response(
            challenge.algorithm,
            login.ha1s[challenge.algorithm],
            asked.method,
            asked.uri,
            challenge.nonce,
            asked.body,
            qop,
            count,
            cnonce,
        )
        value = credentials_value(login.username, challenge, asked.uri, result, qop, count, cnonce)
        return header_line(names[1], value)
    return None


def number_of(request: OutgoingRequest) -> int:
    """The CSeq under which a request was sent."""
    line = next(line for name, line in request.headers if name == b"cseq")
    return int(line.partition(b":")[2].split(None, 1)[0])


def with_login(request: OutgoingRequest, line: Header, number: int) -> None:
    """Put credentials and the CSeq `number` on a request: one that is answered for takes the next (RFC 3261
    §22.2)."""
    renumbered_as(request, number)
    request.headers.append(line)


def renumbered_as(request: OutgoingRequest, number: int) -> None:
    """Give the request the CSeq `number`."""
    own = (b"cseq", b"CSeq: %d %b" % (number, request.method))
    request.headers = [own if header[0] == b"cseq" else header for header in request.headers]
