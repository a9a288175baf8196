"""The carriers' applications with a policy that takes every change and forgets it: it is judged elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.admin.access.identity import Identity, everything
from proxy.admin.facades.mounting import mount_facades
from proxy.admin.facades.spending import Spent
from proxy.objects.document import Document, new_id
from proxy.objects.store import Entry, Version

TRUNK, PROFILE = new_id(), new_id()
DOCUMENT = (
    Document()
    .create("trunks", "a", {"allowed_sip_ips": ["192.0.2.1/32"]}, id=TRUNK, extra={"didww": {"name": "a"}})
    .create("profiles", "p", {}, id=PROFILE)
)


class Editor:
    """Takes every change, and forgets it: the policy is judged elsewhere."""

    async def current(self) -> Version:
        return _version(DOCUMENT)

    async def change(self, author: str, comment: str, operation: Callable[[Document], Document]) -> Version:
        return _version(operation(DOCUMENT))


def _version(document: Document) -> Version:
    return Version(Entry(1, "1-a", datetime.now(UTC), "", "", ()), document)


class Spending:
    async def of(self, names: Iterable[str]) -> dict[str, Spent]:
        return {}


APP = FastAPI()
mount_facades(APP, Editor(), Spending())  # type: ignore[arg-type]
OPS = everything("ops")


def _asked_by(who: Identity | None) -> ASGIApp:
    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        await APP({**scope, "state": {} if who is None else {"identity": who}}, receive, send)

    return asked


async def ask(
    method: str, url: str, body: Any = None, who: Identity | None = OPS, **headers: str
) -> httpx.Response:
    """The answer to one request of `who`."""
    transport = httpx.ASGITransport(_asked_by(who))
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        content = None if body is None else json.dumps(body).encode()
        return await client.request(method, url, content=content, headers=headers)
