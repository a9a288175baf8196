"""What a correct proxy does, judged by what its peers receive: transactions (RFC 3261 §16, §17, §9).

One provider and two programs serve all cases: one that is patient with peers on a busy machine, and a hasty
one for what takes the time of a timer. There T1 is 50 ms, so that 64·T1 is 3.2 s; a provider may be silent
for two seconds, and ring for three.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest

from tests.e2e.configuration import PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import SECOND_PROVIDER, STRANGER
from tests.e2e.redis_server import RedisServer
from tests.e2e.sip_text import Message, answer, text
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK, HASTY = "127.0.0.10", "127.0.0.11"
T1, HASTY_T1 = 0.1, 0.05
TIMER_H = 64 * HASTY_T1
SILENCE, RINGING = 2, 3
SLACK = 8.0
STALL_SECONDS = 0.7  # a program waits for its ledger for one second
ROUNDS = 3  # the best of them counts: a busy machine may hold up one or the other


@pytest.fixture(scope="module")
def second() -> Iterator[Peer]:
    peer = Peer(SECOND_PROVIDER)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def start(serve_module, redis_server, provider, second, tmp_path_factory):
    def one(name: str, source: str, timers: dict[str, int]) -> Trunkwarden:
        config = configuration(
            tmp_path_factory.mktemp("cases"),
            redis_server.url,
            [provider_entry("carrier", provider.address), provider_entry("second", second.address)],
            [trunk(name, source, capacity_limit=50, rate_deck="retail", threshold_amount="100.00")],
            timers=timers,
            emergency={"numbers": ["112"], "providers": ["second", "carrier"]},
        )
        return serve_module(config)

    return one


@pytest.fixture(scope="module")
def proxy(start) -> Trunkwarden:
    return start("desk", DESK, {"t1_ms": round(T1 * 1000)})


@pytest.fixture(scope="module")
def hasty(start) -> Trunkwarden:
    timers = {"provider_response_seconds": SILENCE, "no_answer_seconds": RINGING}
    return start("hasty", HASTY, {"t1_ms": round(HASTY_T1 * 1000), **timers})


@pytest.fixture(autouse=True)
def _nothing_is_left(request) -> Iterator[None]:
    yield
    for fixture, name in (("proxy", "desk"), ("hasty", "hasty")):
        if fixture in request.fixturenames:
            one: Trunkwarden = request.getfixturevalue(fixture)
            one.wait_until_idle(name)
            usage = one.usage(name)
            assert (usage["active_calls"], float(usage["reserved_amount"])) == (0, 0.0)


@pytest.fixture
def ringing(proxy, provider, new_peer):
    def place(**options: object) -> tuple[OutgoingCall, IncomingCall]:
        call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON, **options).send()
        far_end = incoming(provider, proxy.address, call)
        far_end.respond("180 Ringing")
        call.provisional(180)
        return call, far_end

    return place


def branch_of(message: Message) -> str:
    return message.all("via")[0].partition("branch=")[2].partition(";")[0]


def refuse(call: OutgoingCall, far_end: IncomingCall, status: str = "486 Busy Here") -> Message:
    """The end of a case: the provider refuses, and both sides are content."""
    far_end.respond(status)
    final = call.final()
    far_end.expect("ACK")
    return final


def count_of(peer: Peer, status: int, call: OutgoingCall) -> int:
    return sum(
        datagram.message.status == status and datagram.message.one("call-id") == call.call_id
        for datagram in peer.received
    )


def seconds_to_100(call: OutgoingCall) -> float:
    """From the INVITE, or its repetition, to the 100."""
    begun = time.monotonic()
    call.send()
    hundred = call.peer.expect(lambda message: message.status == 100, "100")
    return hundred.at - begun


# --- the ledger stalls


def test_p01_100_comes_while_the_ledger_stalls(proxy, provider, redis_server, new_peer) -> None:
    """P01: 3 s. A 100 at once; the ledger's own deadline refuses the call, and nothing stays reserved."""
    calls = [OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON) for _ in range(3)]
    redis_server.pause()
    paused = time.monotonic()
    try:
        # The quickest counts: a busy machine may hold up one or the other.
        assert min(seconds_to_100(call) for call in calls) < 0.2
        for call in calls:
            final = call.final()
            assert final.status == 503
            assert int(final.one("retry-after")) > 0
        time.sleep(max(0.0, 3.0 - (time.monotonic() - paused)))  # the length of the stall is the case
    finally:
        redis_server.resume()
    eventually(lambda: proxy.http.get("/readyz").status_code == 200, 10.0, "the ledger")
    assert not any(provider.requests("INVITE", call.call_id) for call in calls)


def test_p02_seven_repetitions_while_the_ledger_stalls(proxy, provider, redis_server, new_peer) -> None:
    """P02: one reservation, one INVITE downstream, the last provisional replayed."""
    for _ in range(ROUNDS):
        eventually(lambda: proxy.http.get("/readyz").status_code == 200, 10.0, "the ledger")
        call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON)
        if _repeated_in_a_stall(call, provider, redis_server) < STALL_SECONDS:
            break
        call.final()  # this machine stood still, and the call was refused for it
        proxy.wait_until_idle("desk")
    far_end = incoming(provider, proxy.address, call)
    assert proxy.usage("desk")["active_calls"] == 1
    far_end.respond("183 Session Progress")
    progress = call.provisional(183)
    call.send()
    assert call.provisional(183).raw == progress.raw
    refuse(call, far_end)
    assert len(provider.transactions("INVITE", call.call_id)) == 1


def _repeated_in_a_stall(call: OutgoingCall, provider: Peer, redis_server: RedisServer) -> float:
    """An INVITE and its repetitions while the ledger stalls; how long it did."""
    took: list[float] = []
    paused = time.monotonic()
    redis_server.pause()
    try:
        while len(took) < 8 and (not took or min(took) >= 0.2):  # the quickest counts
            took.append(seconds_to_100(call))
        for _ in range(8 - len(took)):  # all at once: the stall must end before the ledger's deadline
            call.send()
        eventually(lambda: count_of(call.peer, 100, call) == 8, what="a 100 for each")
        assert not provider.requests("INVITE", call.call_id)
    finally:
        redis_server.resume()
    assert min(took) < 0.2
    return time.monotonic() - paused


def test_p01_a_100_is_never_relayed(provider, ringing) -> None:
    """P01."""
    call, far_end = ringing()
    far_end.respond("100 Trying")
    refuse(call, far_end)
    assert count_of(call.peer, 100, call) == 1


# --- server transactions


def test_p03_one_branch_of_two_senders_is_two_transactions(proxy, provider, new_peer) -> None:
    """P03: §17.2.3."""
    calls = [
        OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON, branch="z9hG4bK-e2e-p03").send()
        for _ in range(2)
    ]
    for call in calls:
        refuse(call, incoming(provider, proxy.address, call))


def test_p04_refusal_is_repeated_until_its_ack_and_forgotten_after_timer_h(hasty, provider, new_peer) -> None:
    """P04: T1, 2·T1, 4·T1 … apart; the ACK ends it and goes nowhere; without one, Timer H does."""
    caller = new_peer(HASTY)
    begun = time.monotonic()
    call = OutgoingCall(caller, hasty.address, PARIS).send()
    refusals = [caller.expect(lambda m: m.status == 403, "a 403") for _ in range(4)]
    call.acknowledge_failure(refusals[0].message)
    assert {refusal.message.raw for refusal in refusals} == {refusals[0].message.raw}
    assert refusals[-1].at - begun >= (1 + 2 + 4) * HASTY_T1 * 0.8
    eventually(lambda: _quiet(caller), what="silence")
    call.acknowledge_failure(refusals[0].message)  # the ACK again: absorbed
    caller.stays_quiet(12 * HASTY_T1)

    unacknowledged = OutgoingCall(caller, hasty.address, PARIS).send()
    first = caller.expect_response(403, call_id=unacknowledged.call_id)
    time.sleep(TIMER_H)  # is what passes here

    def anew() -> Message | None:
        unacknowledged.send()
        time.sleep(4 * HASTY_T1)
        own = [d.message for d in caller.received if d.message.one("call-id") == unacknowledged.call_id]
        return next((message for message in own if message.tag("to") != first.tag("to")), None)

    unacknowledged.acknowledge_failure(eventually(anew, what="an answer of a new transaction"))
    assert not provider.requests("ACK", call.call_id)
    assert not provider.requests("INVITE", call.call_id)


def _quiet(peer: Peer) -> bool:
    before = len(peer.received)
    time.sleep(6 * HASTY_T1)
    return len(peer.received) == before


def test_p04_stranger_is_answered_once(proxy, new_peer) -> None:
    """P04: no transaction, no 100, no repetition."""
    stranger = new_peer(STRANGER)
    OutgoingCall(stranger, proxy.address, WASHINGTON).send()
    stranger.expect_response(403)
    stranger.stays_quiet(5 * T1)
    assert len(stranger.received) == 1


@pytest.mark.parametrize("status", ["302 Moved Temporarily", "404 Not Found", "500 Oops", "603 Decline"])
def test_p05_ack_of_a_failure_is_ours(proxy, provider, ringing, status: str) -> None:
    """P05: same branch, Request-URI; the caller's ACK is not forwarded."""
    call, far_end = ringing()
    far_end.respond(status)
    ack = far_end.expect("ACK")
    assert call.final().start == f"SIP/2.0 {status}"
    assert branch_of(ack) == branch_of(far_end.invite)
    assert ack.uri == far_end.invite.uri
    assert ack.all("via") == far_end.invite.all("via")[:1]
    assert ack.one("cseq") == "1 ACK"
    assert ack.tag("to") == far_end.tag
    proxy.wait_until_idle("desk")
    time.sleep(4 * T1)  # an ACK that is forwarded would be seen
    assert len(provider.requests("ACK", call.call_id)) == 1


def test_p06_each_2xx_is_forwarded_and_a_late_invite_absorbed(provider, ringing) -> None:
    """P06: RFC 6026."""
    call, far_end = ringing()
    for number in range(1, 4):
        far_end.accept()
        eventually(lambda n=number: count_of(call.peer, 200, call) == n, what="a 200 for each")  # type: ignore[misc]
    dialog = call.answered()
    before = len(call.peer.received)
    call.send()
    hang_up(call, dialog, far_end)
    assert len(call.peer.received) == before + 1  # the answer to BYE
    assert len(provider.transactions("INVITE", call.call_id)) == 1


def test_p07_ack_of_a_2xx_goes_by_the_recorded_route_and_costs_nothing(proxy, provider, ringing) -> None:
    """P07: whatever Request-URI and Route it has, each is forwarded, none answered."""
    call, far_end = ringing()
    far_end.accept()
    ok = call.final()
    dialog = call.dialog(ok)
    before = len(call.peer.received)
    for uri in (dialog.target, f"sip:+19005550123@{STRANGER}"):
        call.peer.send(dialog.request("ACK", uri=uri), proxy.address)
        ack = far_end.expect("ACK")
        assert ack.uri == f"sip:carrier@{provider.host_port}"
        assert len(ack.all("via")) == 2
        assert not ack.all("route")
    assert len(call.peer.received) == before
    assert proxy.usage("desk")["active_calls"] == 1
    hang_up(call, dialog, far_end)


# --- CANCEL, Timer C, Timer B


def test_p09_cancel_waits_for_a_provisional_response(proxy, provider, new_peer) -> None:
    """P09: 200 at once."""
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    call.cancel()
    call.peer.expect_response(200, "CANCEL", call_id=call.call_id)
    time.sleep(4 * T1)  # the INVITE is repeated meanwhile, and a CANCEL would be seen
    assert not provider.requests("CANCEL", call.call_id)
    far_end.respond("180 Ringing")
    cancel = far_end.expect("CANCEL")
    assert branch_of(cancel) == branch_of(far_end.invite)
    assert (cancel.uri, cancel.one("cseq")) == (far_end.invite.uri, "1 CANCEL")
    far_end.reply(cancel)
    far_end.respond("487 Request Terminated")
    assert call.final().status == 487
    far_end.expect("ACK")


def test_p11_timer_c_is_reset_by_provisionals_but_100_and_ends_in_cancel(hasty, provider, new_peer) -> None:
    """P11, P28: CANCEL with a Reason; the caller hears the provider's 487."""
    took: list[float] = []
    # Had 100 begun it anew, it would have come 1.6 times that long after the 183.
    while len(took) < ROUNDS and not any(one < RINGING * 1.5 for one in took):
        took.append(_seconds_from_183(OutgoingCall(new_peer(HASTY), hasty.address, WASHINGTON), provider))
    assert RINGING * 0.9 <= min(took) < RINGING * 1.5, took


def _seconds_from_183(call: OutgoingCall, provider: Peer) -> float:
    """From the 183 of a call that rings to its CANCEL; infinite when this machine stood still before it."""
    call.send()
    far_end = incoming(provider, call.proxy, call)
    begun = time.monotonic()
    far_end.respond("180 Ringing")
    time.sleep(0.6 * RINGING)  # the time that a call rings
    if time.monotonic() - begun > RINGING * 0.9:
        far_end.respond("486 Busy Here")
        call.final()
        return math.inf
    begun = time.monotonic()
    far_end.respond("183 Session Progress")
    call.provisional(183)
    time.sleep(0.6 * RINGING)
    far_end.respond("100 Trying")
    early = provider.requests("CANCEL", call.call_id)
    assert not early or time.monotonic() - begun > RINGING * 0.9
    came = provider.expect(
        lambda m: m.method == "CANCEL" and m.one("call-id") == call.call_id, "CANCEL", RINGING + SLACK
    )
    assert "408" in came.message.one("reason")
    far_end.reply(came.message)
    far_end.respond("487 Request Terminated")
    assert call.final().status == 487
    return came.at - begun


def test_p11_p12_silent_provider_is_408(hasty, provider, new_peer) -> None:
    """P11, P12: nothing was heard: no CANCEL."""
    call = OutgoingCall(new_peer(HASTY), hasty.address, WASHINGTON).send()
    assert call.final(SILENCE + SLACK).status == 408
    assert not provider.requests("CANCEL", call.call_id)
    assert len(provider.transactions("INVITE", call.call_id)) == 1


def test_p12_next_target_of_a_silent_one_has_a_branch_of_its_own(hasty, provider, second, new_peer) -> None:
    """P12."""
    call = OutgoingCall(new_peer(HASTY), hasty.address, "112").send()
    one, other = incoming(second, hasty.address, call), incoming(provider, hasty.address, call)
    assert branch_of(other.invite) != branch_of(one.invite)
    other.respond("503 Service Unavailable")
    assert call.final().status == 408


@pytest.mark.parametrize("first", ["503 Service Unavailable", "500 Server Error"])
def test_p22_next_target_has_a_branch_of_its_own(proxy, provider, second, new_peer, first: str) -> None:
    """P22."""
    call = OutgoingCall(new_peer(DESK), proxy.address, "112").send()
    one = incoming(second, proxy.address, call)
    one.respond(first)
    one.expect("ACK")
    other = incoming(provider, proxy.address, call)
    assert branch_of(other.invite) != branch_of(one.invite)
    other.respond("503 Service Unavailable")
    assert call.final().status == 500


def test_p22_a_6xx_stops_alternatives(proxy, provider, second, new_peer) -> None:
    """P22: §16.7 item 5."""
    call = OutgoingCall(new_peer(DESK), proxy.address, "112").send()
    assert refuse(call, incoming(second, proxy.address, call), "603 Decline").status == 603
    assert not provider.requests("INVITE", call.call_id)


def test_p22_503_goes_upstream_as_500(ringing) -> None:
    """P22: §16.7 item 6."""
    call, far_end = ringing()
    assert refuse(call, far_end, "503 Service Unavailable").status == 500


# --- other methods


def test_p24_silence_is_never_408_and_100_is_never_early(hasty, provider, new_peer) -> None:
    """P24: RFC 4320."""
    call = OutgoingCall(new_peer(HASTY), hasty.address, WASHINGTON).send()
    far_end = incoming(provider, hasty.address, call)
    far_end.accept()
    dialog = call.answered()
    call.peer.send(dialog.request("INFO"), hasty.address)
    far_end.expect("INFO")
    time.sleep(TIMER_H + 0.4)  # Timer F of both sides
    heard = {(d.message.status, d.message.method) for d in call.peer.received}
    assert not [status for status, method in heard if method == "INFO"]
    hang_up(call, dialog, far_end)


def test_cancel_of_a_reinvite(proxy, ringing) -> None:
    """§9.1: the call lives on."""
    call, far_end = ringing()
    far_end.accept()
    dialog = call.answered()
    reinvite = dialog.request("INVITE", extra=(("Contact", f"<sip:desk@{call.peer.host_port}>"),))
    call.peer.send(reinvite, proxy.address)
    arrived = far_end.expect("INVITE")
    far_end.peer.send(answer(arrived, "180 Ringing"), proxy.address)
    call.peer.expect_response(180, call_id=call.call_id)
    sent = Message.parse(reinvite)
    headers = [(name, sent.one(name)) for name in ("via", "from", "to", "call-id")]
    cancel = text(f"CANCEL {sent.uri} SIP/2.0", [*headers, ("CSeq", f"{dialog.cseq} CANCEL")])
    call.peer.send(cancel, proxy.address)
    call.peer.expect_response(200, "CANCEL", call_id=call.call_id)
    taken_back = far_end.expect("CANCEL")
    assert branch_of(taken_back) == branch_of(arrived)
    far_end.reply(taken_back)
    far_end.peer.send(answer(arrived, "487 Request Terminated"), proxy.address)
    assert call.peer.expect_final(call_id=call.call_id).status == 487
    ack = text(f"ACK {sent.uri} SIP/2.0", [*headers, ("CSeq", f"{dialog.cseq} ACK")])
    call.peer.send(ack, proxy.address)
    assert proxy.usage("desk")["active_calls"] == 1
    hang_up(call, dialog, far_end)
