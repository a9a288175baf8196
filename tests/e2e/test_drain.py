"""Stopping: SIGTERM takes no new call, lets the live ones finish, and cuts none."""

from __future__ import annotations

import time

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import free_udp_port
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming

DESK = "127.0.0.10"
DRAIN_SECONDS = 30.0  # what does not end by itself is told from what waits for that


@pytest.fixture
def start(serve, own_redis, provider, tmp_path):
    """Starts the program for one test, on a ledger of its own: calls that others left would be adopted, and
    waited for."""

    def now(*options: str):
        return serve(
            configuration(
                tmp_path,
                own_redis.url,
                [provider_entry("carrier", provider.address)],
                [trunk("desk", DESK)],
                emergency={"numbers": ["112"], "providers": ["carrier"]},
            ),
            *options,
        )

    return now


@pytest.fixture
def live(provider, new_peer):
    """A call that is up: (call, the caller's dialog, the far end)."""

    def place(proxy):
        call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
        far_end = incoming(provider, proxy.address, call)
        far_end.accept()
        return call, call.answered(), far_end

    return place


def test_idle_program_ends_at_once(start) -> None:
    proxy = start("--drain-seconds", str(DRAIN_SECONDS))
    started = time.monotonic()

    proxy.terminate()

    assert proxy.wait() == 0
    assert time.monotonic() - started < DRAIN_SECONDS / 2


def test_draining_refuses_new_calls_and_finishes_live_ones(start, live, provider, new_peer) -> None:
    proxy = start("--drain-seconds", str(DRAIN_SECONDS))
    call, dialog, far_end = live(proxy)

    proxy.terminate_and_wait()
    refused = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send().final()
    assert refused.start.startswith("SIP/2.0 503 ")
    assert refused.one("warning").startswith('399 trunkwarden "DRAINING ')
    assert refused.one("reason").startswith("Q.850;cause=42;")
    assert int(refused.one("retry-after")) > 0

    emergency = OutgoingCall(new_peer(DESK), proxy.address, "112").send()
    rescue = incoming(provider, proxy.address, emergency)
    rescue.respond("486 Busy Here")
    assert emergency.final().status == 486

    hang_up(call, dialog, far_end)
    assert proxy.wait(DRAIN_SECONDS / 2) == 0


def test_what_is_left_is_not_cut(start, live, provider) -> None:
    """After --drain-seconds it ends; the call goes on without it, to be adopted, and its lease stays."""
    proxy = start("--drain-seconds", "1")
    call, _, far_end = live(proxy)

    proxy.terminate()

    assert proxy.wait() == 0
    assert call.peer.count("BYE") == 0
    assert not provider.requests("BYE", far_end.invite.one("call-id"))


def test_second_signal_ends_it_at_once(start, live) -> None:
    proxy = start("--drain-seconds", "60")
    call, _, _ = live(proxy)
    proxy.terminate_and_wait()  # two signals of one kind that come together are one

    proxy.terminate()

    assert proxy.wait() == 0
    assert call.peer.count("BYE") == 0


def test_sipp_sees_the_drain(start, live, sipp) -> None:
    proxy = start("--drain-seconds", str(DRAIN_SECONDS))
    call, dialog, far_end = live(proxy)
    proxy.terminate_and_wait()

    caller = sipp(
        "uac_refused", (DESK, free_udp_port(DESK)), target=proxy.address, called=WASHINGTON, calls=3,
        variables={
            "expected_status": "503 Service Unavailable", "expected_cause": "42", "expected_code": "DRAINING"
        },
    )  # fmt: skip

    caller.wait().assert_all_succeeded(3)
    hang_up(call, dialog, far_end)
    assert proxy.wait(DRAIN_SECONDS / 2) == 0
