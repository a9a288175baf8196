from __future__ import annotations

from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from proxy.admin.access.identity import (
    ADMIN,
    CALLS,
    READ,
    SCOPES,
    WRITE,
    Identity,
    everything,
    identity_of,
    need,
)
from proxy.admin.security import Guard


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        (set(), set()),
        ({READ}, {READ}),
        ({WRITE}, {READ, WRITE}),
        ({CALLS}, {READ, CALLS}),
        ({WRITE, CALLS}, {READ, WRITE, CALLS}),
        ({ADMIN}, {READ, WRITE, CALLS, ADMIN}),
    ],
)
def test_what_scopes_allow(held: set[str], allowed: set[str]) -> None:
    identity = Identity("x", frozenset(held))
    assert {scope for scope in SCOPES if identity.may(scope)} == allowed


def test_an_account_sees_its_own_only() -> None:
    acme = Identity("x", frozenset({READ}), "acme")
    assert acme.sees("acme")
    assert not acme.sees("umbrella")
    assert not acme.sees(None)
    assert all(everything("x").sees(account) for account in ("acme", None))


def test_a_scope_that_is_misspelt_is_found_at_the_start() -> None:
    with pytest.raises(ValueError, match="no such scope: wirte"):
        need("wirte")


def _app() -> FastAPI:
    app = FastAPI()

    @app.get("/me")
    def me(identity: Annotated[Identity, Depends(identity_of)]) -> dict[str, Any]:
        return {"name": identity.name, "scopes": sorted(identity.scopes)}

    @app.get("/write")
    def write(identity: Annotated[Identity, Depends(need(WRITE))]) -> str:
        return identity.name

    outer = FastAPI()
    outer.mount("/sub", app)
    return outer


def _client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def test_the_guard_says_who_asks_in_mounted_applications_too() -> None:
    async with _client(Guard(_app(), "secret")) as http:
        shown = {"Authorization": "Bearer secret"}
        assert (await http.get("/sub/me", headers=shown)).json()["name"] == "admin.token"
        assert (await http.get("/sub/write", headers=shown)).json() == "admin.token"
    async with _client(Guard(_app(), None)) as http:
        assert (await http.get("/sub/me")).json() == {"name": "loopback", "scopes": sorted(SCOPES)}


async def test_without_a_guard_nobody_is_let_in() -> None:
    async with _client(_app()) as http:
        assert (await http.get("/sub/me")).status_code == 401


async def test_a_missing_scope_is_403() -> None:
    app = _app()

    async def as_reader(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": {"identity": Identity("reader", frozenset({READ}))}}, receive, send)

    async with _client(as_reader) as http:
        answer = await http.get("/sub/write")
    assert answer.status_code == 403
    assert "`write`" in answer.json()["detail"]
