"""DIDWW's own Python client against the running program: trunks, numbers, errors, and who sees what."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from didww.client import DidwwClient
from didww.enums import DefaultDstAction, MediaEncryptionMode, OnCliMismatchAction, VoiceOutTrunkStatus
from didww.exceptions import DidwwApiError
from didww.query_params import QueryParams
from didww.resources.authentication_method import (
    CredentialsAndIpAuthenticationMethod,
    IpOnlyAuthenticationMethod,
    TwilioAuthenticationMethod,
)
from didww.resources.did import Did
from didww.resources.voice_out_trunk import VoiceOutTrunk
from didww.resources.voice_out_trunk_regenerate_credential import VoiceOutTrunkRegenerateCredential

from tests.e2e.didww_stage import client_of, made, new_trunk, refused
from tests.e2e.facade_stage import LONDON_DID, TOKEN, new_token, signed_in, store_configuration
from tests.e2e.trunkwarden_process import HTTP_SECONDS, Trunkwarden

MEDIA_TYPE = "application/vnd.api+json"


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    folder = tmp_path_factory.mktemp("didww")
    return signed_in(serve_module(store_configuration(folder, redis_server.url, provider)))


@pytest.fixture(scope="module")
def client(proxy) -> DidwwClient:
    return client_of(proxy)


# The client's own round


def test_from_create_to_delete(client) -> None:
    trunks = client.voice_out_trunks()
    wanted = new_trunk("Outbound EU", "127.0.1.1")
    wanted.authentication_method = CredentialsAndIpAuthenticationMethod(
        allowed_sip_ips=["127.0.1.1", "2001:db8::/48"], tech_prefix="12#"
    )
    wanted.capacity_limit = 100
    wanted.threshold_amount = "9999.0"
    wanted.default_dst_action = DefaultDstAction.REJECT_ALL
    wanted.dst_prefixes = ["44", "0033"]
    wanted.external_reference_id = "crm-17"
    wanted.rtp_ping = True
    answer = trunks.create(wanted)
    created = answer.data
    assert answer.meta == {"api_version": "2026-04-16"}
    login = created.authentication_method
    assert len(login.username) == 10
    assert len(login.password) == 24

    found = trunks.find(created.id).data
    assert found.meta == {"spent_amount": "0.0"}
    assert found.is_active
    assert (found.name, found.capacity_limit, found.threshold_amount) == ("Outbound EU", 100, "9999.0")
    assert (found.default_dst_action, found.dst_prefixes) == (DefaultDstAction.REJECT_ALL, ["44", "33"])
    assert (found.external_reference_id, found.rtp_ping, found.rtp_timeout) == ("crm-17", True, 30)
    assert (found.threshold_reached, found.allowed_rtp_ips) == (False, None)
    assert found.media_encryption_mode == MediaEncryptionMode.DISABLED
    assert found.created_at == created.created_at
    masked = found.authentication_method
    assert masked.allowed_sip_ips == ["127.0.1.1/32", "2001:db8::/48"]
    assert masked.tech_prefix == "12#"
    assert (masked.username, masked.password) == (login.username[:3] + "*******", "********")

    found.status = VoiceOutTrunkStatus.BLOCKED
    found.capacity_limit = None
    masked.allowed_sip_ips = ["127.0.1.2"]  # what was read goes back with its masks
    found.authentication_method = masked
    updated = trunks.update(found).data
    assert (updated.is_blocked, updated.capacity_limit) == (True, None)
    assert updated.authentication_method.allowed_sip_ips == ["127.0.1.2/32"]
    assert updated.authentication_method.username == masked.username
    assert (updated.name, updated.dst_prefixes) == ("Outbound EU", ["44", "33"])

    trunks.delete(created.id)
    with pytest.raises(DidwwApiError) as error:
        trunks.find(created.id)
    refused(error, 404, "404", None)


@pytest.fixture(scope="module")
def listed(proxy) -> DidwwClient:
    """An account's client that sees five trunks and nothing else."""
    own = client_of(proxy, new_token(proxy, "lists", "write", account="zenith"))
    for number in range(1, 6):
        status = VoiceOutTrunkStatus.BLOCKED if number % 2 else VoiceOutTrunkStatus.ACTIVE
        prefixes = DefaultDstAction.REJECT_ALL if number > 3 else DefaultDstAction.ALLOW_ALL
        made(own, f"List {number}", f"127.0.2.{number}", status=status, default_dst_action=prefixes)
    return own


FILTERS: list[tuple[dict[str, str], list[int]]] = [
    ({}, [1, 2, 3, 4, 5]),
    ({"status": "blocked"}, [1, 3, 5]),
    ({"status": "blocked,active"}, [1, 2, 3, 4, 5]),
    ({"status": "active", "default_dst_action": "reject_all"}, [4]),
    ({"name": "List 2"}, [2]),
    ({"name": "list 2"}, []),
    ({"name_contains": "iST"}, [1, 2, 3, 4, 5]),
    ({"name_contains": "2,3"}, [2, 3]),
    ({"on_cli_mismatch_action": "reject_call"}, []),
    ({"threshold_reached": "false"}, [1, 2, 3, 4, 5]),
    ({"threshold_reached": "true"}, []),
    ({"media_encryption_mode": "disabled", "allow_any_did_as_cli": "false"}, [1, 2, 3, 4, 5]),
    ({"authentication_method.type": "ip_only"}, [1, 2, 3, 4, 5]),
    ({"external_reference_id": "x"}, []),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
def test_filters(listed, filters: dict[str, str], expected: list[int]) -> None:
    query = QueryParams()
    for key, value in filters.items():
        query.filter(key, value)
    answer = listed.voice_out_trunks().list(query)
    assert [int(trunk.name[5:]) for trunk in answer.data] == expected
    assert answer.meta == {"total_records": len(expected), "api_version": "2026-04-16"}


def test_order_and_pages(proxy, listed) -> None:
    trunks = listed.voice_out_trunks()
    assert names(trunks.list(QueryParams().sort("-name"))) == [5, 4, 3, 2, 1]
    assert names(trunks.list(QueryParams().sort("created_at"))) == [1, 2, 3, 4, 5]
    assert names(trunks.list(QueryParams().sort("threshold_reached", "-created_at"))) == [5, 4, 3, 2, 1]
    pages = [trunks.list(QueryParams().sort("-name").page(number, 2)) for number in (1, 2, 3, 4)]
    assert [names(page) for page in pages] == [[5, 4], [3, 2], [1], []]
    assert {page.meta["total_records"] for page in pages} == {5}

    seen: list[int] = []
    url = f"{proxy.admin}/didww/v3/voice_out_trunks?filter[status]=blocked&page[size]=2"
    while url:
        answer = httpx.get(url, headers={"Api-Key": listed.api_key}).raise_for_status()
        assert answer.headers["content-type"] == MEDIA_TYPE
        body = answer.json()
        seen += [int(one["attributes"]["name"][5:]) for one in body["data"]]
        assert {"first", "last"} <= body["links"].keys()
        url = body["links"].get("next")
    assert seen == [1, 3, 5]


def names(answer: Any) -> list[int]:
    return [int(trunk.name[5:]) for trunk in answer.data]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (QueryParams().filter("bogus", "1"), "102"),
        (QueryParams().sort("capacity_limit"), "114"),
        (QueryParams().page(0), "118"),
        (QueryParams().page(1, 101), "118"),
        (QueryParams().include("owner"), "112"),
    ],
)
def test_what_cannot_be_asked(client, query: QueryParams, code: str) -> None:
    with pytest.raises(DidwwApiError) as error:
        client.voice_out_trunks().list(query)
    refused(error, 400, code, None)


def test_dids(proxy) -> None:
    own = client_of(proxy, new_token(proxy, "dids", "write", account="acme"))
    (did,) = own.dids().list().data
    assert did.number == LONDON_DID.removeprefix("+")
    trunk = new_trunk("With numbers", "127.0.3.1", on_cli_mismatch_action=OnCliMismatchAction.REPLACE_CLI)
    trunk.dids = [did]
    trunk.default_did = did
    created = own.voice_out_trunks().create(trunk, QueryParams().include("dids", "default_did")).data
    assert [one.number for one in created.dids] == [did.number]
    found = own.voice_out_trunks().find(created.id, QueryParams().include("dids")).data
    assert [one.number for one in found.dids] == [did.number]
    every = own.voice_out_trunks().list(QueryParams().filter("default_did.id", did.id)).data
    assert [one.id for one in every] == [created.id]

    change = VoiceOutTrunk.build(created.id)
    change.allow_any_did_as_cli = True
    change.dids = [did]
    with pytest.raises(DidwwApiError) as error:
        own.voice_out_trunks().update(change)
    refused(error, 422, "100", "/data/relationships/dids")
    change = VoiceOutTrunk.build(created.id)
    change.dids = [Did.build("b60201c1-21f0-4d9a-aafa-0e6d1e12f22e")]
    with pytest.raises(DidwwApiError) as error:
        own.voice_out_trunks().update(change)
    refused(error, 422, "100", "/data/relationships/dids")
    own.voice_out_trunks().delete(created.id)


# Errors


def test_a_key_that_nobody_has(proxy) -> None:
    with pytest.raises(DidwwApiError) as error:
        client_of(proxy, "wrong").voice_out_trunks().list()
    refused(error, 401, "401", None)


def test_a_key_that_may_only_read(proxy, client) -> None:
    reader = client_of(proxy, new_token(proxy, "reader", "read"))
    reader.voice_out_trunks().list()
    with pytest.raises(DidwwApiError) as error:
        made(reader, "No", "127.0.4.1")
    refused(error, 403, "403", None)


def ip_only(*addresses: str, **fields: Any) -> dict[str, Any]:
    return {"authentication_method": IpOnlyAuthenticationMethod(allowed_sip_ips=list(addresses), **fields)}


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"capacity_limit": 32768}, "capacity_limit"),
    ({"capacity_limit": -1}, "capacity_limit"),
    ({"threshold_amount": "100000.1"}, "threshold_amount"),
    ({"status": "paused"}, "status"),
    ({"dst_prefixes": ["+0"]}, "dst_prefixes"),
    ({"callback_url": "gopher://example.com"}, "callback_url"),
    (ip_only(), "authentication_method"),
    (ip_only("0.0.0.0/0"), "authentication_method"),
    (ip_only(*(f"192.0.2.{last}" for last in range(61))), "authentication_method"),
    (ip_only("192.0.2.1", tech_prefix="123456789"), "authentication_method"),
    ({"authentication_method": TwilioAuthenticationMethod(twilio_account_sid="A")}, "authentication_method"),
    ({"on_cli_mismatch_action": "replace_cli"}, "on_cli_mismatch_action"),
]


@pytest.mark.parametrize(("fields", "attribute"), INVALID)
def test_what_is_not_taken(client, fields: dict[str, Any], attribute: str) -> None:
    with pytest.raises(DidwwApiError) as error:
        client.voice_out_trunks().create(new_trunk(**{"name": "Wrong", "address": "127.0.4.2", **fields}))
    refused(error, 422, "100", f"/data/attributes/{attribute}")


def test_two_trunks_that_cannot_be_told_apart(client) -> None:
    made(client, "First", "127.0.4.3")
    with pytest.raises(DidwwApiError) as error:
        made(client, "Second", "127.0.4.3")
    refused(error, 422, "100", "/data/attributes/authentication_method")


def test_what_is_wrong_with_a_request(proxy) -> None:
    def post(body: Any, status: int, code: str, **headers: str) -> None:
        url = f"{proxy.admin}/didww/v3/voice_out_trunks"
        sent = {"Api-Key": TOKEN, "Content-Type": MEDIA_TYPE, **headers}
        answer = httpx.post(
            url,
            headers=sent,
            timeout=HTTP_SECONDS,
            **({"content": body} if isinstance(body, bytes) else {"json": body}),
        )
        assert answer.status_code == status, answer.text
        (entry,) = answer.json()["errors"]
        assert (entry["code"], entry["status"]) == (code, str(status)), entry

    data = {"type": "voice_out_trunks", "attributes": {"name": "a"}}
    post({"data": data}, 415, "415", **{"Content-Type": "text/plain"})
    post({"data": data}, 400, "400", **{"X-DIDWW-Api-Version": "2019-01-01"})
    post(b"{", 400, "400")
    post({}, 400, "106")
    post({"data": {**data, "type": "dids"}}, 400, "101")
    post({"data": {**data, "attributes": {"threshold_reached": True}}}, 400, "105")
    post({"data": {**data, "attributes": {"authentication_method": None}}}, 400, "105")
    gone = httpx.get(
        f"{proxy.admin}/didww/v3/voice_in_trunks", headers={"Api-Key": TOKEN}, timeout=HTTP_SECONDS
    )
    assert (gone.status_code, gone.json()["errors"][0]["code"]) == (404, "404")


# Who sees what


def test_an_account_sees_its_own_trunks_only(proxy, client) -> None:
    acme = client_of(proxy, new_token(proxy, "acme", "write", account="acme"))
    zenith = client_of(proxy, new_token(proxy, "zenith", "write", account="zenith"))
    trunk = made(acme, "Of acme", "127.0.5.1")
    assert trunk.id in [one.id for one in acme.voice_out_trunks().list().data]
    assert trunk.id in [one.id for one in client.voice_out_trunks().list().data]
    assert trunk.id not in [one.id for one in zenith.voice_out_trunks().list().data]
    assert LONDON_DID.removeprefix("+") not in [did.number for did in zenith.dids().list().data]
    other = VoiceOutTrunk.build(trunk.id)
    other.status = VoiceOutTrunkStatus.BLOCKED
    for attempt in (
        lambda: zenith.voice_out_trunks().find(trunk.id),
        lambda: zenith.voice_out_trunks().update(other),
        lambda: zenith.voice_out_trunks().delete(trunk.id),
    ):
        with pytest.raises(DidwwApiError) as error:
            attempt()
        refused(error, 404, "404", None)
    rotation = VoiceOutTrunkRegenerateCredential()
    rotation.voice_out_trunk = trunk
    with pytest.raises(DidwwApiError) as error:
        zenith.voice_out_trunk_regenerate_credentials().create(rotation)
    refused(error, 422, "100", "/data/relationships/voice_out_trunk")
    with pytest.raises(DidwwApiError) as error:
        made(zenith, "Of zenith", "127.0.5.1")
    refused(error, 422, "100", "/data/attributes/authentication_method")
    assert "acme" not in str(error.value)
    acme.voice_out_trunks().create(new_trunk("A network", "198.18.7.0/24"))
    with pytest.raises(DidwwApiError) as error:
        made(zenith, "Within it", "198.18.7.9")
    refused(error, 422, "100", "/data/attributes/authentication_method")
    assert acme.voice_out_trunks().find(trunk.id).data.is_active


# The shape of older versions


def test_the_flat_shape(proxy) -> None:
    headers = {"Api-Key": TOKEN, "Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
    said = {
        "allow_any_did_as_cli": True, "allowed_rtp_ips": ["192.168.1.1"], "allowed_sip_ips": ["192.168.1.1"],
        "capacity_limit": 100, "default_dst_action": "allow_all", "dst_prefixes": ["23"],
        "force_symmetric_rtp": False, "media_encryption_mode": "disabled", "name": "Outbound trunk 11",
        "on_cli_mismatch_action": "send_original_cli", "rtp_ping": False, "status": "active",
        "threshold_amount": "9999.0",
    }  # fmt: skip
    url = f"{proxy.admin}/didww/v3/voice_out_trunks"
    answer = httpx.post(
        url,
        headers=headers,
        json={"data": {"attributes": said, "type": "voice_out_trunks"}},
        timeout=HTTP_SECONDS,
    )
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert answer.headers["location"] == f"{url}/{body['data']['id']}"
    shown = body["data"]["attributes"]
    assert shown | {"username": "", "password": "", "created_at": ""} == {
        **said,
        "allowed_sip_ips": ["192.168.1.1/32"],
        "allowed_rtp_ips": ["192.168.1.1/32"],
        "username": "",
        "password": "",
        "created_at": "",
        "threshold_reached": False,
        "callback_url": None,
    }
    assert body["data"]["meta"] == {"spent_amount": "0.0"}
    assert body["meta"] == {"api_version": "2021-12-15"}
    links = body["data"]["relationships"]["dids"]["links"]
    assert httpx.get(links["related"], headers=headers, timeout=HTTP_SECONDS).json()["data"] == []
    assert httpx.get(links["self"], headers=headers, timeout=HTTP_SECONDS).json()["data"] == []
    again = httpx.get(
        f"{url}/{body['data']['id']}",
        headers=headers | {"X-DIDWW-Api-Version": "2022-05-10"},
        timeout=HTTP_SECONDS,
    )
    read = again.json()
    assert read["meta"] == {"api_version": "2022-05-10"}
    assert read["data"]["attributes"]["password"] == "********"
    assert read["data"]["attributes"]["username"] == shown["username"][:3] + "*******"
    sparse = httpx.get(
        f"{url}/{body['data']['id']}?fields[voice_out_trunks]=name,status",
        headers=headers,
        timeout=HTTP_SECONDS,
    )
    assert sparse.json()["data"]["attributes"].keys() == {"name", "status"}
    assert (
        httpx.delete(f"{url}/{body['data']['id']}", headers=headers, timeout=HTTP_SECONDS).status_code == 204
    )


def test_a_policy_that_is_in_the_file_is_not_written(serve, redis_server, provider, tmp_path) -> None:
    config = store_configuration(tmp_path, redis_server.url, provider)
    config["policy"] = {"source": "file"}
    client = client_of(serve(config))
    assert client.voice_out_trunks().list().data == []
    with pytest.raises(DidwwApiError) as error:
        made(client, "No", "127.0.7.1")
    refused(error, 409, "409", None)
    assert "source: store" in str(error.value)
