"""Who is let in: from a token to an identity."""

from __future__ import annotations

import hmac
import math
from collections.abc import Awaitable, Callable
from typing import Final

from proxy.admin.access.failures import Failures
from proxy.admin.access.identity import Identity, everything
from proxy.admin.access.tokens import digest_of, id_of, identity_from
from proxy.ledger.tokens import StoredToken

CONFIGURED: Final = everything("admin.token")
LOCAL: Final = everything("loopback")
_CHALLENGE = 'Bearer realm="trunkwarden"'

Find = Callable[[str], Awaitable[StoredToken | None]]


class Denied(Exception):
    """Nobody is let in: the status and headers that say so."""

    def __init__(self, status: int, detail: str, headers: dict[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


class Door:
    """Knows the configured token, and asks the ledger for all others, so that one which is revoked is worth
    nothing at the very next request."""

    def __init__(self, token: str | None, find: Find | None) -> None:
        """Without `token` (a loopback listener) everybody is let in who shows none of the ledger's."""
        self.needs_token = token is not None
        self._digest = None if token is None else digest_of(token)
        self._find = find
        self._failures = Failures()

    async def identify(self, token: str | None, source: str, now: float) -> Identity:
        """Who has shown `token`. `source` is the peer's address, `now` in monotonic seconds. Raises Denied,
        and LedgerUnavailable where the ledger would have to know."""
        token_id = None if token is None else id_of(token)
        if self._digest is None and token_id is None:
            return LOCAL
        if token is None:
            raise _unknown("a token is needed: Authorization: Bearer …")
        digest = digest_of(token)
        wait = self._failures.wait(source, digest, now)
        if wait > 0:
            text = "too many wrong tokens came from this address"
            raise Denied(429, text, {"Retry-After": str(math.ceil(wait))})
        if self._digest is not None and hmac.compare_digest(digest, self._digest):
            identity: Identity | None = CONFIGURED
        else:
            stored = None if token_id is None or self._find is None else await self._find(token_id)
            identity = identity_from(token, stored)
        if identity is None:
            self._failures.failed(source, digest, now)
            raise _unknown("this token is not known here, or was revoked")
        self._failures.passed(source, digest)
        return identity


def _unknown(detail: str) -> Denied:
    return Denied(401, detail, {"WWW-Authenticate": _CHALLENGE})
