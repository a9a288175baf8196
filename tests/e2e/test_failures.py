"""Calls that come to nothing: who hears what, when, and that the reservation comes back each time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.configuration import IMPATIENT, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import NOBODY, free_udp_port
from tests.e2e.sip_text import answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, fence, incoming
from tests.e2e.waiting import eventually

DESK, HASTY, LONELY = "127.0.0.10", "127.0.0.11", "127.0.0.12"
RESPONSE_SECONDS = 1.0
ANSWER_SECONDS = 3.0
SLACK_SECONDS = 0.8
ROUNDS = 3  # the best of them counts: a busy machine may hold up one or the other
MOST_SECONDS = 30.0
STALL_SECONDS = 0.7  # the program waits for its ledger for one second


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("failures"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", DESK, capacity_limit=1, rate_deck="retail", threshold_amount="10.00")],
    )
    return serve_module(config)


@pytest.fixture(scope="module")
def hasty(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    """One that waits for nobody: for the cases in which nobody has to keep up with it."""
    nobody = (NOBODY, free_udp_port(NOBODY))
    config = configuration(
        tmp_path_factory.mktemp("hasty"),
        redis_server.url,
        [provider_entry("carrier", provider.address), provider_entry("nobody", nobody)],
        [
            trunk("hasty", HASTY, capacity_limit=1, rate_deck="retail", threshold_amount="10.00"),
            trunk("lonely", LONELY, provider="nobody"),
        ],
        timers={**IMPATIENT, "t1_ms": 500},
    )
    return serve_module(config)


@pytest.fixture(autouse=True)
def _nothing_is_left(request) -> Iterator[None]:
    """Capacity is one: a reservation that stays behind would refuse the next test's call."""
    yield
    for fixture, name in (("proxy", "desk"), ("hasty", "hasty")):
        if fixture in request.fixturenames:
            one: Trunkwarden = request.getfixturevalue(fixture)
            one.wait_until_idle(name)
            usage = one.usage(name)
            left = (usage["active_calls"], float(usage["reserved_amount"]), float(usage["spent_amount"]))
            assert left == (0, 0, 0)


@pytest.fixture
def ringing(proxy, provider, new_peer):
    """A call that rings at the provider."""

    def place():
        call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
        far_end = incoming(provider, proxy.address, call)
        far_end.respond("180 Ringing")
        call.provisional(180)
        return call, far_end

    return place


@pytest.mark.parametrize(
    ("provider_says", "caller_hears"),
    [
        ("486 Busy Here", "486 Busy Here"),
        ("404 Not Found", "404 Not Found"),
        ("480 Temporarily Unavailable", "480 Temporarily Unavailable"),
        ("500 Database On Fire", "500 Database On Fire"),
        ("503 Service Unavailable", "500 Server Internal Error"),
        ("603 Decline", "603 Decline"),
    ],
)
def test_final_failure(proxy, provider, new_peer, provider_says: str, caller_hears: str) -> None:
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)

    far_end.respond(provider_says)
    ack = far_end.expect("ACK")
    response = call.final()

    assert response.start == f"SIP/2.0 {caller_hears}"
    # §17.1.1.3: our own ACK, hop by hop, on the INVITE's branch and URI; the caller's goes no further.
    assert ack.all("via") == far_end.invite.all("via")[:1]
    assert ack.uri == far_end.invite.uri
    fence(call.peer, proxy.address)  # what became of the caller's ACK
    fence(provider, proxy.address)  # has come
    assert len(provider.requests("ACK", call.call_id)) == 1
    assert len(provider.transactions("INVITE", call.call_id)) == 1


def test_cancel_while_it_rings(provider, ringing) -> None:
    call, far_end = ringing()

    call.cancel()
    assert call.peer.expect_final("CANCEL", call_id=call.call_id).start.startswith("SIP/2.0 200")
    cancel = far_end.expect("CANCEL")
    assert cancel.uri == far_end.invite.uri
    assert cancel.all("via") == far_end.invite.all("via")[:1]
    far_end.reply(cancel)
    far_end.respond("487 Request Terminated")

    assert call.final().start == "SIP/2.0 487 Request Terminated"
    far_end.expect("ACK")


def test_cancel_waits_for_a_provisional_answer(proxy, provider, new_peer) -> None:
    """§9.1: no CANCEL downstream before the provider said something; then at once."""
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)

    call.cancel()
    call.peer.expect_response(200, "CANCEL", call_id=call.call_id)
    assert not provider.requests("CANCEL", call.call_id)
    far_end.respond("180 Ringing")
    far_end.reply(far_end.expect("CANCEL"))
    far_end.respond("487 Request Terminated")

    assert call.final().status == 487


def test_silent_provider_is_408_in_time(hasty, provider, new_peer) -> None:
    def silence() -> float:
        call = OutgoingCall(new_peer(HASTY), hasty.address, WASHINGTON)
        started = time.monotonic()
        call.send()
        assert call.final(MOST_SECONDS).start == "SIP/2.0 408 Request Timeout"
        took = time.monotonic() - started
        assert provider.requests("INVITE", call.call_id)
        # A provider that was never heard gets no CANCEL.
        assert not provider.requests("CANCEL", call.call_id)
        hasty.wait_until_idle("hasty")
        return took

    _in_time(silence, RESPONSE_SECONDS)


def _in_time(measure: Callable[[], float], expected: float) -> None:
    """Once at least it is about what is expected, and never less."""
    took: list[float] = []
    while len(took) < ROUNDS and not any(abs(one - expected) < SLACK_SECONDS for one in took):
        took.append(measure())
    assert expected - SLACK_SECONDS < min(took) < expected + SLACK_SECONDS, took


def test_provider_that_wakes_up_too_late_is_not_connected(hasty, provider, new_peer) -> None:
    call = OutgoingCall(new_peer(HASTY), hasty.address, WASHINGTON).send()
    far_end = incoming(provider, hasty.address, call)
    assert call.final(MOST_SECONDS).status == 408

    far_end.accept()

    fence(provider, hasty.address)  # what became of the answer
    fence(call.peer, hasty.address)  # has come
    assert call.peer.count("INVITE", 200) == 0


def test_long_ringing_is_cut_off(hasty, provider, new_peer) -> None:
    def ring() -> float:
        call = OutgoingCall(new_peer(HASTY), hasty.address, WASHINGTON).send()
        far_end = incoming(provider, hasty.address, call)
        began = time.monotonic()
        far_end.respond("180 Ringing")
        if call.peer.expect(lambda m: m.status in (180, 408), "180").message.status == 408:
            call.final()
            return math.inf  # this machine stood still: the provider was given up
        cancel = far_end.expect("CANCEL", MOST_SECONDS)
        waited = time.monotonic() - began
        far_end.reply(cancel)
        far_end.respond("487 Request Terminated")
        assert call.final().status in (408, 487)
        hasty.wait_until_idle("hasty")
        return waited

    _in_time(ring, ANSWER_SECONDS)


def test_unreachable_provider_is_not_waited_for_longer(hasty, new_peer) -> None:
    """Nobody listens there: ICMP says so, or the provider's time runs out."""
    call = OutgoingCall(new_peer(LONELY), hasty.address, WASHINGTON).send()

    assert call.final(64 * 0.5 / 2).status in (408, 500, 503)  # well before Timer B
    hasty.wait_until_idle("lonely")


def test_invite_sent_again_makes_one_call(proxy, provider, new_peer) -> None:
    """P02: retransmissions get the last provisional again, and nothing else happens."""
    caller = new_peer(DESK)
    call = OutgoingCall(caller, proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.respond("180 Ringing")
    ringing = call.provisional(180)

    for _ in range(7):
        call.send()
        assert call.provisional(180).raw == ringing.raw
    far_end.respond("486 Busy Here")
    call.final()

    assert len(provider.transactions("INVITE", call.call_id)) == 1


def test_stalled_ledger_delays_no_100(proxy, provider, redis_server, new_peer) -> None:
    """P01, P02: 100 within 200 ms, seven repetitions, one reservation, one INVITE downstream."""

    def stalled() -> tuple[OutgoingCall, float]:
        """A call while the ledger stalls, and how long it did."""
        call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON)
        took: list[float] = []
        paused = time.monotonic()
        redis_server.pause()
        try:
            while len(took) < 8 and (not took or min(took) >= 0.2):  # the quickest counts
                began = time.monotonic()
                call.send()
                call.provisional(100)
                took.append(time.monotonic() - began)
            repeated = 8 - len(took)
            for _ in range(repeated):
                call.send()
            for _ in range(repeated):
                call.provisional(100)
            assert not provider.requests("INVITE", call.call_id)
        finally:
            redis_server.resume()
        assert min(took) < 0.2
        return call, time.monotonic() - paused

    call, seconds = stalled()
    for _ in range(ROUNDS):
        if seconds < STALL_SECONDS:
            break
        call.final()  # this machine stood still, and the call was refused for it
        eventually(lambda: proxy.http.get("/readyz").status_code == 200, what="the ledger")
        proxy.wait_until_idle("desk")
        call, seconds = stalled()

    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")
    call.final()
    assert len(provider.transactions("INVITE", call.call_id)) == 1


def test_busy_provider_repeats_itself_and_gets_an_ack_each_time(provider, ringing) -> None:
    call, far_end = ringing()
    busy = answer(far_end.invite, "486 Busy Here", tag=far_end.tag)

    for number in range(1, 4):
        provider.send(busy, call.proxy)
        eventually(lambda n=number: len(provider.requests("ACK", call.call_id)) == n, what="an ACK for each")

    call.final()
    assert call.peer.count("INVITE", 486) >= 1
