"""The way of a call with SIPp on both ends: admitted, long, hung up, cancelled, failed, repeated."""

from __future__ import annotations

import pytest

from tests.e2e.configuration import IMPATIENT, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.sipp import SippResult
from tests.e2e.trunkwarden_process import Trunkwarden

DESK = "127.0.0.10"
CALLS = 5
HOLD_MS = 200
LONGER_THAN_T1_MS = 900  # SIPp's own T1 is 500 ms, the configured one 100
TIMES = 5


@pytest.fixture(scope="module")
def carrier() -> tuple[str, int]:
    return PROVIDER, free_udp_port(PROVIDER)


@pytest.fixture(scope="module", params=["redis", "embedded"])
def with_timers(request, serve_module, redis_server, carrier, tmp_path_factory):
    """Starts the program with these timers."""

    def start(**timers: int) -> Trunkwarden:
        return serve_module(
            configuration(
                tmp_path_factory.mktemp("calls"),
                redis_server.url if request.param == "redis" else "embedded",
                [provider_entry("carrier", carrier)],
                [trunk("desk", DESK, capacity_limit=50, rate_deck="retail", threshold_amount="1000.00")],
                timers=timers,
            )
        )

    return start


@pytest.fixture(scope="module")
def patient(with_timers) -> Trunkwarden:
    return with_timers()


@pytest.fixture(scope="module")
def impatient(with_timers) -> Trunkwarden:
    return with_timers(**IMPATIENT)


@pytest.fixture
def pair(patient, sipp, carrier):
    """Runs a caller and a callee against each other through the proxy; no lease may be left."""

    def run(
        caller: str,
        callee: str,
        *,
        calls: int = CALLS,
        hold_ms: int = HOLD_MS,
        far_hold_ms: int = HOLD_MS,
        expected_status: str | None = None,
        proxy: Trunkwarden = patient,
    ) -> tuple[SippResult, SippResult]:
        variables = {} if expected_status is None else {"expected_status": expected_status}
        far_end = sipp(callee, carrier, calls=calls, hold_ms=far_hold_ms)
        near_end = sipp(
            caller, (DESK, free_udp_port(DESK)), target=proxy.address, called=WASHINGTON, calls=calls,
            hold_ms=hold_ms, variables=variables,
        )  # fmt: skip
        near, far = near_end.wait(), far_end.wait()
        near.assert_all_succeeded(calls)
        far.assert_all_succeeded(calls)
        assert far.created == calls
        proxy.wait_until_idle()
        return near, far

    return run


def test_admitted_call_ends_with_the_callers_bye(pair) -> None:
    """Nobody has to say anything twice. SIPp does when anybody was stopped for half a second: sooner or later
    nobody was."""
    repeated = []
    while (0, 0) not in repeated:
        near, far = pair("uac_admitted", "uas_answering")
        repeated.append((near.retransmissions, far.retransmissions))
        assert len(repeated) < TIMES or (0, 0) in repeated, repeated


def test_call_ends_with_the_far_ends_bye(pair) -> None:
    pair("uac_hung_up_on", "uas_hanging_up")


def test_long_call_is_renegotiated(pair) -> None:
    pair("uac_long_call", "uas_long_call")


def test_cancelled_call(pair) -> None:
    pair("uac_cancelled", "uas_ringing")


def test_busy(pair) -> None:
    pair("uac_failed", "uas_busy", expected_status="486 Busy Here")


def test_provider_out_of_service_is_500_upstream(pair) -> None:
    pair("uac_failed", "uas_unavailable", expected_status="500 Server Internal Error")


def test_silent_provider_is_408_upstream(pair, impatient) -> None:
    pair("uac_failed", "uas_silent", calls=2, expected_status="408 Request Timeout", proxy=impatient)


def test_unanswered_call_ends_when_patience_does(pair, impatient) -> None:
    """Timer C: the provider is cancelled, and its 487 is the caller's answer (§16.8)."""
    pair("uac_failed", "uas_ringing", calls=2, expected_status="487 Request Terminated", proxy=impatient)


def test_retransmissions_make_one_call(pair) -> None:
    near, far = pair("uac_retransmitting", "uas_retransmitting", calls=2, far_hold_ms=LONGER_THAN_T1_MS)

    assert near.messages["0_INVITE_Sent"] == 2
    assert far.messages["0_INVITE_Recv"] == 2
    assert far.messages["0_INVITE_Retrans"] >= 2  # the proxy's own, over a network that lost the first
    assert far.messages["4_200_Retrans"] >= 2
