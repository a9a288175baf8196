"""Callers prove who they are: digest authentication as a proxy asks for it (RFC 3261 §22.3, RFC 7616,
RFC 8760).

What is cheap and tells nothing comes first: whether the nonce is ours, for this address, fresh and unused. So
a wrong answer counts against an address only if that address has received a challenge of ours: nobody can
have another locked out by forging its packets. Whether a user name exists can be told neither from the answer
nor from the time that it takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, NamedTuple

from policy.compiled import Policy
from policy.digest import HASHES, ha1, response
from proxy.call.nonce import NONCE_MEMORY_SECONDS, Nonces
from proxy.call.throttle import Recent, Throttle, neighbourhood
from proxy.sip.authentication import challenge_lines, digest_params
from proxy.sip.errors import UriError
from proxy.sip.message import Header, SipRequest, unfold
from proxy.sip.uri import SipUri, to_attempt_fields

SOURCE_FAILURES: Final = (10, 10.0)
"""Wrong answers of one address (IPv6: one /64) at once, and seconds for each more."""
USER_FAILURES: Final = (20, 10.0)
"""The same for one user name from all addresses but those where it was right lately."""
OUTCOMES: Final = ("challenged", "stale", "throttled", "refused", "accepted")

_MOST_USED: Final = 50_000
_COUNT: Final = re.compile(rb"[0-9a-fA-F]{8}")
_QOPS: Final = frozenset({b"auth", b"auth-int"})
# Nobody's: an unknown user costs the same work.
_NOBODY: Final[Mapping[str, bytes]] = {name: ha1(name, "", "", "") for name in HASHES}


class Proof(NamedTuple):
    """What came of looking at a request's credentials, one of OUTCOMES. `login` is proved if it is there;
    `use` then is what must never be used again: the nonce and its count."""

    outcome: str
    login: str | None = None
    use: bytes = b""


class UsedNonces:
    """What was used in the last NONCE_MEMORY_SECONDS, by this instance: bounded, and only those whose
    credentials are right can fill it."""

    __slots__ = ("_before", "_now", "_turn_at")

    def __init__(self) -> None:
        self._now: set[bytes] = set()
        self._before: set[bytes] = set()
        self._turn_at = 0.0

    def __contains__(self, use: bytes) -> bool:
        return use in self._now or use in self._before

    def add(self, use: bytes, now: float) -> None:
        """Remember it."""
        if now >= self._turn_at or len(self._now) >= _MOST_USED:
            self._before = self._now
            self._now = set()
            self._turn_at = now + NONCE_MEMORY_SECONDS
        self._now.add(use)


class Authenticator:
    """Asks for credentials and looks at them. `counts` are the outcomes so far."""

    def __init__(self, nonces: Nonces) -> None:
        self._nonces = nonces
        self._used = UsedNonces()
        self._sources = Throttle(*SOURCE_FAILURES)
        self._users = Throttle(*USER_FAILURES)
        self._recent = Recent()
        self.counts = dict.fromkeys(OUTCOMES, 0)

    def challenge(self, policy: Policy, request: SipRequest, status: int, stale: bool) -> tuple[bytes, ...]:
        """The header lines of a 407 (or 401): the same for everybody, and nothing is kept."""
        header = b"WWW-Authenticate" if status == 401 else b"Proxy-Authenticate"
        nonce = self._nonces.make(request.flow.remote[0], request.via.branch + request.call_id)
        return challenge_lines(header, policy.realm, nonce, policy.algorithms, stale)

    def examine(self, policy: Policy, request: SipRequest, status: int, now: float) -> Proof:
        """Look at the credentials that answer a challenge with `status`; a right answer is used up by
        this."""
        proof = self._examine(policy, request, status, now)
        self.counts[proof.outcome] += 1
        return proof

    def _examine(self, policy: Policy, request: SipRequest, status: int, now: float) -> Proof:
        params = _credentials(request, status, policy.realm)
        if params is None:
            return Proof("challenged")
        source = request.flow.remote[0]
        nonce = params.get(b"nonce", b"")
        use = nonce + b"." + params.get(b"nc", b"").lower()
        if not self._nonces.fresh(nonce, source) or use in self._used:
            return Proof("stale")
        username = params.get(b"username", b"")
        place = neighbourhood(source)
        user = blake2b(username, digest_size=16).digest()
        if self._sources.closed(place, now) or (
            self._users.closed(user, now) and (user, place) not in self._recent
        ):
            return Proof("throttled")
        name = username.decode("utf-8", "replace")
        if not _is_right(policy, request, params, name):
            self._sources.failed(place, now)
            self._users.failed(user, now)
            return Proof("refused")
        self._recent.add((user, place))
        self._used.add(use, now)
        return Proof("accepted", name, use)

    def misplaced(self, request: SipRequest, now: float) -> None:
        """The login was right, and has no trunk at its address: as wrong as any other."""
        self.counts["accepted"] -= 1
        self.counts["refused"] += 1
        self._sources.failed(neighbourhood(request.flow.remote[0]), now)


def without_credentials(headers: list[Header], realm: str, status: int) -> list[Header]:
    """The headers as they may go on: those that answer a challenge of ours stay here (RFC 3261 §22.3)."""
    name = _header(status)
    return [
        header for header in headers if header[0] != name or _params_of(header[1], realm.encode()) is None
    ]


def _header(status: int) -> bytes:
    return b"authorization" if status == 401 else b"proxy-authorization"


def _params_of(line: bytes, realm: bytes) -> dict[bytes, bytes] | None:
    """The parameters of credentials for our realm."""
    params = digest_params(unfold(line[line.index(b":") + 1 :]))
    return params if params is not None and params.get(b"realm") == realm else None


def _credentials(request: SipRequest, status: int, realm: str) -> dict[bytes, bytes] | None:
    """The first credentials for our realm: one answer a request is all that is looked at."""
    name = _header(status)
    for key, line in request.headers:
        if key == name:
            params = _params_of(line, realm.encode())
            if params is not None:
                return params
    return None


def _is_right(policy: Policy, request: SipRequest, params: dict[bytes, bytes], username: str) -> bool:
    """The same work is done for whoever it says it is, right or wrong."""
    named = params.get(b"algorithm", b"MD5").decode("latin-1").upper()
    algorithm = named if named in policy.algorithms else policy.algorithms[0]
    login = policy.logins.get(username)
    own = None if login is None else login.ha1s.get(algorithm)
    uri, qop = params.get(b"uri", b""), params.get(b"qop", b"").lower()
    count, cnonce = params.get(b"nc", b""), params.get(b"cnonce", b"")
    expected = response(
        algorithm,
        own or _NOBODY[algorithm],
        request.method,
        uri,
        params.get(b"nonce", b""),
        request.body,
        qop if qop in _QOPS else b"auth",
        count,
        cnonce,
    )
    right = compare_digest(expected, params.get(b"response", b"").lower())
    whole = (
        named == algorithm
        and qop in _QOPS
        and _COUNT.fullmatch(count) is not None
        and bool(cnonce)
        and b"username*" not in params
    )
    return right and whole and own is not None and _same_uri(uri, request)


def _same_uri(uri: bytes, request: SipRequest) -> bool:
    """Whether the credentials are for what is asked for: those for one number shall not pay for another."""
    if uri == request.uri:
        return True
    try:
        meant = SipUri.parse(uri)
    except UriError:
        return False
    asked = request.parsed_uri
    return (
        bool(meant.user)
        and bool(meant.host)
        and to_attempt_fields(meant)[:2] == to_attempt_fields(asked)[:2]
        and (meant.host, meant.port) == (asked.host, asked.port)
    )
