"""The routes for tokens and for the audit. All need the scope `admin`."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from config.values import Name
from proxy.admin.access.audit import STREAMS, merged
from proxy.admin.access.identity import ADMIN, Identity, need
from proxy.admin.access.tenancy import NoSuchAccount, id_of_account
from proxy.admin.access.tokens import ID_BYTES, SECRET_BYTES, issue, mistakes_in
from proxy.admin.ledger_access import LedgerAccess
from proxy.ledger.tokens import StoredToken, TooManyTokens
from proxy.objects.editor import PolicyEditor
from proxy.observe.clock import iso_now

_EXAMPLE: dict[str, Any] = {
    "id": "5f0c3a9e1b7d",
    "name": "billing",
    "scopes": ["read"],
    "account": "acme",
    "account_id": "4ea8edca-5689-5673-b786-2b1dba2796cf",
    "created_at": "2025-03-01T12:00:00.000Z",
    "created_by": "admin.token",
}


class NewToken(BaseModel):
    """`scopes` are of `read`, `write`, `calls`, `admin`; each of the last three includes `read`, and `admin`
    all. With `account`, the token sees the objects of that account only, and ends with it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "billing", "scopes": ["read"], "account": "acme"}},
    )

    name: Name
    scopes: list[str] = Field(min_length=1, max_length=4)
    account: Name | None = None


class Token(BaseModel):
    """What is kept of a token; the token itself is not. `account` is what the account of that id was called
    when the token was made."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: str
    name: str
    scopes: list[str]
    account: str | None
    account_id: str | None
    created_at: str
    created_by: str


class IssuedToken(Token):
    """A new token. `token` is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={"example": {**_EXAMPLE, "token": "tw_5f0c3a9e1b7d_" + 43 * "x"}}
    )

    token: str


class TokenList(BaseModel):
    tokens: list[Token]


class AuditEntries(BaseModel):
    """Newest first. Each has `at`, `who`, `action` and, where they are known, `token` (its id), `account`,
    `source` (the peer's address), `status` and `more`, how many refusals like it were left out before."""

    entries: list[dict[str, Any]]


Admin = Annotated[Identity, Depends(need(ADMIN))]


def access_routes(ledger: LedgerAccess, editor: PolicyEditor) -> APIRouter:
    """`/v1/tokens` and `/v1/audit`."""
    router = APIRouter(prefix="/v1")

    @router.get("/tokens")
    async def list_tokens(_: Admin) -> TokenList:
        """All tokens that were created and not revoked, by name. The configured one is not among them."""
        tokens = await ledger.tokens()
        return TokenList(tokens=[_shown(token) for token in await tokens.every()])

    @router.post("/tokens", status_code=201)
    async def create_token(wanted: NewToken, who: Admin, response: Response) -> IssuedToken:
        """Create a token. It is shown in this answer, and never again."""
        scopes = tuple(dict.fromkeys(wanted.scopes))
        mistake = mistakes_in(scopes, wanted.account)
        if mistake is not None:
            raise HTTPException(422, mistake)
        account_id = None
        if wanted.account is not None:
            try:
                account_id = id_of_account((await editor.current()).document, wanted.account)
            except NoSuchAccount as error:
                raise HTTPException(422, str(error)) from None
        text, token = issue(
            wanted.name,
            scopes,
            wanted.account,
            account_id=account_id,
            by=who.name,
            at=iso_now(),
            token_id=secrets.token_bytes(ID_BYTES),
            secret=secrets.token_bytes(SECRET_BYTES),
        )
        try:
            await (await ledger.tokens()).add(token)
        except TooManyTokens as error:
            raise HTTPException(409, str(error)) from None
        response.headers["Location"] = f"/v1/tokens/{token.id}"
        return IssuedToken(**_shown(token).model_dump(), token=text)

    @router.get("/tokens/{token_id}")
    async def show_token(token_id: str, _: Admin) -> Token:
        """One token."""
        token = await (await ledger.tokens()).find(token_id)
        if token is None:
            raise HTTPException(404, f"no such token: {token_id}")
        return _shown(token)

    @router.delete("/tokens/{token_id}", status_code=204)
    async def revoke_token(token_id: str, _: Admin) -> None:
        """Revoke a token: no instance takes it any more."""
        if not await (await ledger.tokens()).remove(token_id):
            raise HTTPException(404, f"no such token: {token_id}")

    @router.get("/audit")
    async def audit(_: Admin, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> AuditEntries:
        """What was changed and what was refused, newest first; of refused strangers samples only."""
        streams = [await ledger.records(stream, limit) for stream in STREAMS]
        return AuditEntries(entries=merged(streams, limit))

    return router


def _shown(token: StoredToken) -> Token:
    return Token(
        id=token.id,
        name=token.name,
        scopes=list(token.scopes),
        account=token.account,
        account_id=token.account_id,
        created_at=token.created_at,
        created_by=token.created_by,
    )
