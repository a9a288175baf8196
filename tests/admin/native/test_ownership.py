"""Tokens for one account: what is another's is not there, and what is the operator's cannot be moved."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from proxy.admin.access.identity import Identity, everything
from proxy.admin.native.ownership import Forbidden, check_all
from proxy.objects.document import Document
from tests.admin.house import ROOT, House

OWN_SOURCE = ["192.0.2.10"]
OTHERS = {
    "accounts": "umbrella",
    "profiles": "umbrella.hall",
    "trunks": "umbrella.shop",
    "outplans": "umbrella.calm",
    "dids": "umbrella-main",
    "providers": "secret-carrier",
    "rate_decks": "secret-deck",
}
"""What acme's token must not see, by kind."""
SECRETS = ("umbrella", "secret-", "192.0.2.99", "nobodys", "shared-limits")


@pytest.fixture
async def let(house: House) -> House:
    """acme and umbrella, with one object of each kind; shared-limits and nobodys belong to no account."""
    async with house.client(ROOT) as root:
        deck = b"prefix,rate_per_minute\n+1,0.01\n"
        answer = await root.put(
            "/v1/rate_decks/secret-deck/rows", content=deck, headers={"Content-Type": "text/csv"}
        )
        assert answer.status_code == 201
    await house.put("providers", name="secret-carrier", hostname="192.0.2.200", rate_deck="secret-deck")
    await house.put("profiles", name="shared-limits", concurrent_call_limit=2)
    for account, profile, outplan in (
        ("acme", "acme.hall", "acme.calm"),
        ("umbrella", "umbrella.hall", "umbrella.calm"),
    ):
        await house.put("accounts", name=account, destination_whitelist=["us"])
        await house.put("profiles", name=profile, account=account)
        await house.put("outplans", name=outplan, account=account)
    operators = {"provider": "secret-carrier", "rate_deck": "secret-deck", "refuse_below_margin": "0.001"}
    await house.put("trunks", name="acme.office", account="acme", allowed_sip_ips=OWN_SOURCE, **operators)
    await house.put("trunks", name="umbrella.shop", account="umbrella", allowed_sip_ips=["192.0.2.99"])
    await house.put("dids", number="+12025550100", account="acme")
    await house.put("dids", number="+12025550101", trunk="acme.office")
    await house.put("dids", name="umbrella-main", number="+12025550199", trunk="umbrella.shop")
    await house.put("trunks", name="nobodys", allowed_sip_ips=["192.0.2.98"], destination_whitelist=["us"])
    return house


@pytest.fixture
async def acme(let: House) -> httpx.AsyncClient:
    return await let.tenant("acme", "write", "calls")


async def _everything(house: House) -> str:
    """The policy, as root sees it, but when it was changed."""
    async with house.client(ROOT) as root:
        return json.dumps([(await root.get(f"/v1/{kind}")).json() for kind in OTHERS])


async def test_lists_hold_ones_own(acme: httpx.AsyncClient) -> None:
    async with acme:
        seen = {kind: (await acme.get(f"/v1/{kind}")).json()[kind] for kind in OTHERS}
        names = {kind: [one["name"] for one in objects] for kind, objects in seen.items()}
        assert names == {
            "accounts": ["acme"],
            "profiles": ["acme.hall"],
            "trunks": ["acme.office"],
            "outplans": ["acme.calm"],
            "dids": ["12025550100", "12025550101"],
            "providers": [],
            "rate_decks": [],
        }
        assert not any(secret in json.dumps(seen) for secret in SECRETS)
        for query in ("account=umbrella", "name=umbrella.shop"):
            assert (await acme.get(f"/v1/trunks?{query}")).json()["trunks"] == []
        assert (await acme.get("/v1/dids?number=12025550199")).json()["dids"] == []
        trunk = (await acme.get("/v1/trunks/acme.office")).json()
        assert {"provider", "rate_deck", "refuse_below_margin"}.isdisjoint(trunk)


@pytest.mark.parametrize("kind", OTHERS)
async def test_anothers_object_is_one_that_is_not_there(
    let: House, acme: httpx.AsyncClient, kind: str
) -> None:
    before = await _everything(let)
    name = OTHERS[kind]
    async with let.client(ROOT) as root:
        object_id = (await root.get(f"/v1/{kind}/{name}")).json()["id"]
    async with acme:
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            absent = await acme.request(method, f"/v1/{kind}/no-such", json={"name": "acme.x"})
            assert absent.status_code in (404, 403)
            for key in (name, object_id):
                answer = await acme.request(method, f"/v1/{kind}/{key}", json={"name": "acme.x"})
                assert answer.status_code == absent.status_code
                assert answer.text == absent.text.replace("no-such", key)
                assert answer.headers.get("etag") is None
    assert await _everything(let) == before


async def test_ones_own_objects_can_be_made_and_changed(acme: httpx.AsyncClient) -> None:
    async with acme:
        made = await acme.post(
            "/v1/trunks", json={"name": "acme.new", "profile": "acme.hall", "allowed_sip_ips": ["192.0.2.11"]}
        )
        assert (made.status_code, made.json()["account"]) == (201, "acme"), made.text
        patched = await acme.patch("/v1/trunks/acme.new", json={"capacity_limit": 3, "profile": None})
        assert (patched.status_code, patched.json()["capacity_limit"]) == (200, 3)
        for name in ("acme.new", "acme.office"):
            read = (await acme.get(f"/v1/trunks/{name}")).json()
            written = await acme.put(f"/v1/trunks/{name}", json=read)
            assert written.status_code == 200, written.text
            assert {**written.json(), "updated_at": ""} == {**read, "updated_at": ""}
        assert (await acme.delete("/v1/trunks/acme.new")).status_code == 204
        assert (await acme.post("/v1/profiles", json={"name": "acme.p"})).json()["account"] == "acme"
        assert (await acme.post("/v1/outplans", json={"name": "acme.o"})).json()["account"] == "acme"


async def test_replacing_keeps_what_is_the_operators(let: House, acme: httpx.AsyncClient) -> None:
    async with acme, let.client(ROOT) as root:
        answer = await acme.put("/v1/trunks/acme.office", json={"allowed_sip_ips": ["192.0.2.12"]})
        assert answer.status_code == 200, answer.text
        kept = (await root.get("/v1/trunks/acme.office")).json()
    assert (kept["account"], kept["provider"], kept["rate_deck"]) == ("acme", "secret-carrier", "secret-deck")


OPERATORS: list[dict[str, Any]] = [
    {"account": "umbrella"},
    {"account": None},
    {"provider": "secret-carrier-2"},
    {"provider": None},
    {"rate_deck": None},
    {"refuse_below_margin": None},
    {"profile": "umbrella.hall"},
    {"profile": "shared-limits"},
    {"profile": "no-such"},
    {"allow_any_source": True},
    {"allow_any_country": True},
    {"dids": ["+442079460000"]},
    {"deny_kinds": []},
    {"trust_identity": False},
    {"name": "office"},
    {"name": "umbrella.stolen"},
    {"name": "acme.umbrella.stolen"},
]


@pytest.mark.parametrize("change", OPERATORS)
async def test_what_is_the_operators(let: House, acme: httpx.AsyncClient, change: dict[str, Any]) -> None:
    before = await _everything(let)
    async with acme:
        answers = [
            await acme.patch("/v1/trunks/acme.office", json=change),
            await acme.put("/v1/trunks/acme.office", json={"allowed_sip_ips": OWN_SOURCE, **change}),
        ]
        if None not in change.values():
            fresh = {"name": "acme.x", "allowed_sip_ips": ["192.0.2.13"], **change}
            answers.append(await acme.post("/v1/trunks", json=fresh))
        for answer in answers:
            assert answer.status_code == 403, (answer.status_code, answer.text)
            (found,) = answer.json()["problems"]
            assert found["pointer"] == f"/{next(iter(change))}"
            assert not any(secret in found["message"] for secret in SECRETS)
    assert await _everything(let) == before


async def test_addresses_within_anothers_network_are_not_ones_own(
    let: House, acme: httpx.AsyncClient
) -> None:
    async with acme, let.client(ROOT) as root:
        wide = {"allowed_sip_ips": ["198.51.100.0/24"]}
        assert (await root.patch("/v1/trunks/umbrella.shop", json=wide)).status_code == 200
        within = {"name": "acme.x", "allowed_sip_ips": ["198.51.100.7"]}
        answer = await acme.post("/v1/trunks", json=within)
        assert answer.status_code == 403, answer.text
        (found,) = answer.json()["problems"]
        assert found["pointer"] == "/allowed_sip_ips"
        assert "umbrella" not in answer.text
        assert (await root.post("/v1/trunks", json={**within, "account": "acme"})).status_code == 201


async def test_a_shared_profile_cannot_be_left(let: House, acme: httpx.AsyncClient) -> None:
    async with acme, let.client(ROOT) as root:
        assert (
            await root.patch("/v1/trunks/acme.office", json={"profile": "shared-limits"})
        ).status_code == 200
        for profile in (None, "acme.hall"):
            assert (await acme.patch("/v1/trunks/acme.office", json={"profile": profile})).status_code == 403
        assert (await acme.patch("/v1/trunks/acme.office", json={"cps_limit": 1})).status_code == 200


@pytest.mark.parametrize("kind", ["accounts", "providers", "rate_decks", "dids"])
async def test_kinds_that_are_the_operators(let: House, acme: httpx.AsyncClient, kind: str) -> None:
    before = await _everything(let)
    async with acme:
        for method, path in (("POST", ""), ("PUT", "/acme"), ("PATCH", "/acme"), ("DELETE", "/acme")):
            answer = await acme.request(method, f"/v1/{kind}{path}", json={"name": "acme"})
            assert answer.status_code == 403, (method, path)
    assert await _everything(let) == before


async def test_problems_do_not_speak_of_others(let: House, acme: httpx.AsyncClient) -> None:
    await let.put("trunks", name="acme.taken", allowed_sip_ips=["192.0.2.97"], destination_whitelist=["us"])
    async with acme:
        answer = await acme.post("/v1/trunks", json={"name": "acme.taken", "allowed_sip_ips": ["192.0.2.14"]})
    assert answer.status_code == 422
    for problem in answer.json()["problems"]:
        assert problem["message"] == "does not go with what is set up for others: choose another value"
    assert not any(secret in answer.text for secret in ("umbrella", "nobodys"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"allowed_sip_ips": ["192.0.2.99"]}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["192.0.2.99"], "tech_prefix": "1"}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["0.0.0.0/1"]}, "allowed_sip_ips"),
        ({"auth": "digest", "username": "taken", "password": "right"}, "username"),
        ({"auth": "digest", "username": "taken", "password": "wrong"}, "username"),
        ({"allowed_sip_ips": ["192.0.2.14"], "default_did": "+442079460000"}, "default_did"),
    ],
)
async def test_callers_logins_and_numbers_of_others(
    let: House, acme: httpx.AsyncClient, fields: dict[str, Any], field: str
) -> None:
    login = {"auth": "digest", "username": "taken", "password": "right", "destination_whitelist": ["us"]}
    await let.put("trunks", name="umbrella.phones", **login)
    before = await _everything(let)
    async with acme:
        for answer in (
            await acme.post("/v1/trunks", json={"name": "acme.x", **fields}),
            await acme.patch("/v1/trunks/acme.office", json=fields),
        ):
            assert answer.status_code == 403, answer.text
            assert [one["pointer"] for one in answer.json()["problems"]] == [f"/{field}"]
            assert not any(secret in answer.text for secret in ("umbrella", "nobodys"))
    assert await _everything(let) == before


async def test_a_number_of_the_account_may_be_shown(let: House, acme: httpx.AsyncClient) -> None:
    async with acme, let.client(ROOT) as root:
        number = {"dids": ["+12025550150"]}
        assert (await root.patch("/v1/accounts/acme", json=number)).status_code == 200
        for own in ("+12025550150", "+12025550100", "+12025550101"):
            shown = await acme.patch("/v1/trunks/acme.office", json={"default_did": own})
            assert shown.status_code == 200, shown.text
        theirs = await acme.patch("/v1/trunks/acme.office", json={"default_did": "+12025550199"})
        assert theirs.status_code == 403
        taken = await root.patch("/v1/trunks/acme.office", json={"default_did": "+12025550199"})
        assert taken.status_code == 422
        assert taken.json()["problems"][0]["message"].startswith("`+12025550199` is of account `umbrella`")


async def test_an_account_without_countries_chooses_none(let: House, acme: httpx.AsyncClient) -> None:
    async with acme, let.client(ROOT) as root:
        few = {"destination_whitelist": ["us", "gb"]}
        for path, fields in (("trunks/acme.office", few), ("accounts/acme", {"destination_whitelist": None})):
            assert (await root.patch(f"/v1/{path}", json=fields)).status_code == 200
        many = {"destination_whitelist": ["us", "cu"]}
        for answer in (
            await acme.patch("/v1/trunks/acme.office", json=many),
            await acme.post("/v1/trunks", json={"name": "acme.x", "allowed_sip_ips": ["192.0.2.14"], **many}),
            await acme.post("/v1/profiles", json={"name": "acme.p", **many}),
            await acme.patch("/v1/profiles/acme.hall", json=many),
        ):
            assert answer.status_code == 403, answer.text
            assert [one["pointer"] for one in answer.json()["problems"]] == ["/destination_whitelist"]
        fewer = await acme.patch("/v1/trunks/acme.office", json={"destination_whitelist": ["us"]})
        assert fewer.status_code == 200


async def test_names_of_others_cannot_be_found_out(acme: httpx.AsyncClient) -> None:
    async with acme:
        answers = [
            (await acme.post("/v1/trunks", json={"name": name, "allowed_sip_ips": ["192.0.2.14"]}),
             await acme.patch("/v1/trunks/acme.office", json={"name": name}),
             await acme.put("/v1/trunks/acme.office", json={"name": name, "allowed_sip_ips": OWN_SOURCE}))
            for name in ("umbrella.shop", "umbrella.none")
        ]  # fmt: skip
    for there, not_there in zip(*answers, strict=True):
        assert there.status_code == not_there.status_code == 403
        assert there.text == not_there.text.replace("umbrella.none", "umbrella.shop")


async def test_own_mistakes_are_told_in_full(acme: httpx.AsyncClient) -> None:
    async with acme:
        answer = await acme.patch("/v1/trunks/acme.office", json={"capacity_limit": -1})
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert problem["pointer"] == "/capacity_limit"
    assert "-1" in problem["message"]


async def test_without_the_scope_nothing_is_written(let: House) -> None:
    before = await _everything(let)
    async with await let.tenant("acme", "read", "calls") as reader:
        for kind in OTHERS:
            for method, path in (("POST", ""), ("PUT", "/acme"), ("PATCH", "/acme"), ("DELETE", "/acme")):
                answer = await reader.request(method, f"/v1/{kind}{path}", json={"name": "acme.x"})
                assert answer.status_code == 403
    assert await _everything(let) == before


def test_all_that_differs_is_judged() -> None:
    """Whatever a carrier's API makes of the policy, who sees one account changes that account's objects."""
    own, theirs = {"account": "acme", "capacity_limit": 1}, {"account": "umbrella", "capacity_limit": 1}
    before = Document().create("accounts", "acme", {"destination_whitelist": ["us"]}, id="a")
    before = before.create("trunks", "acme.desk", own, id="1").create("trunks", "shop", theirs, id="2")
    before = before.create("dids", "n", {"number": "+12025550100", "account": "acme"}, id="n")
    who = Identity("portal", frozenset({"write"}), "acme")
    for after in (
        before,
        before.delete("trunks", "1"),
        before.patch("trunks", "1", {"capacity_limit": 2}),
        before.create("trunks", "acme.new", own, id="3"),
        before.patch("dids", "n", {"trunk": "acme.desk"}),
    ):
        check_all(who, before, after)
    for after in (
        before.delete("trunks", "2"),
        before.delete("accounts", "a"),
        before.delete("dids", "n"),
        before.patch("trunks", "2", {"capacity_limit": 2}),
        before.create("trunks", "acme.new", theirs, id="3"),
        before.create("trunks", "new", own, id="3"),
        before.create("dids", "acme.m", {"number": "+12025550101", "account": "acme"}, id="m"),
        before.create("providers", "acme.p", {"hostname": "192.0.2.1"}, id="p"),
        before.patch("trunks", "1", {"account": "umbrella"}),
        before.patch("trunks", "1", {"provider": "p"}),
        before.patch("dids", "n", {"account": "umbrella"}),
        before.patch("dids", "n", {"account": None, "trunk": "shop"}),
        before.patch("accounts", "a", {"capacity_limit": 5}),
        before.delete("trunks", "2").create("trunks", "shop", own, id="2"),
    ):
        with pytest.raises(Forbidden):
            check_all(who, before, after)
        check_all(everything("ops"), before, after)
