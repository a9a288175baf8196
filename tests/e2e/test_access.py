"""Tokens at running instances, with real calls: an account sees and ends its own calls and no others, and its
tokens are not its namesake's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.facade_stage import (
    LONDON_DID,
    new_token,
    outcome,
    seconds_until,
    signed_in,
    store_configuration,
)
from tests.e2e.sip_text import answer
from tests.e2e.trunkwarden_process import HTTP_SECONDS, Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall, incoming
from tests.e2e.waiting import eventually

ACME, UMBRELLA = "127.0.0.10", "127.0.0.11"
REVOKED_SECONDS = 1.0
TIMES = 3  # of which a machine that stops for a moment spoils one


@pytest.fixture(scope="module")
def instances(serve_module, redis_server, provider, tmp_path_factory) -> list[Trunkwarden]:
    """Two on one ledger; the second asks everybody for a token."""
    made = []
    for name in ("one", "two"):
        folder = tmp_path_factory.mktemp(name)
        accounts = [{"name": account, "destination_whitelist": ["us"]} for account in ("acme", "umbrella")]
        trunks = [trunk("desk", ACME, account="acme"), trunk("shop", UMBRELLA, account="umbrella")]
        carriers = [provider_entry("carrier", provider.address)]
        config = configuration(folder, redis_server.url, carriers, trunks, accounts=accounts)
        if name == "two":
            (folder / "token").write_text("root\n")
            config["admin"]["token_file"] = str(folder / "token")
        made.append(serve_module(config))
    return made


@pytest.fixture
def tenant(instances) -> Iterator[Callable[..., httpx.Client]]:
    """Clients of an instance with a new token of an account, made by the command."""
    clients = []

    def client(account: str, at: Trunkwarden, *scopes: str) -> httpx.Client:
        options = [part for scope in scopes for part in ("--scope", scope)]
        file = str(instances[0].file)
        made = command("tokens", "create", f"of-{account}", *options, "--account", account, "-c", file)
        assert (made.returncode, made.stderr) == (0, "")
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        clients.append(httpx.Client(base_url=at.admin, timeout=HTTP_SECONDS, headers=headers))
        return clients[-1]

    yield client
    for one in clients:
        one.close()


def test_an_account_sees_and_ends_its_own_calls(instances, provider, new_peer, tenant) -> None:
    first, second = instances
    acme, umbrella = tenant("acme", second, "calls"), tenant("umbrella", second, "calls")
    calls = {}
    for source in (ACME, UMBRELLA):
        caller = new_peer(source)
        call = OutgoingCall(caller, first.address, WASHINGTON).send()
        incoming(provider, first.address, call).accept()
        call.answered()
        calls[source] = caller, call.call_id
    (own,) = acme.get("/v1/calls").json()["calls"]
    (others,) = umbrella.get("/v1/calls").json()["calls"]
    assert (own["trunk"], others["trunk"]) == ("desk", "shop")
    assert [one["name"] for one in acme.get("/v1/trunks").json()["trunks"]] == ["desk"]
    assert acme.get("/v1/trunks/desk/usage").json()["active_calls"] == 1
    assert acme.get("/v1/trunks/shop/usage").status_code == 404

    def decided() -> list[str]:
        return [one["trunk"] for one in acme.get("/v1/decisions").json()["decisions"]]

    assert eventually(decided, 10, "its decision") == ["desk"]
    for path in (f"/v1/calls/{others['ref']}", "/v1/calls?trunk=shop"):
        assert acme.delete(path).status_code == 404
    assert acme.delete(f"/v1/calls/{own['ref']}").status_code == 202
    caller, call_id = calls[ACME]
    for peer in (caller, provider):
        peer.send(answer(peer.expect_request("BYE", call_id=call_id), "200 OK"), first.address)
    assert [one["ref"] for one in umbrella.get("/v1/calls").json()["calls"]] == [others["ref"]]
    assert umbrella.delete("/v1/calls?trunk=shop").status_code == 202
    caller, call_id = calls[UMBRELLA]
    for peer in (caller, provider):
        peer.send(answer(peer.expect_request("BYE", call_id=call_id), "200 OK"), first.address)
    first.wait_until_idle()


def seconds_until_refused(client: httpx.Client, begun: float) -> float:
    """How long after `begun` the client's token is good for nothing."""
    eventually(lambda: client.get("/v1/accounts").status_code == 401, what="the refusal")
    return time.monotonic() - begun


def test_what_is_revoked_at_one_is_refused_at_the_other(instances, tenant) -> None:
    first, second = instances
    took = []
    for _ in range(TIMES):
        acme = tenant("acme", second, "read")
        assert acme.get("/v1/accounts").status_code == 200
        tokens = [one for one in first.get("/v1/tokens")["tokens"] if one["name"] == "of-acme"]
        for one in tokens:
            assert first.http.delete(f"/v1/tokens/{one['id']}").status_code == 204
        took.append(seconds_until_refused(acme, time.monotonic()))
    assert min(took) < REVOKED_SECONDS, took
    root = {"Authorization": "Bearer root"}

    def audited() -> list[dict[str, Any]]:
        """The entries, once the one that is written behind the last answer is there."""
        found = httpx.get(f"{second.admin}/v1/audit?limit=1000", headers=root, timeout=HTTP_SECONDS)
        entries = list(found.json()["entries"])
        wanted = {"tokens create of-acme", f"DELETE /v1/tokens/{tokens[0]['id']}"}
        return entries if wanted <= {one["action"] for one in entries} else []

    told = eventually(audited, what="both entries")
    secret = acme.headers["Authorization"].split("_", 2)[2]
    assert secret not in json.dumps(told) + first.stderr() + second.stderr()


def test_a_token_ends_with_its_account(serve_module, redis_server, provider, tmp_path_factory) -> None:
    """Another customer's account of that name is none of its business, at any instance."""
    made = [
        signed_in(
            serve_module(store_configuration(tmp_path_factory.mktemp(name), redis_server.url, provider))
        )
        for name in ("three", "four")
    ]
    first = made[0].http
    paths = ("/v1/accounts", "/didww/v3/voice_out_trunks", "/voipbin/v1.0/numbers")
    took = []
    for name in ("zenith", "forgotten"):  # each is refused four times; after ten the answer is 429
        token = new_token(made[0], f"of-{name}", "write", account=name)
        headers = {"Authorization": f"Bearer {token}"}
        own = [httpx.Client(base_url=one.admin, timeout=HTTP_SECONDS, headers=headers) for one in made]
        assert [one.get(paths[0]).json()["accounts"][0]["name"] for one in own] == [name] * 2
        assert first.delete(f"/v1/accounts/{name}").status_code == 204
        begun = time.monotonic()
        again = first.post("/v1/accounts", json={"name": name, "destination_whitelist": ["us"]})
        assert again.status_code == 201, again.text
        took.append(max(seconds_until_refused(one, begun) for one in own))
        for one in own:
            assert [one.get(path).status_code for path in paths] == [401] * len(paths)
            one.close()
    assert min(took) < REVOKED_SECONDS, took
    refused = first.post("/v1/tokens", json={"name": "a", "scopes": ["read"], "account": "no-such"})
    assert refused.status_code == 422
    assert "there is no account `no-such`" in refused.json()["detail"]


def test_callers_that_are_held_to_numbers_stay_so(
    serve, redis_server, provider, busy, new_peer, tmp_path
) -> None:
    """Under an account's own token, over DIDWW's API and over the native one."""
    proxy = signed_in(serve(store_configuration(tmp_path, redis_server.url, provider)))
    desk, headers = new_peer("127.0.5.5"), {"Api-Key": new_token(proxy, "cli", "write", account="acme")}
    trunks = f"{proxy.admin}/didww/v3/voice_out_trunks"
    held = {"name": "Held", "allowed_sip_ips": ["127.0.5.5"], "on_cli_mismatch_action": "reject_call"}
    body: dict[str, Any] = {"type": "voice_out_trunks", "attributes": {**held, "allow_any_did_as_cli": True}}
    headers["Content-Type"] = "application/vnd.api+json"
    made = httpx.post(trunks, headers=headers, json={"data": body}, timeout=HTTP_SECONDS)
    assert made.status_code == 201, made.text
    shown = made.json()["data"]
    login = (shown["attributes"]["username"], shown["attributes"]["password"])
    seconds_until("admitted", lambda: outcome(desk, proxy, WASHINGTON, login, cli=LONDON_DID))
    assert outcome(desk, proxy, WASHINGTON, login) == "CLI"
    body = {**body, "id": shown["id"], "attributes": {"on_cli_mismatch_action": "send_original_cli"}}
    refused = httpx.patch(
        f"{trunks}/{shown['id']}", headers=headers, json={"data": body}, timeout=HTTP_SECONDS
    )
    assert refused.status_code == 422, refused.text
    (error,) = refused.json()["errors"]
    assert error["source"] == {"pointer": "/data/attributes/on_cli_mismatch_action"}
    bearer = {"Authorization": f"Bearer {headers['Api-Key']}"}
    change = {"on_cli_mismatch_action": None}
    answer = httpx.patch(
        f"{proxy.admin}/v1/trunks/{shown['id']}", headers=bearer, json=change, timeout=HTTP_SECONDS
    )
    assert answer.status_code == 403, answer.text
    assert outcome(desk, proxy, WASHINGTON, login) == "CLI"
