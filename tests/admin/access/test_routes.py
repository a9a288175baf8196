"""Tokens and the audit over HTTP, on a real ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.admin.access import failures
from proxy.admin.access.failures import BURST
from tests.admin.house import ROOT, House
from tests.admin.stage import until


async def test_a_token_is_shown_once_used_listed_and_revoked(house: House) -> None:
    await house.put("accounts", name="acme")
    made = await house.create("billing", "read", account="acme")
    assert made["token"].startswith(f"tw_{made['id']}_")
    assert (made["created_by"], made["account"], made["scopes"]) == ("admin.token", "acme", ["read"])
    async with house.client(ROOT) as root, house.client(made["token"]) as billing:
        assert (await billing.get("/v1/trunks")).status_code == 200
        listed = (await root.get("/v1/tokens")).json()["tokens"]
        assert listed == [{key: made[key] for key in made if key != "token"}]
        assert (await root.get(f"/v1/tokens/{made['id']}")).json() == listed[0]
        secret = made["token"].split("_", 2)[2]
        kept = await house.ledger.requests.plain("test", b"HGETALL", b"{tw}:tokens")
        assert secret.encode() not in b"".join(kept)  # type: ignore[arg-type]

        assert (await root.delete(f"/v1/tokens/{made['id']}")).status_code == 204
        assert (await billing.get("/v1/trunks")).status_code == 401
        assert (await root.get(f"/v1/tokens/{made['id']}")).status_code == 404
        assert (await root.delete(f"/v1/tokens/{made['id']}")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "a"},
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["root"]},
        {"name": "a", "scopes": ["admin"], "account": "acme"},
        {"name": "a b", "scopes": ["read"]},
        {"name": "a", "scopes": ["read"], "account": "a b"},
        {"name": "a", "scopes": ["read"], "id": "x"},
        {"name": "a", "scopes": "read"},
    ],
)
async def test_what_can_be_no_token(house: House, body: dict[str, Any]) -> None:
    async with house.client(ROOT) as root:
        answer = await root.post("/v1/tokens", json=body)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await root.get("/v1/tokens")).json() == {"tokens": []}


ROUTES = [
    ("read", "GET", "/v1/trunks"),
    ("read", "GET", "/v1/trunks/office/usage"),
    ("read", "GET", "/v1/calls"),
    ("read", "GET", "/v1/decisions"),
    ("read", "GET", "/v1/policy"),
    ("read", "POST", "/v1/explain"),
    ("write", "POST", "/v1/reload"),
    ("calls", "DELETE", "/v1/calls/r1"),
    ("calls", "DELETE", "/v1/calls?trunk=office"),
    ("admin", "GET", "/v1/tokens"),
    ("admin", "POST", "/v1/tokens"),
    ("admin", "GET", "/v1/tokens/x"),
    ("admin", "DELETE", "/v1/tokens/x"),
    ("admin", "GET", "/v1/audit"),
]


@pytest.mark.parametrize("scope", ["read", "write", "calls", "admin"])
async def test_what_each_scope_opens(house: House, scope: str) -> None:
    opened = {"read": {"read"}, "write": {"read", "write"}, "calls": {"read", "calls"}}
    allowed = opened.get(scope, {"read", "write", "calls", "admin"})
    made = await house.create("one", scope)
    async with house.client(made["token"]) as http:
        for needed, method, path in ROUTES:
            answer = await http.request(method, path)
            assert (answer.status_code != 403) is (needed in allowed), (method, path, answer.text)


async def test_failures_of_one_source_are_limited(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "INTERVAL", 3600.0)  # however long the requests of this test take
    async with (
        house.client("wrong") as guesser,
        house.client(ROOT) as same,
        house.client(ROOT, "::1") as other,
    ):
        for _ in range(BURST):
            assert (await guesser.get("/v1/calls")).status_code == 401
        answer = await guesser.get("/v1/calls")
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 3600
        assert (await same.get("/v1/calls")).status_code == 429
        assert (await other.get("/v1/calls")).status_code == 200
        assert (await guesser.get("/healthz")).status_code == 200


async def _entries(house: House, least: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with house.client(ROOT) as root:

        async def there() -> bool:
            found[:] = (await root.get("/v1/audit")).json()["entries"]
            return len(found) >= least

        await until(there, 30)
    return found


async def test_the_audit_tells_changes_and_refusals(house: House) -> None:
    await house.put("accounts", name="acme")
    made = await house.create("billing", "read", account="acme")
    async with house.client(made["token"], "192.0.2.7") as billing, house.client(None, "192.0.2.8") as nobody:
        await billing.post("/v1/reload")
        await billing.get("/v1/trunks")
        await nobody.get("/v1/calls?limit=7")
    async with house.client(ROOT, "2001:db8::1") as root:
        await root.delete("/v1/calls?trunk=office")
        await root.post("/v1/reload")
        await root.post("/v1/explain", json={"source": "192.0.2.1", "to": "+1"})
    told = [
        (one["who"], one["source"], one["action"], one["status"], one.get("account"))
        for one in reversed(await _entries(house, 5))
    ]
    assert sorted(told) == sorted(
        [
            ("admin.token", "192.0.2.1", "POST /v1/accounts", 201, None),
            ("admin.token", "192.0.2.1", "POST /v1/tokens", 201, None),
            ("billing", "192.0.2.7", "POST /v1/reload", 403, "acme"),
            ("", "192.0.2.8", "GET /v1/calls", 401, None),
            ("admin.token", "2001:db8::1", "POST /v1/reload", 200, None),
        ]
    )
    text = json.dumps(told)
    assert made["token"] not in text


async def test_tokens_in_places_that_are_told_nobody(house: House, caplog: pytest.LogCaptureFixture) -> None:
    made = await house.create("billing", "write")
    secret = made["token"]
    async with house.client(None) as http:
        answers = [
            await http.get(f"/voipbin/v1.0/nowhere?token={secret}&page_size=1"),
            await http.post(f"/voipbin/v1.0/nowhere?accesskey={secret}"),
            await http.get("/didww/v3/nowhere", headers={"Api-Key": secret}),
            await http.get("/v1/trunks", auth=("anybody", secret)),
            await http.post(f"/voipbin/v1.0/nowhere?token={secret}x"),
            await http.get(f"/v1/trunks?token={secret}"),
            await http.get("/v1/trunks", headers={"Api-Key": secret}),
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 404, 200, 401, 401, 401]
    entries = await _entries(house, 2)
    seen = caplog.text + json.dumps(entries) + "".join(answer.text for answer in answers)
    assert secret.split("_", 2)[2] not in seen


async def test_revoked_is_revoked_for_all_who_share_the_ledger(house: House) -> None:
    """Two guards, as two instances have them."""
    made = await house.create("billing", "read")
    second = House(house.target, house.ledger, house.access, house.app, house.tasks, house.server)
    async with house.client(ROOT) as here, second.client(made["token"]) as there:
        assert (await there.get("/v1/trunks")).status_code == 200
        await here.delete(f"/v1/tokens/{made['id']}")
        assert (await there.get("/v1/trunks")).status_code == 401
