"""What a token of one account may do over carriers' APIs is what it may over the native one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from proxy.admin.access import room
from proxy.admin.facades.mounting import mount_facades
from tests.admin.facades.stage import Spending
from tests.admin.house import ROOT, House

OWN, OTHERS, THEIRS = "+12025550100", "+12025550101", "+442079460000"
DIDWW, TELNYX, VOIPBIN = "/didww/v3/voice_out_trunks", "/telnyx/v2/outbound_voice_profiles", "/voipbin/v1.0"
NESTED = {"Content-Type": "application/vnd.api+json", "X-DIDWW-Api-Version": "2026-04-16"}


@pytest.fixture
async def let(house: House) -> House:
    mount_facades(house.app, house.app.state.policy, Spending())
    await house.put("accounts", name="acme", destination_whitelist=["us"], dids=[OWN, OTHERS])
    await house.put("accounts", name="umbrella", destination_whitelist=["us"], dids=[THEIRS])
    return house


@pytest.fixture
async def acme(let: House) -> AsyncIterator[httpx.AsyncClient]:
    async with await let.tenant("acme", "write") as client:
        yield client


def trunk(name: str, *sources: str, login: bool = False, **fields: Any) -> dict[str, Any]:
    method = {
        "type": "credentials_and_ip" if login else "ip_only",
        "attributes": {"allowed_sip_ips": list(sources)},
    }
    return {"name": name, "authentication_method": method, **fields}


async def made(client: httpx.AsyncClient, attributes: dict[str, Any]) -> httpx.Response:
    body = {"data": {"type": "voice_out_trunks", "attributes": attributes}}
    return await client.post(DIDWW, json=body, headers=NESTED)


async def changed(client: httpx.AsyncClient, key: str, **attributes: Any) -> httpx.Response:
    body = {"data": {"id": key.lower(), "type": "voice_out_trunks", "attributes": attributes}}
    return await client.patch(f"{DIDWW}/{key}", json=body, headers=NESTED)


async def names(house: House, kind: str) -> list[str]:
    async with house.client(ROOT) as root:
        return [one["name"] for one in (await root.get(f"/v1/{kind}")).json()[kind]]


async def test_so_many_objects(let: House, acme: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_OBJECTS", 1)
    for number, status in ((1, 201), (2, 422)):
        answer = await made(acme, trunk(f"t{number}", f"192.0.2.{number}"))
        assert answer.status_code == status, answer.text
    (error,) = answer.json()["errors"]
    assert (error["code"], error["source"]["pointer"]) == ("100", "/data")
    assert "the account has 1 trunks" in error["detail"]
    for number, status in ((1, 200), (2, 422)):
        answer = await acme.post(TELNYX, json={"name": f"profile {number}"})
        assert answer.status_code == status, answer.text
    assert "the account has 1 profiles" in answer.json()["errors"][0]["detail"]
    for number, status in ((1, 200), (2, 400)):
        answer = await acme.post(f"{VOIPBIN}/outplans", json={"name": f"plan {number}"})
        assert answer.status_code == status, answer.text
    assert "the account has 1 outplans" in answer.json()["error"]["message"]
    for kind in ("trunks", "profiles", "outplans"):
        assert len(await names(let, kind)) == 1
        async with let.client(ROOT) as root:
            assert (await root.post(TELNYX, json={"name": f"for {kind}"})).status_code == 200
            await root.delete(f"/v1/profiles/for-{kind}")


async def test_names_are_in_the_accounts_space(let: House, acme: httpx.AsyncClient) -> None:
    """`acme.x.` is that of the account `acme.x`, whichever was there first."""
    assert (await made(acme, trunk("x.desk", "192.0.2.1"))).status_code == 201
    assert (await acme.post(TELNYX, json={"name": "x.desk"})).status_code == 200
    assert (await acme.post(f"{VOIPBIN}/outplans", json={"name": "x.desk"})).status_code == 200
    for kind in ("trunks", "profiles", "outplans"):
        assert await names(let, kind) == ["acme.x-desk"]
        answer = await acme.patch(f"/v1/{kind}/acme.x-desk", json={"name": "acme.x.desk"})
        assert answer.status_code == 403
    await let.put("accounts", name="acme.x", destination_whitelist=["us"])
    async with await let.tenant("acme.x", "write") as below:
        for client, name, status in (
            (acme, "acme.x.one", 403),
            (acme, "acme.", 403),
            (below, "acme.x.one", 201),
            (below, "acme.one", 403),
            (below, "acme.x.y.one", 403),
            (acme, "acme.one", 201),
        ):
            answer = await client.post("/v1/profiles", json={"name": name})
            assert answer.status_code == status, (name, answer.text)


async def test_callers_that_are_held_to_numbers(let: House, acme: httpx.AsyncClient) -> None:
    answer = await made(acme, trunk("desk", "192.0.2.1", on_cli_mismatch_action="reject_call"))
    assert answer.status_code == 201, answer.text
    key = answer.json()["data"]["id"]
    for name in (key, key.upper()):
        answer = await changed(acme, name, on_cli_mismatch_action="send_original_cli")
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert error["source"]["pointer"] == "/data/attributes/on_cli_mismatch_action"
    for action in ("send_original_cli", None):
        answer = await acme.patch(f"/v1/trunks/{key}", json={"on_cli_mismatch_action": action})
        assert answer.status_code == 403, answer.text
        assert [one["pointer"] for one in answer.json()["problems"]] == ["/on_cli_mismatch_action"]
    answer = await acme.put(f"/v1/trunks/{key}", json={"allowed_sip_ips": ["192.0.2.1"]})
    assert answer.status_code == 403, answer.text
    # Which of the account's numbers is the account's own affair.
    assert (await changed(acme, key, allow_any_did_as_cli=True)).status_code == 200
    numbers = {"allow_any_did_as_cli": False, "dids": [OWN], "on_cli_mismatch_action": "randomize_cli"}
    assert (await acme.patch(f"/v1/trunks/{key}", json=numbers)).status_code == 200
    for numbers in ({"dids": [OWN, THEIRS]}, {"default_did": THEIRS}):
        assert (await acme.patch(f"/v1/trunks/{key}", json=numbers)).status_code == 403
    # The account's own number holds all of its trunks.
    async with let.client(ROOT) as root:
        assert (await root.patch("/v1/accounts/acme", json={"default_did": OWN})).status_code == 200
    assert (await changed(acme, key, on_cli_mismatch_action="send_original_cli")).status_code == 200
    async with let.client(ROOT) as root:
        answer = await changed(root, key, on_cli_mismatch_action="send_original_cli")
        assert answer.status_code == 200


async def test_the_number_that_an_account_is_held_to(let: House, acme: httpx.AsyncClient) -> None:
    path = f"{VOIPBIN}/outbound_config"
    async with let.client(ROOT) as root:
        account = (await root.get("/v1/accounts/acme")).json()["id"]
        config = (await root.post(f"{path}s", json={"customer_id": account})).json()
        numbers = (await acme.get(f"{VOIPBIN}/numbers")).json()["result"]
        ids = {one["number"]: one["id"] for one in numbers}
        field, none = "default_outgoing_source_number_id", "00000000-0000-0000-0000-000000000000"
        for number in (OWN, OTHERS):
            assert (await acme.put(path, json={field: ids[number]})).status_code == 200
        answer = await acme.put(path, json={field: none, "destination_whitelist": ["us"]})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"].startswith(field)
        shown = (await acme.get(path)).json()
        assert (shown[field], shown["destination_whitelist"]) == (ids[OTHERS], [])
        assert (await root.put(f"{path}s/{config['id']}", json={field: none})).status_code == 200
    assert (await acme.put(path, json={"destination_whitelist": ["us"]})).status_code == 200


async def test_callers_from_anywhere_log_in(let: House, acme: httpx.AsyncClient) -> None:
    assert (await made(acme, trunk("open", "0.0.0.0/0"))).status_code == 422
    answer = await made(acme, trunk("phones", "0.0.0.0/0", login=True))
    assert answer.status_code == 201, answer.text
    key = answer.json()["data"]["id"]
    everywhere = {"allowed_sip_ips": ["0.0.0.0/0"], "allow_any_source": True}
    login = {"auth": "ip_and_digest", "username": "u", "password": "p"}
    for fields, status in ((everywhere, 403), ({**everywhere, **login}, 201)):
        answer = await acme.post("/v1/trunks", json={"name": "acme.a", **fields})
        assert answer.status_code == status, answer.text
    given_up = {"allowed_sip_ips": ["192.0.2.1"], "auth": "ip", "allow_any_source": False}
    for name in (key, "acme.a"):
        assert (await acme.patch(f"/v1/trunks/{name}", json={"auth": "ip"})).status_code == 403
    assert (await acme.patch("/v1/trunks/acme.a", json=given_up)).status_code == 200


async def test_countries_where_the_account_has_none(let: House, acme: httpx.AsyncClient) -> None:
    profile = await acme.post(TELNYX, json={"name": "profile", "whitelisted_destinations": ["US"]})
    assert profile.status_code == 200, profile.text
    async with let.client(ROOT) as root:
        free = await root.patch("/v1/accounts/acme", json={"destination_whitelist": None})
        assert free.status_code == 200, free.text
    where = f"{TELNYX}/{profile.json()['data']['id']}"
    more = await acme.patch(where, json={"whitelisted_destinations": ["US", "CU"]})
    assert more.status_code == 422, more.text
    assert more.json()["errors"][0]["source"]["pointer"] == "/whitelisted_destinations"


async def test_which_trunk_a_number_is_for(let: House, acme: httpx.AsyncClient) -> None:
    """Numbers with entries of their own are arranged among the account's trunks, and stay the account's."""
    number, theirs = "+12025550102", "+442079460001"
    ids = {}
    for one, account in ((number, "acme"), (theirs, "umbrella")):
        ids[one] = (await let.put("dids", number=one, account=account))["id"]
    key = (await made(acme, trunk("desk", "192.0.2.1"))).json()["data"]["id"]

    async def assign(*wanted: str) -> int:
        linkage = {"dids": {"data": [{"type": "dids", "id": ids[one]} for one in wanted]}}
        body = {"data": {"id": key, "type": "voice_out_trunks", "relationships": linkage}}
        return (await acme.patch(f"{DIDWW}/{key}", json=body, headers=NESTED)).status_code

    async def entry() -> tuple[str, str | None]:
        async with let.client(ROOT) as root:
            shown = (await root.get(f"/v1/dids/{ids[number]}")).json()
        return shown["account"], shown["trunk"]

    assert await assign(number, theirs) == 422
    assert await entry() == ("acme", None)
    assert await assign(number) == 200
    assert await entry() == ("acme", "acme.desk")
    assert (await acme.patch(f"/v1/dids/{ids[number]}", json={"trunk": None})).status_code == 403
    assert (await acme.delete(f"{DIDWW}/{key}")).status_code == 204
    assert await entry() == ("acme", None)
