"""What a token looks like, and what proves that somebody has it."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

from proxy.admin.access.identity import SCOPES, Identity
from proxy.ledger.tokens import StoredToken

ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
_SHAPE = re.compile(r"tw_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
# Nobody has it; a token that is not found is compared with it, so that it takes as long.
_NOBODY = sha256(b"").hexdigest()


def issue(
    name: str,
    scopes: tuple[str, ...],
    account: str | None,
    *,
    account_id: str | None = None,
    by: str,
    at: str,
    token_id: bytes,
    secret: bytes,
) -> tuple[str, StoredToken]:
    """A new token, to be shown once, and what is kept of it.

    `account_id` is the id of the account that is called `account`, `token_id` are ID_BYTES and `secret`
    SECRET_BYTES random bytes. A plain SHA-256 is kept: what makes the hashes of passwords slow is that
    passwords can be guessed, and 256 random bits cannot.
    """
    text = f"tw_{token_id.hex()}_{urlsafe_b64encode(secret).rstrip(b'=').decode()}"
    return text, StoredToken(token_id.hex(), name, digest_of(text), scopes, account, at, by, account_id)


def digest_of(token: str) -> str:
    """What is kept in place of a token."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def id_of(token: str) -> str | None:
    """The id in a token of ours; None for what cannot be one."""
    found = _SHAPE.fullmatch(token)
    return None if found is None else found[1]


def identity_from(token: str, stored: StoredToken | None) -> Identity | None:
    """Who has shown `token`, where `stored` is what is kept under its id. In constant time."""
    same = hmac.compare_digest(digest_of(token), _NOBODY if stored is None else stored.digest)
    if stored is None or not same:
        return None
    return Identity(stored.name, frozenset(stored.scopes) & frozenset(SCOPES), stored.account, stored.id)


def mistakes_in(scopes: tuple[str, ...], account: str | None) -> str | None:
    """Why there can be no token with these scopes for this account."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        return f"no such scope: `{unknown[0]}`; there are {', '.join(SCOPES)}"
    if not scopes:
        return f"a token needs a scope: {', '.join(SCOPES)}"
    if account is not None and "admin" in scopes:
        return "a token for one account cannot have the scope `admin`, which is for all accounts"
    return None
