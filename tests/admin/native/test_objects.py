"""The objects of the policy over HTTP, on a real store."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from config.objects import MASK
from config.policy_source import KINDS
from proxy.admin.native.schemas import EXAMPLES
from tests.admin.house import ROOT, House

DECK = b"prefix,destination,rate_per_minute\n+44,United Kingdom,0.0100\n"
TRUNK: dict[str, Any] = {"name": "office", "allowed_sip_ips": ["192.0.2.10"], "destination_whitelist": ["us"]}


def _problems(answer: httpx.Response) -> dict[str, str]:
    """Messages by pointer, or by path where there is none."""
    assert answer.headers["content-type"] == "application/problem+json"
    return {one.get("pointer", one["path"]): one["message"] for one in answer.json()["problems"]}


async def test_from_creation_to_deletion(house: House) -> None:
    async with house.client(ROOT) as root:
        made = await root.post("/v1/trunks", json=TRUNK)
        assert made.status_code == 201
        trunk = made.json()
        assert made.headers["location"] == f"/v1/trunks/{trunk['id']}"
        assert (trunk["name"], trunk["allowed_sip_ips"], trunk["capacity_limit"], trunk["status"]) == (
            "office",
            ["192.0.2.10/32"],
            None,
            "active",
        )
        for key in (trunk["id"], "office"):
            answer = await root.get(f"/v1/trunks/{key}")
            assert (answer.json(), answer.headers["etag"]) == (trunk, made.headers["etag"])

        patched = await root.patch("/v1/trunks/office", json={"capacity_limit": 5, "status": "blocked"})
        assert patched.status_code == 200
        assert patched.headers["etag"] != made.headers["etag"]
        assert patched.json() == {
            **trunk,
            "capacity_limit": 5,
            "status": "blocked",
            "updated_at": patched.json()["updated_at"],
        }
        assert patched.json()["updated_at"] >= trunk["updated_at"]

        merge = {"Content-Type": "application/merge-patch+json"}
        patched = await root.patch("/v1/trunks/office", content=b'{"status": null}', headers=merge)
        assert (patched.json()["status"], patched.json()["capacity_limit"]) == ("active", 5)

        replaced = await root.put("/v1/trunks/office", json={**TRUNK, "name": "branch"})
        assert (replaced.json()["name"], replaced.json()["capacity_limit"]) == ("branch", None)
        assert replaced.json()["id"] == trunk["id"]

        assert (await root.delete(f"/v1/trunks/{trunk['id']}")).status_code == 204
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            answer = await root.request(method, "/v1/trunks/branch", json={})
            assert answer.status_code == 404, method


async def test_what_is_read_can_be_written_back(house: House) -> None:
    async with house.client(ROOT) as root:
        await root.post("/v1/trunks", json={**TRUNK, "auth": "digest", "username": "u", "password": "p"})
        read = await root.get("/v1/trunks/office")
        assert (read.json()["ha1"], read.json()["password"]) == (MASK, None)
        written = await root.put("/v1/trunks/office", json=read.json())
        assert written.status_code == 200, written.text
        assert {**written.json(), "updated_at": ""} == {**read.json(), "updated_at": ""}


async def test_secrets_do_not_come_back(house: House) -> None:
    async with house.client(ROOT) as root:
        answers = [
            await root.post(
                "/v1/providers",
                json={"name": "a", "hostname": "192.0.2.1", "username": "u", "password": "hunter2"},
            ),
            await root.get("/v1/providers"),
            await root.get("/v1/providers/a"),
            await root.patch("/v1/providers/a", json={"password": MASK, "realm": "r"}),
            await root.patch("/v1/providers/a", json={"password": "hunter2-too", "realm": 5}),
            await root.get("/v1/policy/versions"),
            await root.get("/v1/policy/versions/1"),
            await root.get("/v1/policy/diff?from=1"),
        ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 422, 200, 200, 200]
    assert all("hunter2" not in answer.text for answer in answers)
    assert answers[2].json()["password"] == MASK


async def test_entity_tags(house: House) -> None:
    async with house.client(ROOT) as root:
        made = await root.post("/v1/trunks", json=TRUNK)
        assert made.status_code == 201, made.text
        first = made.headers["etag"]
        second = await root.patch(
            "/v1/trunks/office", json={"capacity_limit": 1}, headers={"If-Match": first}
        )
        assert second.status_code == 200
        for method in ("PATCH", "PUT", "DELETE"):
            answer = await root.request(method, "/v1/trunks/office", json={}, headers={"If-Match": first})
            assert answer.status_code == 412, method
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await root.get("/v1/trunks/office")).json()["capacity_limit"] == 1
        bad = await root.patch("/v1/trunks/office", json={}, headers={"If-Match": "bare"})
        assert bad.status_code == 400
        either = f"{first}, {second.headers['etag']}"
        answer = await root.patch("/v1/trunks/office", json={"cps_limit": 2}, headers={"If-Match": either})
        assert answer.status_code == 200
        assert (await root.delete("/v1/trunks/office", headers={"If-Match": "*"})).status_code == 204


async def test_all_problems_at_once_and_where_they_are(house: House) -> None:
    async with house.client(ROOT) as root:
        await house.put("trunks", **TRUNK)
        answer = await root.post(
            "/v1/trunks",
            json={
                "name": "shop",
                "allowed_sip_ips": ["192.0.2.300"],
                "capacity_limit": -1,
                "provider": "nowhere",
                "colour": "red",
                "dst_prefixes": {"deny": ["49"]},
                "destination_whitelist": ["us"],
            },
        )
        assert answer.status_code == 422
        assert set(_problems(answer)) == {
            "/allowed_sip_ips/0",
            "/capacity_limit",
            "/provider",
            "/colour",
            "/dst_prefixes/deny/0",
        }
        assert [trunk["name"] for trunk in (await root.get("/v1/trunks")).json()["trunks"]] == ["office"]


@pytest.mark.parametrize("kind", KINDS)
async def test_names(house: House, kind: str) -> None:
    async with house.client(ROOT) as root:
        for name in (None, 5, "", "a b", "x" * 65, "ä"):
            answer = await root.post(f"/v1/{kind}", json={**EXAMPLES[kind], "name": name})
            assert answer.status_code == 422
            assert answer.json()["problems"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b"", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b"{", "application/json", 422),
        (b"\xff", "application/json", 422),
        (b'{"name": NaN}', "application/json", 422),
        (b'{"name": "a", "name": "b"}', "application/json", 422),
        (b'{"name": "\\ud800"}', "application/json", 422),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
    ],
)
async def test_bodies_that_are_none(house: House, content: bytes, kind: str, status: int) -> None:
    async with house.client(ROOT) as root:
        for method, path in (
            ("POST", "/v1/accounts"),
            ("PATCH", "/v1/accounts/a"),
            ("PUT", "/v1/accounts/a"),
        ):
            answer = await root.request(method, path, content=content, headers={"Content-Type": kind})
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"


async def test_an_account_that_says_nothing_of_countries_has_none(house: House) -> None:
    async with house.client(ROOT) as root:
        assert (await house.put("accounts", name="acme"))["destination_whitelist"] == []
        assert (await house.put("accounts", name="free", destination_whitelist=None))[
            "destination_whitelist"
        ] is None
        replaced = await root.put("/v1/accounts/free", json={"capacity_limit": 5})
        assert replaced.json()["destination_whitelist"] == []


async def test_what_is_referred_to_stays(house: House) -> None:
    async with house.client(ROOT) as root:
        await house.put("accounts", name="acme")
        await house.put("trunks", **TRUNK, account="acme")
        answer = await root.delete("/v1/accounts/acme")
        assert answer.status_code == 409
        assert "trunks[office].account" in _problems(answer)
        assert answer.json()["detail"].startswith(
            "without `acme` the policy would have problems: trunks[office]"
        )
        assert (await root.delete("/v1/trunks/office")).status_code == 204
        assert (await root.delete("/v1/accounts/acme")).status_code == 204


async def test_what_the_api_gives_is_not_to_be_chosen(house: House) -> None:
    async with house.client(ROOT) as root:
        for field in ("id", "created_at", "updated_at"):
            answer = await root.post("/v1/accounts", json={"name": "acme", field: "x"})
            assert (answer.status_code, list(_problems(answer))) == (422, [f"/{field}"])
        await house.put("accounts", name="acme")
        answer = await root.patch("/v1/accounts/acme", json={"id": "x"})
        assert (answer.status_code, list(_problems(answer))) == (422, ["/id"])


async def test_files_and_variables_of_the_machine_are_not_for_callers(house: House) -> None:
    async with house.client(ROOT) as root:
        for value in ({"password": "${HOME}"}, {"password_file": "/etc/passwd"}):
            answer = await root.post(
                "/v1/providers", json={"name": "a", "hostname": "192.0.2.1", "username": "u", **value}
            )
            assert answer.status_code == 422, answer.text


NO_HALL = "there is no trunk `hall`; `trunks` is empty"


async def test_numbers(house: House) -> None:
    await house.put("accounts", name="acme", destination_whitelist=["us"])
    for trunk, source in (("desk", "192.0.2.10"), ("hall", "192.0.2.11")):
        await house.put("trunks", name=trunk, account="acme", allowed_sip_ips=[source])
    async with house.client(ROOT) as root:
        made = await root.post("/v1/dids", json={"number": "442071838750", "trunk": "desk"})
        assert (made.status_code, made.json()["name"]) == (201, "442071838750")
        assert made.json()["number"] == "+442071838750"
        assert (await root.post("/v1/dids", json={"number": "+442071838751", "name": "pool"})).is_success
        for body, pointer in (
            ({"name": "none"}, "/number"),
            ({}, "/number"),
            ({"name": 5, "number": "+442071838753"}, "/name"),
            ({"name": None, "number": "+442071838753"}, "/name"),
            ({"name": "", "number": "+442071838753"}, "/name"),
            ({"number": "0207"}, "/number"),
            ({"number": "+442071838750"}, "/name"),
            ({"name": "again", "number": "+442071838750"}, "/number"),
            ({"number": "+442071838752", "trunk": "no-such"}, "/trunk"),
        ):
            answer = await root.post("/v1/dids", json=body)
            assert (answer.status_code, list(_problems(answer))) == (422, [pointer]), answer.text
        moved = await root.patch("/v1/dids/442071838750", json={"trunk": "hall"})
        assert (moved.json()["trunk"], moved.json()["account"]) == ("hall", None)
        for query, names in (
            ("number=%2B442071838750", ["442071838750"]),
            ("number=+442071838750", ["442071838750"]),
            ("number=442071838751", ["pool"]),
            ("number=44", []),
            ("trunk=hall", ["442071838750"]),
            ("trunk=desk", []),
            ("account=acme", ["442071838750"]),
            ("account=none", []),
        ):
            found = (await root.get(f"/v1/dids?{query}")).json()["dids"]
            assert [one["name"] for one in found] == names, query
        assert (await root.delete("/v1/trunks/desk")).status_code == 204
        held = await root.delete("/v1/trunks/hall")
        assert (held.status_code, held.json()["problems"]) == (
            409,
            [{"path": "dids[442071838750].trunk", "message": NO_HALL}],
        )
        assert (await root.delete("/v1/dids/442071838750")).status_code == 204
        assert (await root.delete("/v1/trunks/hall")).status_code == 204


INSIDE = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://0.0.0.0/",
    "http://169.254.169.254/latest/meta-data",
    "http://[fd00::1]/",
    "http://10.0.0.1/",
    "http://user:pass@192.0.2.1/",
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://example.org/",
    "javascript:alert(1)",
    "//example.org/",
    "http:///",
]


async def test_callbacks_that_lead_inside_are_refused(house: House) -> None:
    """What a name leads to is judged when it is called: see tests/webhooks/test_sender.py."""
    await house.put("trunks", **TRUNK)
    await house.put("accounts", name="acme", destination_whitelist=["us"])
    made = await house.put("trunks", name="acme.t", account="acme", allowed_sip_ips=["192.0.2.11"])
    async with house.client(ROOT) as root, await house.tenant("acme", "write") as acme:
        for url in INSIDE:
            for client, name in ((root, "office"), (acme, "acme.t")):
                answer = await client.patch(f"/v1/trunks/{name}", json={"callback_url": url})
                assert answer.status_code == 422, (url, answer.text)
                assert "/callback_url" in _problems(answer), url
        outside = "https://hooks.example.org/trunk"
        answer = await acme.patch("/v1/trunks/acme.t", json={"callback_url": outside})
        assert (answer.status_code, answer.json()["callback_url"]) == (200, outside)
        assert made["callback_url"] is None


async def test_filters_and_pages(house: House) -> None:
    async with house.client(ROOT) as root:
        for number in range(7):
            status = "blocked" if number % 2 else "active"
            await house.put("accounts", name=f"a{number}", status=status)
        seen: list[str] = []
        cursor, pages = "", 0
        while True:
            answer = (await root.get(f"/v1/accounts?limit=3{cursor}")).json()
            seen += [account["name"] for account in answer["accounts"]]
            pages += 1
            if answer["next_cursor"] is None:
                break
            cursor = f"&cursor={answer['next_cursor']}"
            await root.delete(f"/v1/accounts/{seen[-1]}")  # the page after a cursor whose object is gone
        assert (seen, pages) == ([f"a{number}" for number in range(7)], 3)
        blocked = (await root.get("/v1/accounts?status=blocked")).json()["accounts"]
        assert {account["name"] for account in blocked} <= {"a1", "a3", "a5"}
        assert len((await root.get("/v1/accounts?name=a0")).json()["accounts"]) == 1
        assert (await root.get("/v1/accounts?name=nobody")).json()["accounts"] == []
        for query in (
            "limit=0",
            "limit=1001",
            "limit=x",
            "cursor=x",
            "cursor=%C3%A4",
            "colour=red",
            "limit=1&limit=2",
        ):
            assert (await root.get(f"/v1/accounts?{query}")).status_code == 422, query


async def test_other_methods_are_told_what_there_is(house: House) -> None:
    async with house.client(ROOT) as root:
        for path, methods in (
            ("/v1/trunks", "GET, HEAD, POST"),
            ("/v1/trunks/office", "DELETE, GET, HEAD, PATCH, PUT"),
            ("/v1/trunks/office/usage", "GET, HEAD"),
            ("/v1/calls", "DELETE, GET, HEAD"),
            ("/v1/explain", "POST"),
        ):
            answer = await root.options(path)
            assert (answer.status_code, answer.headers["allow"]) == (405, methods)


async def test_while_the_file_is_the_only_source(stage: Any) -> None:
    http = stage.http
    assert [trunk["name"] for trunk in (await http.get("/v1/trunks")).json()["trunks"]] == ["office", "open"]
    assert (await http.get("/v1/trunks/office")).json()["capacity_limit"] == 3
    for method, path in (
        ("POST", "/v1/accounts"),
        ("PATCH", "/v1/trunks/office"),
        ("PUT", "/v1/trunks/office"),
        ("DELETE", "/v1/trunks/office"),
        ("PUT", "/v1/rate_decks/retail/rows"),
        ("POST", "/v1/policy/rollback"),
    ):
        kind = "text/csv" if path.endswith("rows") else "application/json"
        body = (
            DECK
            if path.endswith("rows")
            else b'{"name": "a"}'
            if "rollback" not in path
            else b'{"version": 1}'
        )
        answer = await http.request(method, path, content=body, headers={"Content-Type": kind})
        assert (answer.status_code, "policy: {source: store}" in answer.json()["detail"]) == (409, True), path


async def test_without_the_ledger_nothing_is_known(house: House) -> None:
    await house.put("accounts", name="acme")
    house.server.kill()
    async with house.client(ROOT) as root:
        for method, path in (("GET", "/v1/accounts/acme"), ("POST", "/v1/accounts"), ("GET", "/v1/tokens")):
            answer = await root.request(method, path, json={"name": "b"}, timeout=30)
            assert answer.status_code in (200, 503) if path.endswith("acme") else answer.status_code == 503
