"""The tokens of the HTTP API, kept in the ledger so that all instances take and refuse the same ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, cast

from proxy.ledger.keys import WHOLE
from proxy.ledger.requests import Requests

MOST_TOKENS: Final = 10_000


class TooManyTokens(Exception):
    """There are MOST_TOKENS already."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token without its secret. `digest` is the SHA-256 of the whole token in hexadecimal digits, `account`
    what the only account that it is for was called then and `account_id` the id of that account, `created_at`
    RFC 3339, `created_by` the name of who made it."""

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    account: str | None
    created_at: str
    created_by: str
    account_id: str | None = None


class Tokens:
    """All raise LedgerUnavailable. What one call has done, the next one sees at every instance: nothing is
    cached."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def find(self, token_id: str) -> StoredToken | None:
        """The token of this id."""
        found = await self._requests.plain("tokens", b"HGET", WHOLE.tokens, token_id.encode())
        return None if found is None else _read(token_id, cast("bytes", found))

    async def every(self) -> list[StoredToken]:
        """All tokens, by name."""
        reply = await self._requests.plain("tokens", b"HGETALL", WHOLE.tokens)
        flat = cast("list[bytes]", reply)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        tokens = [_read(token_id.decode("ascii", "replace"), value) for token_id, value in pairs]
        return sorted((token for token in tokens if token is not None), key=lambda token: token.name)

    async def add(self, token: StoredToken) -> None:
        """Keep a token from now on. Raises TooManyTokens."""
        if cast("int", await self._requests.plain("tokens", b"HLEN", WHOLE.tokens)) >= MOST_TOKENS:
            raise TooManyTokens(f"there are {MOST_TOKENS} tokens already: revoke those that nobody uses")
        fields = asdict(token)
        del fields["id"]
        value = json.dumps(fields, separators=(",", ":")).encode("ascii")
        await self._requests.plain("tokens", b"HSETNX", WHOLE.tokens, token.id.encode(), value)

    async def remove(self, token_id: str) -> bool:
        """Forget a token. False: there was none."""
        return bool(await self._requests.plain("tokens", b"HDEL", WHOLE.tokens, token_id.encode()))


def _read(token_id: str, value: bytes) -> StoredToken | None:
    """None for what this program did not write: it opens nothing."""
    try:
        fields = json.loads(value)
        token = StoredToken(id=token_id, **{**fields, "scopes": tuple(fields["scopes"])})
    except (ValueError, KeyError, TypeError):
        return None
    texts = (token.name, token.digest, token.created_at, token.created_by, *token.scopes)
    of_account = (token.account, token.account_id)
    if not all(isinstance(text, str) for text in texts):
        return None
    return token if all(isinstance(text, str | None) for text in of_account) else None
