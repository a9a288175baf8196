"""Strangers: one answer a request, no state, no word to the ledger, nothing for the provider."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import EVIL, STRANGER
from tests.e2e.sip_text import fresh, text
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall
from tests.e2e.waiting import eventually

SCAN = 300
# The ledger's verbs are scripts. Housekeeping runs a few at any time, whatever arrives.
VERBS = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall", "cmdstat_xadd", "cmdstat_hset", "cmdstat_set")
COMMANDS_A_SECOND = 10


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("strangers"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", "127.0.0.10")],
        # No renewal and no sweep of leases falls into a test.
        ledger={"lease_seconds": 600},
    )
    return serve_module(config)


def test_answer_is_one_and_not_repeated(proxy, provider, new_peer) -> None:
    stranger = new_peer(STRANGER)

    OutgoingCall(stranger, proxy.address, WASHINGTON).send()

    assert stranger.expect_final().start == "SIP/2.0 403 Source Not Authorized"
    stranger.stays_quiet(1.0)  # ten T1 without an ACK
    assert len(stranger.received) == 1
    assert not provider.received


def test_every_request_gets_its_own_answer(proxy, new_peer) -> None:
    """No transaction: the same bytes twice are answered twice."""
    stranger = new_peer(STRANGER)
    call = OutgoingCall(stranger, proxy.address, WASHINGTON)

    for _ in range(3):
        call.send()
        stranger.expect_final(call_id=call.call_id)

    assert stranger.count("INVITE", 100) == 0
    assert len(stranger.received) == 3


def test_ack_is_absorbed_in_silence(proxy, new_peer) -> None:
    stranger = new_peer(STRANGER)
    call = OutgoingCall(stranger, proxy.address, WASHINGTON).send()

    call.final()  # acknowledges

    stranger.stays_quiet()


def test_scan_costs_the_ledger_nothing(proxy, provider, redis_server, new_peer) -> None:
    """A scanner is answered from what is in memory, with fewer bytes than one and a half times its own."""
    stranger = new_peer(STRANGER)
    before = redis_server.command_calls()
    keys = redis_server.keys()
    began = time.monotonic()
    sent = 0

    for number in range(SCAN):
        invite = OutgoingCall(stranger, proxy.address, f"+1202555{number:04d}").invite()
        sent += len(invite)
        stranger.send(invite, proxy.address)
        stranger.expect_final()

    after = redis_server.command_calls()
    commands = {verb: after.get(verb, 0) - before.get(verb, 0) for verb in VERBS}
    took = math.ceil(time.monotonic() - began)
    assert sum(commands.values()) <= COMMANDS_A_SECOND * took, commands
    assert redis_server.keys() <= keys
    assert sum(len(datagram.message.raw) for datagram in stranger.received) <= 1.5 * sent
    assert not provider.received


def test_strangers_are_not_recorded_on_the_ledger(proxy, redis_server, new_peer) -> None:
    """What strangers send may not fill streams."""
    stranger = new_peer(STRANGER)
    before = redis_server.command_calls().get("cmdstat_xadd", 0)

    OutgoingCall(stranger, proxy.address, WASHINGTON).send().final()
    known = OutgoingCall(new_peer("127.0.0.10"), proxy.address, "12").send()
    known.final()

    # The known caller's record comes after the stranger's turn, so once it is there nothing else will come.
    eventually(lambda: redis_server.command_calls().get("cmdstat_xadd", 0) > before, what="the record")
    assert redis_server.command_calls()["cmdstat_xadd"] == before + 1


@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "SUBSCRIBE", "BYE"])
def test_other_methods_of_strangers_reach_nobody(proxy, provider, new_peer, method: str) -> None:
    stranger = new_peer(STRANGER)
    headers = [
        ("Via", f"SIP/2.0/UDP {stranger.host_port};rport;branch={fresh('z9hG4bK-e2e-')}"),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@example.net>;tag=1"),
        ("To", "<sip:b@example.net>" + (";tag=2" if method == "BYE" else "")),
        ("Call-ID", fresh("call")),
        ("CSeq", f"1 {method}"),
    ]

    stranger.send(text(f"{method} sip:{WASHINGTON}@127.0.0.1 SIP/2.0", headers), proxy.address)

    assert stranger.expect_final(method).status in (403, 405, 481)
    assert not provider.received


@pytest.mark.parametrize(
    "claim",
    [
        ("X-Forwarded-For", "127.0.0.10"),
        ("P-Asserted-Identity", "<sip:+12025550117@127.0.0.10>"),
        ("Contact", "<sip:desk@127.0.0.10:5060>"),
        ("Via", "SIP/2.0/UDP 127.0.0.10:5060;received=127.0.0.10;branch=z9hG4bKclaim"),
    ],
    ids=lambda claim: claim[0],
)
def test_claims_of_an_allowed_address_are_ignored(proxy, provider, new_peer, claim: tuple[str, str]) -> None:
    """The packet's source decides, and the answer goes there and nowhere else."""
    stranger, desk = new_peer(STRANGER), new_peer("127.0.0.10")

    OutgoingCall(stranger, proxy.address, WASHINGTON, extra=(claim,)).send()

    assert stranger.expect_final().start == "SIP/2.0 403 Source Not Authorized"
    assert not provider.received
    assert not desk.received


def test_answer_goes_where_the_packet_came_from(proxy, new_peer) -> None:
    """A Via that names another host gets nothing sent there (§18.2.2, RFC 3581)."""
    stranger, evil = new_peer(STRANGER), new_peer(EVIL)
    invite = OutgoingCall(stranger, proxy.address, WASHINGTON).invite()
    forged = invite.replace(f"UDP {stranger.host_port}".encode(), f"UDP {evil.host_port}".encode())

    stranger.send(forged, proxy.address)

    via = stranger.expect_final().one("via")
    assert f"received={STRANGER}" in via
    assert f"rport={stranger.address[1]}" in via
    assert not evil.received


def test_dropping_strangers_answers_nothing(serve, redis_server, provider, new_peer, tmp_path) -> None:
    silent = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", provider.address)],
            [trunk("desk", "127.0.0.10")],
            unknown_source="drop",
        )
    )
    stranger, desk = new_peer(STRANGER), new_peer("127.0.0.10")
    call = OutgoingCall(stranger, silent.address, WASHINGTON)
    unreadable = call.invite().replace(b"CSeq: 1 INVITE", b"CSeq: one INVITE")

    call.send()
    stranger.send(call.invite().replace(b"INVITE", b"CANCEL"), silent.address)
    stranger.send(unreadable, silent.address)
    desk.send(unreadable, silent.address)
    assert desk.expect_final().status == 400
    OutgoingCall(desk, silent.address, "12").send().final()

    assert not stranger.received
