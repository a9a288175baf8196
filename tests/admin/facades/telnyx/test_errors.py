"""Error documents, and who gets which."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from proxy.admin.access.identity import Identity
from proxy.admin.facades.telnyx.errors import MISSING, invalid
from tests.admin.facades.stage import PROFILE, ask

PROFILES = "/telnyx/v2/outbound_voice_profiles"


def entries(answer: httpx.Response, status: int) -> list[dict[str, Any]]:
    assert answer.status_code == status, answer.text
    return list(answer.json()["errors"])


def test_where_a_fault_points() -> None:
    assert invalid("name", "is required", MISSING).document() == {
        "code": "10004",
        "title": "Missing required parameter",
        "detail": "name is required",
        "source": {"pointer": "/name"},
        "meta": {"url": "https://developers.telnyx.com/docs/overview/errors/10004"},
    }


async def test_who_may_not() -> None:
    reader = Identity("r", frozenset({"read"}))
    assert entries(await ask("GET", PROFILES, who=None), 401)[0]["code"] == "10009"
    assert entries(await ask("DELETE", f"{PROFILES}/{PROFILE}", who=reader), 403)[0]["code"] == "10010"
    assert (await ask("GET", PROFILES, who=reader)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "/telnyx/v2/", "10005"), ("GET", f"{PROFILES}/x", "10005")]
)
async def test_what_is_not_there(method: str, path: str, code: str) -> None:
    assert entries(await ask(method, path), 404)[0]["code"] == code


async def test_all_that_is_wrong_is_said_at_once() -> None:
    said = {"name": "", "concurrent_call_limit": "many", "colour": "red"}
    found = entries(await ask("POST", PROFILES, said, **{"content-type": "application/json"}), 422)
    assert [entry["source"]["pointer"] for entry in found] == ["/name", "/concurrent_call_limit", "/colour"]
    (entry,) = entries(await ask("POST", PROFILES, [], **{"content-type": "application/json"}), 400)
    assert entry["code"] == "10015"
