"""Who may see what callbacks are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from config.web_address import Reach
from proxy.admin.access.identity import READ, WRITE, Identity, everything
from proxy.admin.callback_secret import callback_routes
from proxy.objects.editor import open_editor
from proxy.objects.yaml_file import id_by_name
from proxy.webhooks.callback_key import callback_key
from proxy.webhooks.settings import HookSettings

SECRET = "a-secret-of-twenty-four-characters"
POLICY = """emergency: none
accounts: [{name: acme}, {name: blue}]
trunks:
  - {name: office, account: acme, allowed_sip_ips: [192.0.2.10], destination_whitelist: [us]}
  - {name: alone, allowed_sip_ips: [192.0.2.11], destination_whitelist: [us]}
"""


def key(kind: str, name: str) -> str:
    return callback_key(SECRET, f"{kind}/{id_by_name(kind, name)}")


def settings(secret: str | None = SECRET) -> HookSettings:
    return HookSettings({}, {}, "USD", Reach(), Reach(), 1.0, (), None, secret)


async def asked(
    folder: Path, who: Identity, query: str, told: HookSettings | None
) -> tuple[int, dict[str, Any]]:
    file = folder / "trunkwarden.yaml"
    file.write_text(POLICY)
    app = FastAPI()
    app.include_router(callback_routes(lambda: told, open_editor(file, "file", "", folder)))

    async def guarded(scope, receive, send) -> None:
        await app({**scope, "state": {"identity": who}}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://x") as http:
        answer = await http.get(f"/v1/callback_secret{query}")
    return answer.status_code, answer.json()


OPERATOR = everything("root")
ACME = Identity("acme", frozenset((WRITE,)), "acme")
BLUE = Identity("blue", frozenset((WRITE,)), "blue")


@pytest.mark.parametrize(
    ("who", "query", "expected"),
    [
        (OPERATOR, "?account=acme", ("accounts", "acme")),
        (OPERATOR, "?trunk=office", ("accounts", "acme")),
        (OPERATOR, "?trunk=alone", ("trunks", "alone")),
        (ACME, "", ("accounts", "acme")),
        (ACME, "?account=acme", ("accounts", "acme")),
        (ACME, "?trunk=office", ("accounts", "acme")),
        (BLUE, "", ("accounts", "blue")),
    ],
)
async def test_each_sees_its_own(tmp_path: Path, who: Identity, query: str, expected) -> None:
    assert await asked(tmp_path, who, query, settings()) == (200, {"callback_secret": key(*expected)})


@pytest.mark.parametrize(
    ("who", "query", "status"),
    [
        (OPERATOR, "", 422),
        (OPERATOR, "?account=acme&trunk=office", 422),
        (OPERATOR, "?account=nobody", 404),
        (OPERATOR, "?trunk=nobody", 404),
        (BLUE, "?account=acme", 404),
        (BLUE, "?trunk=office", 404),
        (BLUE, "?trunk=alone", 404),
        (Identity("x", frozenset((READ,)), "acme"), "", 403),
        (Identity("x", frozenset((WRITE,)), "gone"), "", 404),
    ],
)
async def test_nobody_sees_anothers(tmp_path: Path, who: Identity, query: str, status: int) -> None:
    answered, body = await asked(tmp_path, who, query, settings())
    assert answered == status
    assert "callback_secret" not in body


async def test_without_a_secret_there_is_none(tmp_path: Path) -> None:
    assert (await asked(tmp_path, ACME, "", settings(None)))[0] == 404
    assert (await asked(tmp_path, ACME, "", None))[0] == 503
