"""The commands `tokens` and `audit`, as a user runs them beside a running instance."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from proxy.admin.settings import AdminSettings
from proxy.admin.spawn import AdminProcess
from proxy.ledger.redis_ledger import open_ledger
from proxy.objects.editor import new_id, open_editor
from proxy.objects.yaml_file import id_by_name
from tests.admin.stage import Target, until
from tests.cli.test_console import command
from tests.ledger.servers import PATIENT, Server
from tests.live import aside, configuration, write


async def test_from_creation_to_revocation(empty_server: Server, tmp_path: Path) -> None:
    file = str(write(tmp_path, configuration(ledger={"url": empty_server.url})))
    ledger = await open_ledger(empty_server.url, tmp_path, lease_seconds=30, owner="test", deadline=PATIENT)
    admin = AdminProcess(AdminSettings("127.0.0.1", 0, "root", empty_server.url, tmp_path), Target())
    url = admin.bind()
    await admin.start(60)
    try:
        made = await aside(command, "tokens", "create", "billing", "--scope", "read", "-c", file)
        assert made.exit_code == 0, made.stderr
        token = made.stdout.strip()
        shown = {"Authorization": f"Bearer {token}"}

        listed = await aside(command, "tokens", "list", "--json", "-c", file)
        (one,) = json.loads(listed.stdout)
        assert (one["name"], one["scopes"], one["account"]) == ("billing", ["read"], None)
        assert "digest" not in one
        plain = await aside(command, "tokens", "list", "-c", file)
        assert plain.stdout.startswith(f"{one['id']}  billing  read  -  ")
        assert token.split("_", 2)[2] not in listed.stdout + plain.stdout

        async with httpx.AsyncClient(base_url=url, headers=shown, timeout=30) as http:
            assert (await http.get("/v1/policy")).status_code == 200
            assert (await http.post("/v1/reload")).status_code == 403
            done = await aside(command, "tokens", "revoke", "billing", "-c", file)
            assert (done.exit_code, done.stderr) == (0, f"revoked {one['id']} (billing)\n")
            assert (await http.get("/v1/policy")).status_code == 401

        done = await aside(command, "tokens", "revoke", one["id"], "-c", file)
        assert (done.exit_code, done.stdout) == (1, "")
        wanted = {"tokens create billing", "tokens revoke billing", "POST /v1/reload"}

        async def told() -> bool:
            done = await aside(command, "audit", "--json", "-c", file)
            return wanted <= {json.loads(line)["action"] for line in done.stdout.splitlines()}

        await until(told, 30)
        async with httpx.AsyncClient(base_url=url, timeout=30) as stranger:
            assert (await stranger.get("/v1/%1B[2J%0Aforged%C2%9B")).status_code == 401
        pages: list[str] = []

        async def told_of_it() -> bool:
            pages.append((await aside(command, "audit", "--limit", "1000", "-c", file)).stdout)
            return r"(unknown): GET /v1/\x1b[2J\nforged\x9b status=401" in pages[-1]

        await until(told_of_it, 30)
        assert "billing: POST /v1/reload status=403" in pages[-1]
        assert token not in pages[-1]
    finally:
        await admin.stop()
        await ledger.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a b", "--scope", "read"], "a name of letters"),
        (["a", "--scope", "root"], "no such scope: `root`"),
        (["a", "--scope", "admin", "--account", "acme"], "cannot have the scope `admin`"),
    ],
)
def test_mistakes(empty_server: Server, tmp_path: Path, arguments: list[str], message: str) -> None:
    path = write(tmp_path, configuration(ledger={"url": empty_server.url}))
    done = command("tokens", "create", *arguments, "-c", str(path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr


@pytest.mark.parametrize("source", ["file", "store"])
def test_the_account_of_a_token(empty_server: Server, tmp_path: Path, source: str) -> None:
    """In the store's case: of what will be put there first."""
    accounts = [{"name": "acme", "destination_whitelist": ["us"]}]
    settings = {"ledger": {"url": empty_server.url}, "policy": {"source": source}, "accounts": accounts}
    file = str(write(tmp_path, configuration(**settings)))
    done = command("tokens", "create", "a", "--scope", "read", "--account", "acmee", "-c", file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "there is no account `acmee`; there are `acme`" in done.stderr
    assert command("tokens", "create", "a", "--scope", "read", "--account", "acme", "-c", file).exit_code == 0
    (one,) = json.loads(command("tokens", "list", "--json", "-c", file).stdout)
    assert (one["account"], one["account_id"]) == ("acme", id_by_name("accounts", "acme"))


async def test_the_account_of_a_token_in_the_store(empty_server: Server, tmp_path: Path) -> None:
    path = write(tmp_path, configuration(ledger={"url": empty_server.url}, policy={"source": "store"}))
    editor = open_editor(path, "store", empty_server.url, tmp_path)
    account, provider = new_id(), {"hostname": "192.0.2.200"}
    try:
        await editor.change(
            "test",
            "",
            lambda old: old.create("providers", "carrier", provider, id=new_id()).create(
                "accounts", "acme", {}, id=account
            ),
        )
    finally:
        await editor.close()
    arguments = ("tokens", "create", "a", "--scope", "read", "--account", "acme", "-c", str(path))
    done = await aside(command, *arguments)
    assert done.exit_code == 0, done.stderr
    (one,) = json.loads((await aside(command, "tokens", "list", "--json", "-c", str(path))).stdout)
    assert one["account_id"] == account


def test_names_that_several_have(empty_server: Server, tmp_path: Path) -> None:
    file = str(write(tmp_path, configuration(ledger={"url": empty_server.url})))
    for _ in range(2):
        assert command("tokens", "create", "twin", "--scope", "read", "-c", file).exit_code == 0
    done = command("tokens", "revoke", "twin", "-c", file)
    assert done.exit_code == 1
    assert "revoke one by its id" in done.stderr


def test_a_policy_with_problems_keeps_nobody_from_revoking(empty_server: Server, tmp_path: Path) -> None:
    path = write(tmp_path, configuration(ledger={"url": empty_server.url}))
    assert command("tokens", "create", "leaked", "--scope", "admin", "-c", str(path)).exit_code == 0
    path.write_text(path.read_text().replace("allowed_sip_ips", "allowed_sip_ipz"))
    assert command("check", "-c", str(path)).exit_code == 1
    assert command("tokens", "revoke", "leaked", "-c", str(path)).exit_code == 0


def test_without_a_ledger(tmp_path: Path) -> None:
    path = write(tmp_path, configuration(ledger={"url": f"unix://{tmp_path}/nowhere"}))
    done = command("tokens", "list", "-c", str(path))
    assert done.exit_code == 1
    assert "the ledger is away" in done.stderr
