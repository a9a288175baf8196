"""Tokens of one account belong to that very account, whatever is called like it later."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from proxy.admin.access.tenancy import NoSuchAccount, id_of_account, in_force
from proxy.ledger.tokens import StoredToken, Tokens
from proxy.objects.document import Document
from proxy.objects.editor import open_editor
from proxy.objects.yaml_file import id_by_name
from tests.admin.house import ROOT, House

ACME = {"name": "acme", "destination_whitelist": ["us"]}
TOKEN = StoredToken("01", "of-acme", "ab" * 32, ("read",), "acme", "", "", id_by_name("accounts", "acme"))


async def _wrong(http: httpx.AsyncClient, house: House, path: str = "/v1/trunks") -> None:
    """Its token is answered like one that was revoked."""
    async with house.client("tw_000000000000_" + 43 * "x", "192.0.2.99") as nobody:
        unknown = await nobody.get(path)
    answer = await http.get(path)
    assert answer.status_code == unknown.status_code == 401
    assert answer.text == unknown.text
    assert answer.headers["www-authenticate"] == unknown.headers["www-authenticate"]


async def test_another_account_of_that_name_is_another_account(house: House) -> None:
    await house.put("accounts", **ACME)
    async with await house.tenant("acme", "write") as old, house.client(ROOT) as root:
        assert (await old.get("/v1/trunks")).status_code == 200
        assert (await root.delete("/v1/accounts/acme")).status_code == 204
        await _wrong(old, house)
        await house.put("accounts", **ACME)
        await house.put("trunks", name="acme.office", account="acme", allowed_sip_ips=["192.0.2.10"])
        for path in (
            "/v1/trunks",
            "/v1/calls",
            "/didww/v3/voice_out_trunks",
            "/voipbin/v1.0/outbound_config",
        ):
            await _wrong(old, house, path)
        assert (await old.patch("/v1/trunks/acme.office", json={"status": "blocked"})).status_code == 401
        async with await house.tenant("acme", "write") as new:
            assert [one["name"] for one in (await new.get("/v1/trunks")).json()["trunks"]] == ["acme.office"]


async def test_a_renamed_account_keeps_its_tokens(house: House) -> None:
    await house.put("accounts", **ACME)
    async with await house.tenant("acme", "write") as own, house.client(ROOT) as root:
        renamed = await root.patch("/v1/accounts/acme", json={"name": "apex"})
        assert renamed.status_code == 200, renamed.text
        await house.put("accounts", **ACME)
        assert [one["name"] for one in (await own.get("/v1/accounts")).json()["accounts"]] == ["apex"]
        made = await own.post("/v1/profiles", json={"name": "apex.p"})
        assert (made.status_code, made.json()["account"]) == (201, "apex")


async def test_what_knows_a_name_alone_opens_nothing(house: House) -> None:
    await house.put("accounts", **ACME)
    made = await house.create("of-acme", "read", account="acme")
    tokens = Tokens(house.ledger.requests)
    stored = await tokens.find(made["id"])
    assert stored is not None
    async with house.client(made["token"]) as own:
        assert (await own.get("/v1/trunks")).status_code == 200
        for other in (None, "acme", "no-such"):
            await tokens.remove(made["id"])
            await tokens.add(replace(stored, account_id=other))
            await _wrong(own, house)


async def test_there_is_no_token_for_an_account_that_is_not_there(house: House) -> None:
    async with house.client(ROOT) as root:
        wanted = {"name": "a", "scopes": ["read"], "account": "acmee"}
        none = await root.post("/v1/tokens", json=wanted)
        assert (none.status_code, none.json()["detail"]) == (422, "there is no account `acmee`")
        made = await house.put("accounts", **ACME)
        wrong = await root.post("/v1/tokens", json=wanted)
        assert wrong.json()["detail"] == "there is no account `acmee`; there are `acme`"
        by_id = await root.post("/v1/tokens", json={**wanted, "account": made["id"]})
        assert by_id.status_code == 422
        assert (await root.get("/v1/tokens")).json() == {"tokens": []}
        right = (await root.post("/v1/tokens", json={**wanted, "account": "acme"})).json()
        assert (right["account"], right["account_id"]) == ("acme", made["id"])


def test_names_that_are_ids_of_others() -> None:
    document = Document().create("accounts", "a", {}, id="b").create("accounts", "b", {}, id="2")
    assert id_of_account(document, "b") == "2"
    many = Document()
    for number in range(11):
        many = many.create("accounts", f"a{number}", {}, id=str(number))
    with pytest.raises(NoSuchAccount, match=r"there is no account `b`$"):
        id_of_account(many, "b")


async def test_an_account_of_a_file_is_its_name(tmp_path: Path) -> None:
    """It lives on when the file is changed, until the account is not in it."""
    file = tmp_path / "trunkwarden.yaml"
    accounts = json.dumps([ACME])
    file.write_text(f"emergency: none\naccounts: {accounts}\n")
    editor = open_editor(file, "file", "unix:///nowhere", tmp_path)

    async def find(token_id: str) -> StoredToken | None:
        return TOKEN if token_id == "01" else None

    found = in_force(find, editor)
    assert await found("01") == TOKEN
    assert await found("02") is None
    for text, there in (
        (f"emergency: none\naccounts: {accounts}\nprofiles: [{{name: p}}]\n", True),
        ("emergency: none\naccounts: [{name: acme}, {name: acme}]\n", True),  # not put in force
        ("emergency: none\naccounts: [{name: acmeee}]\n", False),
        (f"emergency: none\naccounts: {accounts}\n", True),
    ):
        file.write_text(text)
        assert (await found("01") == TOKEN) is there, text
