"""Many at once over three instances on one ledger: the limits are those of one (C01, C02).

TRUNKWARDEN_BURSTS sets how many bursts there are, each with another order.
"""

from __future__ import annotations

import os
import time
from decimal import Decimal
from random import Random

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.sip_text import Message
from tests.e2e.test_limits import BUDGET, CALLS, CAPACITY, PRICE, answering, arrived, statuses
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall
from tests.e2e.waiting import eventually

BURSTS = int(os.environ.get("TRUNKWARDEN_BURSTS", "1"))
PROVIDER = "127.0.0.22"
LIMIT_SECONDS = 60.0
RESEND_SECONDS = 1.0
ROOM = {"capacity": CAPACITY, "budget": int(BUDGET / PRICE)}
REFUSED = {"capacity": "403 Channel Limit Exceeded", "budget": "403 Spend Limit Reached"}


def address(name: str, seed: int) -> str:
    """Each burst has a trunk of its own."""
    return f"127.0.{4 if name == 'capacity' else 5}.{seed + 1}"


@pytest.fixture(scope="module")
def far_end():
    peer = Peer(PROVIDER)
    peer.reaction = answering(peer.host_port)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def instances(serve_module, redis_server, far_end, tmp_path_factory) -> list[Trunkwarden]:
    return [
        serve_module(
            configuration(
                tmp_path_factory.mktemp("instances"),
                redis_server.url,
                [provider_entry("carrier", far_end.address)],
                [
                    trunk(f"capacity-{seed}", address("capacity", seed), capacity_limit=CAPACITY)
                    for seed in range(BURSTS)
                ]
                + [
                    trunk(
                        f"budget-{seed}",
                        address("budget", seed),
                        rate_deck="retail",
                        threshold_amount=str(BUDGET),
                    )
                    for seed in range(BURSTS)
                ],
                timers={"t1_ms": 500, "provider_response_seconds": 20, "no_answer_seconds": 181},
                ledger={"lease_seconds": 60},
            )
        )
        for _ in range(3)
    ]


def burst(instances: list[Trunkwarden], callers: list[Peer], draw: Random, watch) -> dict[str, Message]:
    """All calls at once, each to one of the instances; the final answer of each by its Call-ID."""
    invites: dict[str, tuple[OutgoingCall, bytes, Trunkwarden]] = {}
    for _ in range(CALLS):
        proxy = draw.choice(instances)
        call = OutgoingCall(draw.choice(callers), proxy.address, WASHINGTON)
        invites[call.call_id] = (call, call.invite(), proxy)
    finals: dict[str, Message] = {}
    deadline = time.monotonic() + LIMIT_SECONDS
    resend = 0.0
    while len(finals) < CALLS:
        assert time.monotonic() < deadline, f"{CALLS - len(finals)} calls were never answered"
        received = [datagram.message for caller in callers for datagram in list(caller.received)]
        if time.monotonic() >= resend:
            heard = {message.one("call-id") for message in received}
            for call_id, (call, invite, proxy) in invites.items():
                if call_id not in heard:
                    call.peer.send(invite, proxy.address)
            resend = time.monotonic() + RESEND_SECONDS
        for message in received:
            call_id = message.one("call-id")
            if message.status < 200 or message.method != "INVITE" or call_id in finals:
                continue
            if call_id not in invites:
                continue
            call, _, proxy = invites[call_id]
            if message.status == 503:  # shed, which is no decision about the call: the caller tries again
                call.acknowledge_failure(message)
                del invites[call_id]
                again = OutgoingCall(call.peer, proxy.address, WASHINGTON)
                invites[again.call_id] = (again, again.invite(), proxy)
                continue
            finals[call_id] = message
            if message.status == 200:
                call.peer.send(call.dialog(message).request("ACK"), proxy.address)
            else:
                call.acknowledge_failure(message)
        watch()
        time.sleep(0.05)
    for call_id, response in finals.items():
        if response.status == 200:
            # The answer names the instance that it came from; any other will do as well.
            call, _, proxy = invites[call_id]
            call.peer.send(call.dialog(response).request("BYE"), proxy.address)
    return finals


@pytest.mark.parametrize("seed", range(BURSTS))
@pytest.mark.parametrize("name", ["capacity", "budget"])
def test_500_at_once_over_three_instances(instances, far_end, new_peer, name: str, seed: int) -> None:
    callers = [new_peer(address(name, seed)) for _ in range(5)]
    trunk_name = f"{name}-{seed}"
    seen: list[tuple[int, Decimal]] = []

    def watch() -> None:
        usage = instances[0].usage(trunk_name)
        exposure = Decimal(usage["spent_amount"]) + Decimal(usage["reserved_amount"])
        seen.append((usage["active_calls"], exposure))

    finals = burst(instances, callers, Random(seed), watch)

    assert statuses(finals) == {"200 OK": ROOM[name], REFUSED[name]: CALLS - ROOM[name]}
    assert arrived(far_end, finals) == ROOM[name]
    eventually(
        lambda: instances[1].usage(trunk_name)["active_calls"] == 0, LIMIT_SECONDS, "the end of all calls"
    )
    watch()
    assert max(calls for calls, _ in seen) <= ROOM[name]
    if name == "budget":
        assert max(exposure for _, exposure in seen) <= BUDGET
        assert seen[-1][1] == ROOM[name] * PRICE
