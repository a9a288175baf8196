"""Telnyx' own Python client against the running program, and the calls that its profiles allow and stop."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import telnyx
from telnyx import Telnyx
from telnyx.types import OutboundVoiceProfile

from proxy.objects.document import Document
from tests.e2e.configuration import LONDON, WASHINGTON, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.facade_stage import (
    TOKEN,
    edit,
    new_token,
    outcome,
    seconds_until,
    signed_in,
    store_configuration,
)
from tests.e2e.ports import SECOND_PROVIDER, free_udp_port
from tests.e2e.trunkwarden_process import HTTP_SECONDS, Trunkwarden
from tests.e2e.waiting import eventually

SIPP_DESK = "127.0.8.2"
REFUSED = {
    "expected_status": "403 Destination Country Not Whitelisted",
    "expected_cause": "21",
    "expected_code": "COUNTRY",
}
ABSENT = "0a1b2c3d-0000-4000-8000-000000000000"
MOST_GUESSES = 100


@pytest.fixture(scope="module")
def carrier() -> tuple[str, int]:
    """Where SIPp answers."""
    return SECOND_PROVIDER, free_udp_port(SECOND_PROVIDER)


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, carrier, tmp_path_factory) -> Trunkwarden:
    """Trunks without a rule of their own: their profile judges."""
    free = {"destination_whitelist": None, "allow_any_country": True}
    trunks = [
        trunk("desk-1", "127.0.8.1", **free),
        trunk("desk-2", SIPP_DESK, **(free | {"provider": "sipp"})),
    ]
    config = store_configuration(tmp_path_factory.mktemp("telnyx"), redis_server.url, provider, trunks)
    config["providers"].append(provider_entry("sipp", carrier))
    return signed_in(serve_module(config))


def client_of(proxy: Trunkwarden, key: str = TOKEN) -> Telnyx:
    return Telnyx(api_key=key, base_url=f"{proxy.admin}/telnyx/v2", max_retries=0)


@pytest.fixture(scope="module")
def client(proxy) -> Telnyx:
    return client_of(proxy)


def made(client: Telnyx, name: str, **fields: Any) -> OutboundVoiceProfile:
    profile = client.outbound_voice_profiles.create(name=name, **fields).data
    assert profile is not None
    assert profile.id is not None
    return profile


def entries(error: pytest.ExceptionInfo[telnyx.APIStatusError]) -> list[dict[str, Any]]:
    found = error.value.response.json()["errors"]
    for entry in found:
        assert {"code", "title", "detail", "meta"} <= entry.keys(), entry
    return list(found)


# The client's own round


def test_from_create_to_delete(client) -> None:
    profiles = client.outbound_voice_profiles
    created = made(
        client,
        "office",
        billing_group_id="6a09cdc3-8948-47f0-aa62-74ac943d6c58",
        call_recording={
            "call_recording_type": "by_caller_phone_number",
            "call_recording_caller_phone_numbers": ["+19705555098"],
            "call_recording_channels": "dual",
            "call_recording_format": "mp3",
        },
        calling_window={"start_time": "08:00", "end_time": "20:30", "calls_per_cld": 5},
        concurrent_call_limit=10,
        daily_spend_limit="100.00",
        daily_spend_limit_enabled=True,
        enabled=True,
        max_destination_rate=0.05,
        service_plan="global",
        tags=["office-profile"],
        traffic_type="conversational",
        usage_payment_method="rate-deck",
        whitelisted_destinations=["US", "br", "AU"],
    )
    found = profiles.retrieve(created.id).data
    assert found == created
    assert found.record_type == "outbound_voice_profile"
    assert found.whitelisted_destinations == ["US", "BR", "AU"]
    assert (found.concurrent_call_limit, found.max_destination_rate) == (10, 0.05)
    assert (found.daily_spend_limit, found.daily_spend_limit_enabled) == ("100.00", True)
    assert (found.tags, found.connections_count, found.enabled) == (["office-profile"], 0, True)
    assert found.billing_group_id == "6a09cdc3-8948-47f0-aa62-74ac943d6c58"
    assert found.call_recording.call_recording_caller_phone_numbers == ["+19705555098"]
    assert found.calling_window.end_time == "20:30"

    updated = profiles.update(
        created.id,
        name="office 2",
        concurrent_call_limit=None,
        enabled=False,
        tags=[],
        max_destination_rate=10,
    ).data
    assert (updated.name, updated.concurrent_call_limit, updated.enabled) == ("office 2", None, False)
    assert (updated.tags, updated.max_destination_rate) == ([], 10)
    assert (updated.whitelisted_destinations, updated.created_at) == (["US", "BR", "AU"], created.created_at)
    assert updated.updated_at > created.updated_at

    gone = profiles.delete(created.id).data
    assert gone.name == "office 2"
    with pytest.raises(telnyx.NotFoundError) as error:
        profiles.retrieve(created.id)
    assert [entry["code"] for entry in entries(error)] == ["10005"]


def test_the_united_states_and_canada_unless_said_otherwise(client) -> None:
    profile = made(client, "defaults")
    assert profile.whitelisted_destinations == ["US", "CA"]
    assert (profile.enabled, profile.daily_spend_limit_enabled, profile.daily_spend_limit) == (
        True,
        False,
        None,
    )
    assert (profile.concurrent_call_limit, profile.max_destination_rate, profile.tags) == (None, None, [])
    assert profile.call_recording.call_recording_type == "none"
    client.outbound_voice_profiles.delete(profile.id)


@pytest.fixture(scope="module")
def listed(proxy) -> Telnyx:
    """An account's client that sees five profiles and nothing else."""
    own = client_of(proxy, new_token(proxy, "lists", "write", account="zenith"))
    for number in range(1, 6):
        made(own, f"List {number}", enabled=number % 2 == 0)
    return own


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"sort": "created_at"}, [1, 2, 3, 4, 5]),
        ({"sort": "-name"}, [5, 4, 3, 2, 1]),
        ({"sort": "name"}, [1, 2, 3, 4, 5]),
        ({"sort": "enabled"}, [1, 3, 5, 2, 4]),
        ({"sort": "-enabled"}, [2, 4, 1, 3, 5]),
        ({"sort": "service_plan"}, [1, 2, 3, 4, 5]),
        ({"filter": {"name": {"contains": "iST 3"}}}, [3]),
        ({"filter": {"name": {"contains": "none"}}}, []),
        ({"sort": "name", "page_size": 2}, [1, 2, 3, 4, 5]),  # the client turns the pages
    ],
)
def test_lists(listed, asked: dict[str, Any], expected: list[int]) -> None:
    assert [int(one.name[5:]) for one in listed.outbound_voice_profiles.list(**asked)] == expected


def test_pages(listed) -> None:
    page = listed.outbound_voice_profiles.list(sort="name", page_number=2, page_size=2)
    assert [one.name for one in page.data] == ["List 3", "List 4"]
    meta = page.meta
    assert (meta.page_number, meta.page_size, meta.total_pages, meta.total_results) == (2, 2, 3, 5)
    assert listed.outbound_voice_profiles.list().meta.page_size == 20


# Errors


@pytest.mark.parametrize(
    "query",
    ["page[size]=251", "page[size]=0", "page[number]=x", "sort=tags", "filter[tags]=a", "page_size=2"],
)
def test_what_cannot_be_asked(proxy, query: str) -> None:
    url = f"{proxy.admin}/telnyx/v2/outbound_voice_profiles?{query}"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=HTTP_SECONDS)
    assert answer.status_code == 400
    (entry,) = answer.json()["errors"]
    assert (entry["code"], entry["source"]) == ("10015", {"parameter": query.partition("=")[0]})


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"name": "ab"}, "/name"),
    ({"whitelisted_destinations": ["US", "UK"]}, "/whitelisted_destinations/1"),
    ({"concurrent_call_limit": -1}, "/concurrent_call_limit"),
    ({"daily_spend_limit": "free"}, "/daily_spend_limit"),
    ({"daily_spend_limit_enabled": True}, "/daily_spend_limit"),
    ({"max_destination_rate": -1.0}, "/max_destination_rate"),
    ({"calling_window": {"start_time": "8"}}, "/calling_window/start_time"),
    ({"service_plan": "lunar"}, "/service_plan"),
    ({"extra_body": {"colour": "red"}}, "/colour"),
]


@pytest.mark.parametrize(("fields", "pointer"), INVALID)
def test_what_is_not_taken(client, fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(telnyx.UnprocessableEntityError) as error:
        client.outbound_voice_profiles.create(**{"name": "wrong", **fields})
    assert [entry["source"] for entry in entries(error)] == [{"pointer": pointer}]


def test_errors_of_every_kind(proxy, client) -> None:
    with pytest.raises(telnyx.AuthenticationError) as unknown:
        client_of(proxy, "wrong").outbound_voice_profiles.list()
    assert entries(unknown)[0]["code"] == "10009"
    reader = client_of(proxy, new_token(proxy, "reader", "read"))
    reader.outbound_voice_profiles.list()
    with pytest.raises(telnyx.PermissionDeniedError) as denied:
        made(reader, "not allowed")
    assert entries(denied)[0]["code"] == "10010"
    for attempt in (
        lambda: client.outbound_voice_profiles.retrieve(ABSENT),
        lambda: client.outbound_voice_profiles.update(ABSENT, name="absent"),
        lambda: client.outbound_voice_profiles.delete(ABSENT),
    ):
        with pytest.raises(telnyx.NotFoundError) as gone:
            attempt()
        assert entries(gone)[0]["code"] == "10005"
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    profiles = f"{proxy.admin}/telnyx/v2/outbound_voice_profiles"
    broken = httpx.post(profiles, headers=headers, content=b"{", timeout=HTTP_SECONDS)
    assert (broken.status_code, broken.json()["errors"][0]["code"]) == (400, "10023")
    nameless = httpx.post(profiles, headers=headers, json={}, timeout=HTTP_SECONDS)
    assert (nameless.status_code, nameless.json()["errors"][0]["code"]) == (422, "10004")
    nowhere = httpx.get(f"{proxy.admin}/telnyx/v2/calls", headers=headers, timeout=HTTP_SECONDS)
    assert (nowhere.status_code, nowhere.json()["errors"][0]["code"]) == (404, "10005")


def test_an_account_sees_its_own_profiles_only(proxy, client) -> None:
    acme = client_of(proxy, new_token(proxy, "acme", "write", account="acme"))
    zenith = client_of(proxy, new_token(proxy, "zenith", "write", account="zenith"))
    profile, common = made(acme, "of acme"), made(client, "of nobody")
    assert profile.id in [one.id for one in acme.outbound_voice_profiles.list()]
    assert profile.id in [one.id for one in client.outbound_voice_profiles.list()]
    for own in (profile, common):
        assert own.id not in [one.id for one in zenith.outbound_voice_profiles.list()]
        with pytest.raises(telnyx.NotFoundError):
            zenith.outbound_voice_profiles.update(own.id, name="mine now")
        with pytest.raises(telnyx.NotFoundError):
            zenith.outbound_voice_profiles.delete(own.id)
        client.outbound_voice_profiles.delete(own.id)


# Calls


def attached(proxy: Trunkwarden, ledger_url: str, profile: OutboundVoiceProfile, name: str) -> None:
    """Let a trunk refer to the profile, as who manages trunks would."""

    def attach(document: Document) -> Document:
        own = document.get("profiles", str(profile.id)).name
        return document.patch("trunks", name, {"profile": own})

    edit(proxy, ledger_url, attach)


def test_calls_follow_the_profile(proxy, client, redis_server, busy, new_peer) -> None:
    desk = new_peer("127.0.8.1")
    profiles = client.outbound_voice_profiles
    profile = made(client, "desk one")
    assert outcome(desk, proxy, LONDON) == "admitted"
    attached(proxy, redis_server.url, profile, "desk-1")
    took = [seconds_until("COUNTRY", lambda: outcome(desk, proxy, LONDON))]
    assert outcome(desk, proxy, WASHINGTON) == "admitted"
    eventually(lambda: profiles.retrieve(profile.id).data.connections_count == 1, what="its connection")

    steps: list[tuple[dict[str, Any], str, str]] = [
        ({"whitelisted_destinations": ["US", "CA", "GB"]}, LONDON, "admitted"),
        ({"enabled": False}, WASHINGTON, "DISABLED"),
        ({"enabled": True}, WASHINGTON, "admitted"),
        ({"max_destination_rate": 0.09}, WASHINGTON, "RATE"),
        ({"max_destination_rate": 0.1}, WASHINGTON, "admitted"),
        ({"concurrent_call_limit": 0}, WASHINGTON, "CAPACITY"),
        ({"concurrent_call_limit": None}, WASHINGTON, "admitted"),
        ({"daily_spend_limit": "0.05", "daily_spend_limit_enabled": True}, WASHINGTON, "SPEND"),
        ({"daily_spend_limit_enabled": False}, WASHINGTON, "admitted"),
        ({"calling_window": {"calls_per_cld": 0}}, WASHINGTON, "WINDOW"),
        ({"extra_body": {"calling_window": None}}, WASHINGTON, "admitted"),
        ({"whitelisted_destinations": []}, WASHINGTON, "COUNTRY"),
    ]
    for change, called, wanted in steps:
        profiles.update(profile.id, **{"name": "desk one", **change})
        took.append(seconds_until(wanted, lambda called=called: outcome(desk, proxy, called)))
    print("seconds from a change to its calls:", [round(one, 3) for one in took])
    assert sorted(took)[len(took) // 2] < 1.0, took

    with pytest.raises(telnyx.UnprocessableEntityError) as error:
        profiles.delete(profile.id)
    assert entries(error)[0]["code"] == "10021"
    edit(proxy, redis_server.url, lambda document: document.patch("trunks", "desk-1", {"profile": None}))
    profiles.delete(profile.id)
    seconds_until("admitted", lambda: outcome(desk, proxy, LONDON))


def test_calls_of_sipp(proxy, client, redis_server, sipp, carrier) -> None:
    """SIPp on both sides: its calls pass, are refused, and pass again, as the client says."""
    profile = made(client, "desk two", whitelisted_destinations=["US"])
    attached(proxy, redis_server.url, profile, "desk-2")
    sipp("uas_answering", carrier, calls=None, hold_ms=100)
    for countries, decision, scenario in (
        (["US"], "admitted", "uac_admitted"),
        (["GB"], "refused", "uac_refused"),
        (["CA", "US"], "admitted", "uac_admitted"),
    ):
        client.outbound_voice_profiles.update(profile.id, name="desk two", whitelisted_destinations=countries)
        eventually(lambda wanted=decision: explained(proxy) == wanted, what="the policy")
        variables = REFUSED if decision == "refused" else {}
        caller = sipp(
            scenario, (SIPP_DESK, free_udp_port(SIPP_DESK)), target=proxy.address, called=WASHINGTON, calls=3,
            hold_ms=100, variables=variables,
        )  # fmt: skip
        caller.wait().assert_all_succeeded(3)


def explained(proxy: Trunkwarden) -> str:
    answer = proxy.http.post("/v1/explain", json={"source": SIPP_DESK, "to": WASHINGTON})
    return str(answer.json()["decision"])


def test_too_many_wrong_tokens(proxy, client) -> None:
    """The last of this file: the address has nothing left then but tokens that were good from it."""

    for _ in range(MOST_GUESSES):
        with pytest.raises(telnyx.APIStatusError) as error:
            client_of(proxy, "guessed").outbound_voice_profiles.list()
        code = entries(error)[0]["code"]
        if code != "10009":
            break
    assert (code, type(error.value)) == ("10011", telnyx.RateLimitError)
    assert int(error.value.response.headers["retry-after"]) >= 1
    assert client.outbound_voice_profiles.list().meta.page_number == 1
