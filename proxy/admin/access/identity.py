"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fastapi import HTTPException, Request

READ: Final = "read"
WRITE: Final = "write"
CALLS: Final = "calls"
ADMIN: Final = "admin"
SCOPES: Final = (READ, WRITE, CALLS, ADMIN)
"""read: see. write: change policy objects, and read. calls: end calls, and read. admin: all of it, and tokens
and the audit."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One caller of the API. `name` is that of its token; `account` the only account whose objects it sees,
    None for one that sees all; `token` the id of its token, where that is one of the ledger's."""

    name: str
    scopes: frozenset[str]
    account: str | None = None
    token: str | None = None

    def may(self, scope: str) -> bool:
        """Whether it holds `scope`, one of SCOPES, itself or as part of another."""
        return scope in self.scopes or ADMIN in self.scopes or (scope == READ and bool(self.scopes))

    def sees(self, account: str | None) -> bool:
        """Whether what belongs to `account` (None: to nobody) is its to see. What it does not see is
        answered like what is not there."""
        return self.account is None or self.account == account


def everything(name: str) -> Identity:
    """Who may do all."""
    return Identity(name, frozenset(SCOPES))


def identity_of(request: Request) -> Identity:
    """Who asks, as the guard has found out; usable as a dependency. Without a guard before it nobody is let
    in: 401."""
    identity = request.scope.get("state", {}).get("identity")
    if not isinstance(identity, Identity):
        raise HTTPException(401, "a token is needed: Authorization: Bearer …")
    return identity


def need(scope: str, *, whole: bool = False) -> Callable[[Request], Identity]:
    """A dependency that gives the caller's identity, or raises HTTPException 403 when it may not do what
    `scope` stands for. whole: what is asked for belongs to no account, so a token for one may not either."""
    if scope not in SCOPES:
        raise ValueError(f"no such scope: {scope}")

    def check(request: Request) -> Identity:
        identity = identity_of(request)
        if not identity.may(scope):
            raise HTTPException(403, f"this needs a token with the scope `{scope}`")
        if whole and identity.account is not None:
            raise HTTPException(403, "a token for one account may not do this")
        return identity

    return check
