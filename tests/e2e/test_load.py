"""A hundred calls a second, for TRUNKWARDEN_LOAD_SECONDS: none fails, nothing is left behind."""

from __future__ import annotations

import os

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.sipp import SippResult
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.alone

RATE = 100
SECONDS = int(os.environ.get("TRUNKWARDEN_LOAD_SECONDS", "10"))
HOLD_MS = 200
DESK = "127.0.0.10"
GRACE_SECONDS = 30.0
MOST_ROUNDS = 3  # a machine that stands still makes all its calls at once, and some are turned away
ADMITTED, SHED = "5_200_Recv", "4_503_Recv"


@pytest.mark.timeout(MOST_ROUNDS * (SECONDS + GRACE_SECONDS) + 120)
def test_load(serve, redis_server, sipp, tmp_path) -> None:
    carrier = (PROVIDER, free_udp_port(PROVIDER))
    proxy = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", carrier)],
            [trunk("desk", DESK, capacity_limit=1000, rate_deck="retail", threshold_amount="100000.00")],
            timers={"t1_ms": 500, "provider_response_seconds": 6, "no_answer_seconds": 30},
        )
    )
    calls = RATE * SECONDS
    far_end = sipp("uas_patient", carrier, calls=None, limit=MOST_ROUNDS * (SECONDS + GRACE_SECONDS))
    rounds: list[SippResult] = []
    while len(rounds) < MOST_ROUNDS and all(one.messages[SHED] for one in rounds):
        near_end = sipp(
            "uac_maybe_shed", (DESK, free_udp_port(DESK)), target=proxy.address, called=WASHINGTON,
            calls=calls, rate=RATE, hold_ms=HOLD_MS, limit=SECONDS + GRACE_SECONDS,
        )  # fmt: skip
        rounds.append(near_end.wait())
        rounds[-1].assert_all_succeeded(calls)
    assert rounds[-1].messages[SHED] == 0, [one.messages for one in rounds]
    admitted = sum(one.messages[ADMITTED] for one in rounds)
    far_end.stop().assert_all_succeeded(admitted)

    proxy.wait_until_idle()
    usage = proxy.usage("desk")
    assert (usage["active_calls"], float(usage["reserved_amount"])) == (0, 0)
    assert float(usage["spent_amount"]) == pytest.approx(0.1 * admitted)
    decided = "trunkwarden_admission_decisions_total"
    eventually(lambda: proxy.metric(decided, decision="admitted") == admitted, what="the count of decisions")
    eventually(lambda: proxy.metric("trunkwarden_ledger_drift") == 0, what="no drift")
    assert proxy.metric("trunkwarden_ledger_errors_total") == 0
    assert proxy.metric("trunkwarden_sip_malformed_total") == 0
