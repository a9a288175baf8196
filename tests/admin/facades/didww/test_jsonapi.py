"""Error documents, and who gets which."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from proxy.admin.access.identity import Identity
from proxy.admin.facades.didww.jsonapi import MEDIA_TYPE, invalid
from tests.admin.facades.stage import TRUNK, ask

TRUNKS = "/didww/v3/voice_out_trunks"


def entries(answer: httpx.Response, status: int) -> list[dict[str, Any]]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    found = answer.json()["errors"]
    assert {entry["status"] for entry in found} == {str(status)}
    return list(found)


def test_where_a_fault_points() -> None:
    assert invalid("name", "can't be blank").document() == {
        "title": "can't be blank",
        "detail": "name - can't be blank",
        "code": "100",
        "source": {"pointer": "/data/attributes/name"},
        "status": "422",
    }
    assert invalid("dids", "is invalid").pointer == "/data/relationships/dids"


async def test_who_may_not() -> None:
    reader = Identity("r", frozenset({"read"}))
    assert entries(await ask("GET", TRUNKS, who=None), 401)[0]["code"] == "401"
    assert entries(await ask("DELETE", f"{TRUNKS}/{TRUNK}", who=reader), 403)[0]["code"] == "403"
    assert (await ask("GET", TRUNKS, who=reader)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/didww/v3/", 404),
        ("PUT", TRUNKS, 405),
        ("GET", f"{TRUNKS}/{TRUNK}/owner", 404),
        ("GET", f"{TRUNKS}/x", 404),
    ],
    ids=["nothing", "wrong-method", "below-a-trunk", "no-trunk"],  # a trunk's identifier is another each time
)
async def test_what_is_not_there(method: str, path: str, status: int) -> None:
    assert entries(await ask(method, path), status)[0]["code"] == str(status)


async def test_all_that_is_wrong_is_said_at_once() -> None:
    said = {"name": "", "capacity_limit": -1, "dids": [], "authentication_method": {"type": "magic"}}
    body = {"data": {"type": "voice_out_trunks", "attributes": said}}
    headers = {"content-type": MEDIA_TYPE, "x-didww-api-version": "2026-04-16"}
    (unknown,) = entries(await ask("POST", TRUNKS, body, **headers), 400)
    assert (unknown["code"], unknown["detail"]) == ("105", "dids is not allowed.")
    del said["dids"]
    found = entries(await ask("POST", TRUNKS, body, **headers), 422)
    assert [entry["source"]["pointer"].rpartition("/")[2] for entry in found] == [
        "name",
        "capacity_limit",
        "authentication_method",
    ]


async def test_members_of_json_api_around_what_is_said_are_not_looked_at() -> None:
    relationships = {"dids": {"links": {"self": "/x"}, "meta": {}, "data": []}}
    said = {"name": "b", "allowed_sip_ips": ["192.0.2.2"], "on_cli_mismatch_action": "reject_call"}
    data = {"type": "voice_out_trunks", "attributes": said, "relationships": relationships}
    body = {"jsonapi": {"version": "1.0"}, "meta": {}, "links": {}, "data": data}
    answer = await ask("POST", TRUNKS, body, **{"content-type": MEDIA_TYPE})
    assert answer.status_code == 201, answer.text
    assert (await ask("POST", TRUNKS, {"dato": data}, **{"content-type": MEDIA_TYPE})).status_code == 400
