"""The calls that trunks made with DIDWW's own Python client allow and stop."""

from __future__ import annotations

from functools import partial

import pytest
from didww.enums import DefaultDstAction, MediaEncryptionMode, OnCliMismatchAction, VoiceOutTrunkStatus
from didww.exceptions import DidwwApiError
from didww.query_params import QueryParams
from didww.resources.authentication_method import CredentialsAndIpAuthenticationMethod
from didww.resources.did import Did
from didww.resources.voice_out_trunk import VoiceOutTrunk
from didww.resources.voice_out_trunk_regenerate_credential import VoiceOutTrunkRegenerateCredential

from tests.e2e.configuration import LONDON, WASHINGTON
from tests.e2e.didww_stage import client_of, made, new_trunk, refused
from tests.e2e.facade_stage import new_token, outcome, seconds_until, signed_in, store_configuration
from tests.e2e.peer import BUSY
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    folder = tmp_path_factory.mktemp("didww-calls")
    return signed_in(serve_module(store_configuration(folder, redis_server.url, provider)))


def test_an_account_calls_the_countries_that_it_was_given(proxy, busy, new_peer) -> None:
    desk = new_peer("127.0.5.3")
    made(client_of(proxy, new_token(proxy, "us", "write", account="acme")), "Anywhere", "127.0.5.3")
    seconds_until("admitted", lambda: outcome(desk, proxy, WASHINGTON))
    assert outcome(desk, proxy, LONDON) == "COUNTRY"
    forgotten = client_of(proxy, new_token(proxy, "forgotten", "write", account="forgotten"))
    with pytest.raises(DidwwApiError) as error:
        made(forgotten, "Nowhere", "127.0.5.4")
    refused(error, 422, "100", "/data")


def test_prefixes_invert_the_default_action(proxy, busy, new_peer) -> None:
    client, desk = client_of(proxy), new_peer("127.0.6.1")
    trunk = made(client, "Inverted", "127.0.6.1", dst_prefixes=["44"])
    took = [seconds_until("admitted", lambda: outcome(desk, proxy, WASHINGTON))]
    assert outcome(desk, proxy, LONDON) == "PREFIX"
    assert outcome(desk, proxy, LONDON.removeprefix("+")) == "PREFIX"
    assert outcome(desk, proxy, "00" + WASHINGTON.removeprefix("+")) == "admitted"
    trunk.default_dst_action = DefaultDstAction.REJECT_ALL
    client.voice_out_trunks().update(trunk)
    took.append(seconds_until("PREFIX", lambda: outcome(desk, proxy, WASHINGTON)))
    assert outcome(desk, proxy, LONDON) == "admitted"
    trunk.status = VoiceOutTrunkStatus.BLOCKED
    client.voice_out_trunks().update(trunk)
    took.append(seconds_until("DISABLED", lambda: outcome(desk, proxy, LONDON)))
    client.voice_out_trunks().delete(trunk.id)
    took.append(seconds_until("SOURCE", lambda: outcome(desk, proxy, LONDON)))
    assert min(took) < 1.0, took


def test_credentials_as_shown_once(proxy, busy, new_peer) -> None:
    client, desk = client_of(proxy), new_peer("127.0.6.2")
    method = CredentialsAndIpAuthenticationMethod(allowed_sip_ips=["127.0.6.2"])
    trunk = made(client, "Login", "127.0.6.2", authentication_method=method)
    login = trunk.authentication_method
    shown = (login.username, login.password)
    seconds_until("admitted", lambda: outcome(desk, proxy, WASHINGTON, shown))
    assert outcome(desk, proxy, WASHINGTON) == "AUTH"
    assert outcome(desk, proxy, WASHINGTON, shown, offered=1) == "admitted"
    assert outcome(desk, proxy, WASHINGTON, (login.username, "guessed")) != "admitted"

    rotation = VoiceOutTrunkRegenerateCredential()
    rotation.voice_out_trunk = trunk
    answer = client.voice_out_trunk_regenerate_credentials().create(rotation).data
    fresh = answer.voice_out_trunk.authentication_method
    assert fresh.username != login.username
    # Who tries them too early is wrong, and after ten times has to wait.
    asked = {"source": "127.0.6.2", "to": WASHINGTON, "user": fresh.username}
    explained = partial(proxy.http.post, "/v1/explain", json=asked)
    eventually(lambda: explained().json()["decision"] == "admitted", what="the fresh credentials")
    assert outcome(desk, proxy, WASHINGTON, (fresh.username, fresh.password)) == "admitted"
    assert outcome(desk, proxy, WASHINGTON, shown) != "admitted"
    kept = client.voice_out_trunks().find(trunk.id).data.authentication_method
    assert (kept.username, kept.password) == (fresh.username[:3] + "*******", "********")

    ip_only = made(client, "No login", "127.0.6.3")
    rotation.voice_out_trunk = ip_only
    with pytest.raises(DidwwApiError) as error:
        client.voice_out_trunk_regenerate_credentials().create(rotation)
    refused(error, 422, "100", "/data/relationships/voice_out_trunk")


def test_what_restricts_and_is_not_enforced_refuses(proxy, busy, new_peer) -> None:
    client, desk = client_of(proxy), new_peer("127.0.6.4")
    trunk = made(client, "Media", "127.0.6.4", allowed_rtp_ips=["192.0.2.1"])
    assert trunk.allowed_rtp_ips == ["192.0.2.1/32"]
    seconds_until("DISABLED", lambda: outcome(desk, proxy, WASHINGTON))
    trunk.allowed_rtp_ips = None
    client.voice_out_trunks().update(trunk)
    seconds_until("admitted", lambda: outcome(desk, proxy, WASHINGTON))
    trunk.media_encryption_mode = MediaEncryptionMode.SRTP_SDES
    client.voice_out_trunks().update(trunk)
    seconds_until("DISABLED", lambda: outcome(desk, proxy, WASHINGTON))


def test_spending_shows(proxy, provider, new_peer) -> None:
    client, desk = client_of(proxy), new_peer("127.0.6.5")
    trunk = made(client, "Spends", "127.0.6.5", threshold_amount="0.15")
    trunks = client.voice_out_trunks()
    assert trunks.find(trunk.id).data.meta == {"spent_amount": "0.0"}
    provider.reaction = BUSY
    seconds_until("admitted", lambda: outcome(desk, proxy, WASHINGTON))
    provider.reaction = None

    call = OutgoingCall(desk, proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    hang_up(call, call.answered(), far_end)  # a minute at 0.10
    eventually(
        lambda: trunks.find(trunk.id).data.meta == {"spent_amount": "0.1"}, what="the cost of the call"
    )
    assert not trunks.find(trunk.id).data.threshold_reached
    provider.reaction = BUSY
    assert outcome(desk, proxy, WASHINGTON) == "SPEND"

    trunk.threshold_amount = "0.1"
    trunks.update(trunk)
    eventually(lambda: trunks.find(trunk.id).data.threshold_reached, what="the threshold")
    reached = trunks.list(QueryParams().filter("threshold_reached", "true").sort("-threshold_reached")).data
    assert [one.id for one in reached] == [trunk.id]
    trunk.threshold_amount = None
    trunks.update(trunk)
    seconds_until("admitted", lambda: outcome(desk, proxy, WASHINGTON))
    provider.reaction = None


def test_entries_of_dids_are_assigned(proxy, busy, new_peer) -> None:
    """By an account among its own, with their own ids; what is assigned elsewhere moves."""
    entries, client = {}, client_of(proxy)
    for number, account in (("+442079460070", "acme"), ("+442079460071", "zenith"), ("+442079460072", None)):
        entry = proxy.http.post("/v1/dids", json={"number": number, "account": account})
        assert entry.status_code == 201, entry.text
        entries[account] = Did.build(entry.json()["id"])
    own = client_of(proxy, new_token(proxy, "entries", "write", account="acme"))
    assert {one.id: one.number for one in own.dids().list().data}[entries["acme"].id] == "442079460070"
    assert own.dids().find(entries["acme"].id).data.number == "442079460070"
    assert entries[None].id in [one.id for one in client.dids().list(QueryParams().page(1, 100)).data]

    shown = {"on_cli_mismatch_action": OnCliMismatchAction.REJECT_CALL, "dids": [entries["acme"]]}
    first = own.voice_out_trunks().create(new_trunk("First", "127.0.3.2", **shown)).data
    peer = new_peer("127.0.3.2")
    assert seconds_until("admitted", lambda: outcome(peer, proxy, WASHINGTON, cli="+442079460070")) < 10
    assert outcome(peer, proxy, WASHINGTON, cli="+442079460071") == "CLI"
    assert own.voice_out_trunks().list(QueryParams().filter("id", first.id).include("dids")).data[0].dids

    second = (
        own.voice_out_trunks()
        .create(new_trunk("Second", "127.0.3.3", **shown), QueryParams().include("dids"))
        .data
    )
    assert [one.id for one in second.dids] == [entries["acme"].id]
    seconds_until("CLI", lambda: outcome(peer, proxy, WASHINGTON, cli="+442079460070"))
    for theirs in (entries["zenith"], entries[None]):
        change = VoiceOutTrunk.build(first.id)
        change.dids = [theirs]
        with pytest.raises(DidwwApiError) as error:
            own.voice_out_trunks().update(change)
        refused(error, 422, "100", "/data/relationships/dids")
    change = VoiceOutTrunk.build(second.id)
    change.dids = [entries["zenith"]]
    with pytest.raises(DidwwApiError) as error:
        client.voice_out_trunks().update(change)
    refused(error, 422, "100", "/data/relationships/dids")
    own.voice_out_trunks().delete(second.id)
    assert proxy.http.get("/v1/dids/442079460070").json()["trunk"] is None
    assert proxy.http.get("/v1/dids/442079460070").json()["account"] == "acme"
