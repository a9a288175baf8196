"""More than can be served: what gets through, and that no call under way suffers (P30)."""

from __future__ import annotations

import threading
import time

import pytest

from benchmarks.overload import GOAL, TIMES, Round, one_round, stage
from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import PROVIDER, STRANGER, free_udp_port
from tests.e2e.user_agents import OutgoingCall
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.alone

SECONDS = 5
MOST_ROUNDS = 2
# The goal is benchmarks.overload.GOAL, which `make soak` asks for on a machine of its own. Where other
# programs take much of the time, more is offered beside what can be served, and turning it away costs its
# share: FLOOR is asked for up to twice as many calls as are meant, and more than a collapse always.
FLOOR = 0.4
COLLAPSE = 0.1
FLOOD_RATE = 5_000
FLOOD_SECONDS = 5.0
RATE = 30
DESK = "127.0.0.10"


@pytest.mark.timeout(240)
def test_at_three_times_the_peak_calls_get_through_and_every_bye_succeeds(tmp_path) -> None:
    """The goodput is compared by the processor time that the program got: on a machine with other work both
    phases get shares of their own, and a round may be spoilt by that work."""
    rounds: list[Round] = []
    with stage(tmp_path) as (target, folder):
        while len(rounds) < MOST_ROUNDS and all(one.ratio_of_work < GOAL for one in rounds):
            rounds.append(one_round(target, folder / str(len(rounds)), SECONDS, TIMES))

    for one in rounds:
        assert one.peak.every_bye_succeeded, one
        assert one.overload.every_bye_succeeded, one
        assert one.overload.shed > 0, one
    best = max(rounds, key=lambda one: one.ratio_of_work)
    assert best.ratio_of_work > (FLOOR if best.times < 2 * TIMES else COLLAPSE), rounds


def test_strangers_in_flood_do_not_keep_callers_out(serve, redis_server, new_peer, sipp, tmp_path) -> None:
    carrier = (PROVIDER, free_udp_port(PROVIDER))
    proxy = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", carrier)],
            [trunk("desk", DESK)],
            timers={"t1_ms": 500, "provider_response_seconds": 6, "no_answer_seconds": 30},
        )
    )
    stranger = new_peer(STRANGER)
    data = OutgoingCall(stranger, proxy.address, WASHINGTON).invite()
    over = threading.Event()

    def flood() -> None:
        each = FLOOD_RATE // 100
        due = time.monotonic()
        while not over.is_set():
            for _ in range(each):
                stranger.send(data, proxy.address)
            due += 0.01
            time.sleep(max(0.0, due - time.monotonic()))

    flooding = threading.Thread(target=flood, daemon=True)
    calls = int(RATE * FLOOD_SECONDS)
    far_end = sipp("uas_patient", carrier, calls=None)
    flooding.start()
    try:
        near_end = sipp(
            "uac_admitted", (DESK, free_udp_port(DESK)), target=proxy.address, called=WASHINGTON, calls=calls,
            rate=RATE, hold_ms=200,
        )  # fmt: skip
        near_end.wait().assert_all_succeeded(calls)
    finally:
        over.set()
        flooding.join()
    far_end.kill()

    decided = "trunkwarden_admission_decisions_total"
    eventually(lambda: proxy.metric(decided, decision="admitted") == calls, what="the count of admissions")
    eventually(
        lambda: proxy.metric(decided, reason="SOURCE") > FLOOD_RATE, what="the count of strangers' calls"
    )
