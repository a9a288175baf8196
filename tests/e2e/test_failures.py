"""Calls that come to nothing: who hears what, when, and that the reservation comes back each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.configuration import IMPATIENT, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.sip_text import answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, incoming

DESK = "127.0.0.10"
RESPONSE_SECONDS = 1.0
ANSWER_SECONDS = 3.0
SLACK_SECONDS = 0.8
ROUNDS = 3  # the best of them counts: a busy machine may hold up one or the other
MOST_SECONDS = 30.0


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("failures"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", DESK, capacity_limit=1, rate_deck="retail", threshold_amount="10.00")],
        timers=IMPATIENT,
    )
    return serve_module(config)


@pytest.fixture(autouse=True)
def _nothing_is_left(proxy) -> Iterator[None]:
    """Capacity is one: a reservation that stays behind would refuse the next test's call."""
    yield
    proxy.wait_until_idle("desk")
    usage = proxy.usage("desk")
    assert (usage["active_calls"], float(usage["reserved_amount"]), float(usage["spent_amount"])) == (0, 0, 0)


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
    provider.stays_quiet()


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


def test_silent_provider_is_408_in_time(proxy, provider, new_peer) -> None:
    def silence() -> float:
        call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON)
        started = time.monotonic()
        call.send()
        assert call.final(MOST_SECONDS).start == "SIP/2.0 408 Request Timeout"
        took = time.monotonic() - started
        assert provider.requests("INVITE", call.call_id)
        # A provider that was never heard gets no CANCEL.
        assert not provider.requests("CANCEL", call.call_id)
        proxy.wait_until_idle("desk")
        return took

    _in_time(silence, RESPONSE_SECONDS)


def _in_time(measure: Callable[[], float], expected: float) -> None:
    """Once at least it is about what is expected, and never less."""
    took: list[float] = []
    while len(took) < ROUNDS and not any(abs(one - expected) < SLACK_SECONDS for one in took):
        took.append(measure())
    assert expected - SLACK_SECONDS < min(took) < expected + SLACK_SECONDS, took


def test_provider_that_wakes_up_too_late_is_not_connected(proxy, provider, new_peer) -> None:
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    assert call.final(MOST_SECONDS).status == 408

    far_end.accept()

    call.peer.stays_quiet()


def test_long_ringing_is_cut_off(proxy, ringing) -> None:
    def ring() -> float:
        call, far_end = ringing()
        (rang,) = (one.at for one in call.peer.received if one.message.status == 180)
        cancel = far_end.expect("CANCEL", MOST_SECONDS)
        waited = time.monotonic() - rang
        far_end.reply(cancel)
        far_end.respond("487 Request Terminated")
        assert call.final().status in (408, 487)
        proxy.wait_until_idle("desk")
        return waited

    _in_time(ring, ANSWER_SECONDS)


def test_unreachable_provider_is_not_waited_for_longer(
    proxy, serve, redis_server, new_peer, tmp_path
) -> None:
    """Nobody listens there: ICMP says so, or the provider's time runs out."""
    other = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", (PROVIDER, free_udp_port(PROVIDER)))],
            [trunk("lonely", DESK)],
            timers={**IMPATIENT, "t1_ms": 500},
        )
    )
    call = OutgoingCall(new_peer(DESK), other.address, WASHINGTON).send()

    assert call.final(64 * 0.5 / 2).status in (408, 500, 503)  # well before Timer B
    other.wait_until_idle("lonely")


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
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON)
    took: list[float] = []
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

    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")
    call.final()
    assert len(provider.transactions("INVITE", call.call_id)) == 1


def test_busy_provider_repeats_itself_and_gets_an_ack_each_time(provider, ringing) -> None:
    call, far_end = ringing()
    busy = answer(far_end.invite, "486 Busy Here", tag=far_end.tag)

    for _ in range(3):
        provider.send(busy, call.proxy)
        far_end.expect("ACK")

    call.final()
    assert call.peer.count("INVITE", 486) >= 1
