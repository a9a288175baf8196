"""Who the provider is told is calling, on the wire; and that either side's dialog stays whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configuration import LONDON, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.sip_text import answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import CLI, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

STRICT, REPLACING, DRAWING, FREE = "127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.13"
PLAIN, PLUS, OUTSIDE = "127.0.0.14", "127.0.0.15", "127.0.0.16"
BRITISH = {"country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]}
OWN, OTHER = "+442079460500", "+442079460501"


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    rules = {"dids": [OWN, OTHER], "default_did": OWN}
    folder = tmp_path_factory.mktemp("identity")
    config = configuration(
        folder,
        redis_server.url,
        [
            provider_entry("carrier", provider.address),
            provider_entry(
                "british", provider.address, cli_format="national", cli_country_code="44",
                cli_national_prefix="0",
            ),
            provider_entry("plain", provider.address, cli_format="e164"),
            provider_entry("plus", provider.address, cli_format="plus_e164"),
            provider_entry("outside", provider.address, trusted=False),
        ],
        [
            trunk("strict", STRICT, on_cli_mismatch_action="reject_call", **rules),
            trunk("replacing", REPLACING, on_cli_mismatch_action="replace_cli", **rules),
            trunk("drawing", DRAWING, on_cli_mismatch_action="randomize_cli", dids=[OWN, OTHER]),
            trunk("free", FREE, provider="british"),
            trunk("plain", PLAIN, provider="plain", dial_plan=BRITISH),
            trunk("plus", PLUS, provider="plus", dial_plan=BRITISH),
            trunk("outside", OUTSIDE, provider="outside"),
        ],
    )  # fmt: skip
    started = serve_module(config)
    started.folder = folder
    return started


@pytest.fixture
def caller(proxy, new_peer):
    def run(source: str, cli: str = CLI, **options: object) -> OutgoingCall:
        return OutgoingCall(new_peer(source), proxy.address, WASHINGTON, cli=cli, **options)

    return run


def tag_of(value: str) -> str:
    return value.partition(";tag=")[2]


def test_number_of_somebody_else_is_refused(caller, provider) -> None:
    call = caller(STRICT).send()

    refusal = call.final()

    assert refusal.start == "SIP/2.0 403 Caller Identity Not Allowed"
    assert "Q.850;cause=21" in refusal.one("reason")
    assert "CLI" in refusal.one("warning")
    assert provider.requests("INVITE", call.call_id) == []


def test_own_number_passes_untouched(caller, provider, proxy) -> None:
    call = caller(STRICT, OWN).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")
    call.final()

    assert far_end.invite.one("from") == call.from_value


def test_asserted_identity_of_somebody_else_is_refused(caller) -> None:
    call = caller(STRICT, OWN, extra=(("P-Asserted-Identity", f"<sip:{LONDON}@127.0.0.10>"),)).send()

    assert call.final().status == 403


@pytest.mark.parametrize(("source", "shown"), [(REPLACING, {OWN}), (DRAWING, {OWN, OTHER})])
def test_another_number_is_told_and_the_dialog_stays_whole(caller, provider, proxy, source, shown) -> None:
    """Each side sees the addresses that it knows, from the INVITE to the BYE of either."""
    extra = (
        ("P-Asserted-Identity", f"<sip:{CLI}@{source}>"), ("Privacy", "none"),
        ("P-Preferred-Identity", f"<sip:{CLI}@{source}>"), ("P-Charge-Info", f"<tel:{CLI}>"),
        ("Remote-Party-ID", f"<sip:{CLI}@{source}>;party=calling"), ("Reply-To", f"<sip:{CLI}@{source}>"),
        ("Diversion", f"<sip:{CLI}@{source}>;reason=no-answer"),
        ("History-Info", f"<sip:{CLI}@{source}>;index=1"),
    )  # fmt: skip
    call = caller(source, extra=extra, contact=CLI).send()
    far_end = incoming(provider, proxy.address, call)
    told = far_end.invite.one("from")
    number = told.partition("sip:")[2].partition("@")[0]
    assert number in shown
    assert tag_of(told) == tag_of(call.from_value)
    assert CLI not in str(far_end.invite)
    assert far_end.invite.contact_uri() == f"sip:{number}@{call.peer.host_port}"
    assert (
        far_end.invite.one("p-asserted-identity") == f"<sip:{number}@{proxy.address[0]}:{proxy.address[1]}>"
    )
    far_end.respond("180 Ringing")
    assert call.provisional(180).one("from") == call.from_value
    far_end.accept()
    ok = call.final()
    assert ok.one("from") == call.from_value
    near, far = call.dialog(ok), far_end.dialog()
    call.peer.send(near.request("ACK"), proxy.address)
    assert far_end.expect("ACK").one("from") == told

    call.peer.send(near.request("INFO"), proxy.address)
    info = far_end.expect("INFO")
    assert info.one("from") == told
    far_end.reply(info)
    assert call.peer.expect_response(200, "INFO", call_id=call.call_id).one("from") == call.from_value

    # The provider asks where Contact says, and the PBX is asked by the Contact that it gave.
    provider.send(far.request("INFO"), proxy.address)
    info = call.peer.expect_request("INFO", call_id=call.call_id)
    assert info.uri == f"sip:{CLI}@{call.peer.host_port}"
    assert info.one("to") == call.from_value
    call.peer.send(answer(info, "200 OK"), proxy.address)
    assert provider.expect_response(200, "INFO", call_id=call.call_id).one("to") == told

    # Either side may give another Contact.
    contact = (("Contact", f"<sip:{CLI}-2@{call.peer.host_port}>"),)
    call.peer.send(near.request("UPDATE", extra=contact), proxy.address)
    update = far_end.expect("UPDATE")
    assert update.contact_uri() == f"sip:{number}@{call.peer.host_port}"
    far_end.reply(update)
    call.peer.expect_response(200, "UPDATE", call_id=call.call_id)
    provider.send(far.request("UPDATE"), proxy.address)
    update = call.peer.expect_request("UPDATE", call_id=call.call_id)
    assert update.uri == f"sip:{CLI}-2@{call.peer.host_port}"
    contact = (("Contact", f"<sip:{CLI}-3@{call.peer.host_port}>"),)
    call.peer.send(answer(update, "200 OK", extra=contact), proxy.address)
    ok = provider.expect_response(200, "UPDATE", call_id=call.call_id)
    assert ok.contact_uri() == f"sip:{number}@{call.peer.host_port}"
    provider.send(far.request("INFO"), proxy.address)
    info = call.peer.expect_request("INFO", call_id=call.call_id)
    assert info.uri == f"sip:{CLI}-3@{call.peer.host_port}"
    call.peer.send(answer(info, "200 OK"), proxy.address)

    assert hang_up(call, near, far_end).one("from") == told
    assert not any(CLI in str(one.message) for one in provider.received)


def test_provider_gets_its_own_format(caller, provider, proxy) -> None:
    extra = (("P-Asserted-Identity", f"<sip:{OWN}@127.0.0.13>"),)
    call = caller(FREE, OWN, extra=extra).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")

    assert call.final().one("from") == call.from_value
    assert far_end.invite.one("from") == call.from_value.replace(OWN, "02079460500")
    assert far_end.invite.one("p-asserted-identity") == "<sip:02079460500@127.0.0.13>"


@pytest.mark.parametrize("written", ["+442079460500", "02079460500", "00442079460500", "(020)7946-0500"])
@pytest.mark.parametrize(("source", "told"), [(PLAIN, "442079460500"), (PLUS, "+442079460500")])
def test_numbers_are_read_like_dialled_ones(caller, provider, proxy, source, told, written) -> None:
    extra = (("P-Asserted-Identity", f"<sip:{written}@127.0.0.13>"),)
    call = caller(source, written, extra=extra).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")
    call.final()

    assert far_end.invite.one("from") == call.from_value.replace(written, told)
    assert far_end.invite.one("p-asserted-identity") == f"<sip:{told}@127.0.0.13>"


@pytest.mark.parametrize("privacy", ["id", "none"])
def test_provider_outside_of_the_trust_domain(caller, provider, proxy, privacy: str) -> None:
    names = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "P-Charge-Info")
    extra = (*((name, f"<sip:{OWN}@127.0.0.16>") for name in names), ("Privacy", privacy))
    call = caller(OUTSIDE, "anonymous", extra=extra).send()
    invite = incoming(provider, proxy.address, call).invite
    provider.send(answer(invite, "486 Busy Here", tag="x"), proxy.address)
    call.final()

    assert [len(invite.all(name)) for name in names] == ([0] * 4 if privacy == "id" else [1, 1, 1, 0])
    assert (OWN in str(invite)) == (privacy == "none")


def test_anonymous_caller_is_judged_by_who_is_asserted(caller, provider, proxy) -> None:
    extra = (("P-Asserted-Identity", f"<tel:{OWN}>"), ("Privacy", "id"))
    named = caller(STRICT, "anonymous", extra=extra).send()
    far_end = incoming(provider, proxy.address, named)
    far_end.respond("486 Busy Here")
    named.final()

    assert far_end.invite.one("from") == named.from_value
    assert far_end.invite.one("p-asserted-identity") == f"<tel:{OWN}>"
    assert caller(STRICT, "anonymous").send().final().status == 403


def test_record_says_what_was_sent(caller, provider, proxy) -> None:
    call = caller(REPLACING).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")
    call.final()

    def ended() -> dict | None:
        lines = [line for line in proxy.records() if line["call_id"] == call.call_id]
        return next((line for line in lines if line["record"] == "call"), None)

    record = eventually(ended, what="the call's record")
    assert (record["cli"], record["cli_sent"]) == (CLI, OWN)
