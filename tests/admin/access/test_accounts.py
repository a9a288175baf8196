"""Two accounts, each with a token of its own: neither sees or touches anything of the other."""

from __future__ import annotations

import json

import pytest

from policy.compiled import Scope
from proxy.ledger.hangup import HangupRequest
from tests.admin.house import ROOT, House


@pytest.fixture
async def let(house: House) -> House:
    """`office` is acme's, `shop` is umbrella's, `open` is nobody's; each has a live call and decisions."""
    house.target.scopes["shop"] = Scope("trunk:shop", "trunk", "shop")
    house.target.accounts = {"office": "acme", "shop": "umbrella"}
    for account in ("acme", "umbrella"):
        await house.put("accounts", name=account)
    for number, (trunk, account) in enumerate((("office", "acme"), ("shop", "umbrella"), ("open", None))):
        sources, countries = [f"192.0.2.{number}"], ["us"]
        await house.put(
            "trunks", name=trunk, account=account, allowed_sip_ips=sources, destination_whitelist=countries
        )
    house.target.problems = ["trunks[shop]: is of umbrella"]
    for ref, trunk, account in (("r1", "office", "acme"), ("r2", "shop", "umbrella"), ("r3", "open", None)):
        record = json.dumps({"called": "+4420", "account": account}).encode()
        await house.live_call(ref, trunk, record)
    house.ledger.append_records(
        "decisions",
        [
            json.dumps({"ref": f"{account}-{number}", "account": account, "provider": "secret"}).encode()
            for number in range(600)
            for account in ("acme", "umbrella", None)
        ],
    )
    await house.ledger.ping()
    return house


async def test_trunks_and_usage(let: House) -> None:
    async with await let.tenant("acme", "read") as acme, let.client(ROOT) as root:
        assert [trunk["name"] for trunk in (await acme.get("/v1/trunks")).json()["trunks"]] == ["office"]
        assert (await acme.get("/v1/trunks/office/usage")).json()["active_calls"] == 1
        absent = await acme.get("/v1/trunks/nowhere/usage")
        for other in ("shop", "open"):
            answer = await acme.get(f"/v1/trunks/{other}/usage")
            assert answer.status_code == absent.status_code == 404
            assert answer.text == absent.text.replace("nowhere", other)
        assert len((await root.get("/v1/trunks")).json()["trunks"]) == 3


async def test_calls(let: House) -> None:
    async with await let.tenant("acme", "read") as acme, await let.tenant("umbrella", "calls") as umbrella:
        assert [call["ref"] for call in (await acme.get("/v1/calls")).json()["calls"]] == ["r1"]
        assert [call["ref"] for call in (await umbrella.get("/v1/calls?limit=1")).json()["calls"]] == ["r2"]


async def test_decisions(let: House) -> None:
    async with await let.tenant("umbrella", "read") as umbrella:
        found = (await umbrella.get("/v1/decisions?limit=555")).json()["decisions"]
    assert [one["ref"] for one in found] == [f"umbrella-{number}" for number in range(599, 44, -1)]
    assert not any("provider" in one for one in found)


async def test_hanging_up(let: House) -> None:
    asked: list[HangupRequest] = []

    def ended(request: HangupRequest) -> list[str]:
        asked.append(request)
        return ["r1"]

    let.ledger.on_hangup(ended)
    await let.ledger.hears_hangups()
    async with await let.tenant("acme", "calls") as acme:
        absent = await acme.delete("/v1/calls/nowhere")
        for ref in ("r2", "r3"):
            answer = await acme.delete(f"/v1/calls/{ref}")
            assert answer.status_code == absent.status_code == 404
            assert answer.text == absent.text.replace("nowhere", ref)
        for trunk in ("shop", "open", "nowhere"):
            assert (await acme.delete(f"/v1/calls?trunk={trunk}")).status_code == 404
        assert asked == []
        assert (await acme.delete("/v1/calls/r1")).status_code == 202
        assert (await acme.delete("/v1/calls?trunk=office")).status_code == 202
    assert [(request.ref, request.trunk) for request in asked] == [("r1", None), (None, "office")]


async def test_what_belongs_to_no_account(let: House) -> None:
    async with await let.tenant("acme", "read", "write", "calls") as acme:
        assert (await acme.get("/v1/policy")).json()["problems"] == []
        for method, path in (
            ("POST", "/v1/explain"),
            ("POST", "/v1/reload"),
            ("GET", "/v1/tokens"),
            ("POST", "/v1/tokens"),
            ("DELETE", "/v1/tokens/x"),
            ("GET", "/v1/audit"),
        ):
            assert (await acme.request(method, path)).status_code == 403, path
    assert let.target.explained == []


async def test_an_account_without_anything(let: House) -> None:
    await let.put("accounts", name="initech")
    async with await let.tenant("initech", "read") as nobody:
        assert (await nobody.get("/v1/trunks")).json()["trunks"] == []
        assert (await nobody.get("/v1/calls")).json() == {"calls": []}
        assert (await nobody.get("/v1/decisions")).json() == {"decisions": []}
