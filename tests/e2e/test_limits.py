"""Many at once: capacity, budget and calls a second hold exactly, counted at the provider."""

from __future__ import annotations

import collections
import math
import time
from decimal import Decimal

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer, Reaction
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import SDP, Dialog, Message, answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.alone

CALLS = 500
CAPACITY = 50
CALLERS = 5
PRICE = Decimal("0.10")
BUDGET = Decimal("5.05")  # room for 50 calls of 0.10, and a rest that is no room for another
BURST_SECONDS = 60.0
RESEND_SECONDS = 0.5


def answering(address: str) -> Reaction:
    """Rings, answers and takes every BYE. An INVITE that is repeated gets the same answers again: other tags
    would be other telephones."""

    def react(message: Message) -> list[bytes]:
        if message.method == "INVITE":
            contact = (("Contact", f"<sip:carrier@{address}>"),)
            tag = f"callee-of-{message.one('call-id')}"
            return [
                answer(message, "180 Ringing", tag=tag, extra=contact),
                answer(message, "200 OK", tag=tag, extra=contact, body=SDP),
            ]
        return [] if message.method == "ACK" else [answer(message, "200 OK")]

    return react


@pytest.fixture(scope="module")
def far_end():
    peer = Peer(PROVIDER)
    peer.reaction = answering(peer.host_port)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, far_end, tmp_path_factory) -> Trunkwarden:
    config = configuration(
        tmp_path_factory.mktemp("limits"),
        redis_server.url,
        [
            provider_entry("carrier", far_end.address),
            provider_entry("narrow", far_end.address, capacity_limit=CAPACITY),
        ],
        [
            trunk("capacity", "127.0.0.11", capacity_limit=CAPACITY),
            trunk("budget", "127.0.0.12", rate_deck="retail", threshold_amount=str(BUDGET)),
            trunk("first-narrow", "127.0.0.13", provider="narrow"),
            trunk("second-narrow", "127.0.0.14", provider="narrow"),
            trunk("slow", "127.0.0.15", cps_limit=10),
        ],
        # So many at once take their time on a small machine: nobody may get impatient meanwhile.
        timers={"t1_ms": 500, "provider_response_seconds": 10, "no_answer_seconds": 60},
        ledger={"lease_seconds": 60},
    )
    return serve_module(config)


def burst(proxy: Trunkwarden, callers: list[Peer], watch=lambda: None) -> dict[str, Message]:
    """All calls at once; the first final answer of each by its Call-ID. What is lost is sent again, and who
    is told with 503 that nothing can be decided just now calls again: on a busy machine that is said."""
    calls = [OutgoingCall(callers[index % len(callers)], proxy.address, WASHINGTON) for index in range(CALLS)]
    waiting = {call.call_id: call for call in calls}
    finals: dict[str, Message] = {}
    deadline = time.monotonic() + BURST_SECONDS
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} calls were never answered"
        heard = {
            datagram.message.one("call-id") for caller in callers for datagram in caller.received
        }  # fmt: skip
        for call in waiting.values():
            if call.call_id not in heard:
                call.send()
        patience = time.monotonic() + RESEND_SECONDS
        while waiting and time.monotonic() < patience:
            watch()
            _take_finals(callers, waiting, finals, proxy)
            time.sleep(0.05)
    return finals


def _take_finals(callers, waiting, finals, proxy) -> None:
    for caller in callers:
        for datagram in list(caller.received):
            message = datagram.message
            if message.status < 200 or message.method != "INVITE" or message.one("call-id") not in waiting:
                continue
            call = waiting.pop(message.one("call-id"))
            if message.status == 200:
                caller.send(call.dialog(message).request("ACK"), proxy.address)
            else:
                call.acknowledge_failure(message)
            if message.status == 503:
                again = OutgoingCall(caller, proxy.address, WASHINGTON)
                waiting[again.call_id] = again
            else:
                finals[call.call_id] = message


def hang_up_all(proxy: Trunkwarden, callers: list[Peer], finals: dict[str, Message]) -> None:
    for response in finals.values():
        if response.status == 200:
            caller = next(peer for peer in callers if peer.host_port in response.one("from"))
            dialog = Dialog(
                response.one("call-id"), response.one("from"), response.one("to"), response.contact_uri(),
                response.record_routes()[::-1], caller.host_port,
            )  # fmt: skip
            caller.send(dialog.request("BYE"), proxy.address)
    proxy.wait_until_idle()


def arrived(far_end: Peer, finals: dict[str, Message]) -> int:
    """How many of these calls reached the provider."""
    return len(
        {
            datagram.message.one("call-id")
            for datagram in far_end.received
            if datagram.message.method == "INVITE" and not datagram.message.is_response
        }
        & set(finals)
    )


def statuses(finals: dict[str, Message]) -> dict[str, int]:
    return dict(collections.Counter(response.start.removeprefix("SIP/2.0 ") for response in finals.values()))


def test_500_at_once_against_a_capacity_of_50(proxy, far_end, new_peer) -> None:
    callers = [new_peer("127.0.0.11") for _ in range(CALLERS)]

    finals = burst(proxy, callers)

    assert statuses(finals) == {"200 OK": CAPACITY, "403 Channel Limit Exceeded": CALLS - CAPACITY}
    assert arrived(far_end, finals) == CAPACITY
    assert proxy.usage("capacity")["active_calls"] == CAPACITY
    hang_up_all(proxy, callers, finals)
    assert proxy.usage("capacity")["active_calls"] == 0


def test_500_at_once_against_a_budget(proxy, far_end, new_peer) -> None:
    callers = [new_peer("127.0.0.12") for _ in range(CALLERS)]
    seen: list[Decimal] = []

    def exposure() -> Decimal:
        usage = proxy.usage("budget")
        return Decimal(usage["spent_amount"]) + Decimal(usage["reserved_amount"])

    finals = burst(proxy, callers, lambda: seen.append(exposure()))
    seen.append(exposure())
    room = int(BUDGET / PRICE)

    assert statuses(finals) == {"200 OK": room, "403 Spend Limit Reached": CALLS - room}
    assert arrived(far_end, finals) == room
    hang_up_all(proxy, callers, finals)
    seen.append(exposure())
    assert max(seen) <= BUDGET
    assert seen[-1] == room * PRICE


def test_provider_capacity_is_a_total_over_the_trunks(proxy, far_end, new_peer) -> None:
    callers = [new_peer("127.0.0.13"), new_peer("127.0.0.14")]

    finals = burst(proxy, callers)

    assert statuses(finals) == {"200 OK": CAPACITY, "403 Channel Limit Exceeded": CALLS - CAPACITY}
    assert arrived(far_end, finals) == CAPACITY
    hang_up_all(proxy, callers, finals)


def test_calls_per_second(proxy, far_end, new_peer) -> None:
    """At most ten in any one second of the ledger's clock, and more once that second has passed."""
    caller = new_peer("127.0.0.15")
    finals: dict[str, Message] = {}
    began = time.monotonic()
    calls = [OutgoingCall(caller, proxy.address, WASHINGTON).send() for _ in range(40)]
    for call in calls:
        finals[call.call_id] = call.final()
    seconds = math.ceil(time.monotonic() - began)  # one, unless the machine is very busy
    first = statuses(finals)
    assert set(first) == {"200 OK", "503 Calls Per Second Exceeded"}
    assert 10 <= first["200 OK"] <= 10 * seconds

    def one_more() -> bool:
        call = OutgoingCall(caller, proxy.address, WASHINGTON).send()
        finals[call.call_id] = call.final()
        return finals[call.call_id].status == 200

    eventually(one_more, 10.0, "room in the next second")
    assert time.monotonic() - began > 0.99
    hang_up_all(proxy, [caller], finals)
