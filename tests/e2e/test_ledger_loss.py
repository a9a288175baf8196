"""The ledger goes away: calls are refused or admitted as configured, and it is found again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.e2e.configuration import PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import free_udp_port
from tests.e2e.redis_server import RedisServer
from tests.e2e.sip_text import Message
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

REJECTING, ADMITTING = "127.0.0.11", "127.0.0.12"
LOCAL_CAPACITY = 2
ANSWER_SECONDS = 6.0
BACK_SECONDS = 30.0
TRIES = 3  # the quickest counts: a busy machine may hold up one or the other
CANNOT_SERVE = 4


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxy(serve_module, shared_redis, provider, tmp_path_factory) -> Trunkwarden:
    config = configuration(
        tmp_path_factory.mktemp("loss"),
        shared_redis.url,
        [provider_entry("carrier", provider.address)],
        [
            trunk("rejecting", REJECTING),
            trunk("admitting", ADMITTING, on_ledger_unavailable="admit", local_capacity_limit=LOCAL_CAPACITY),
        ],
    )
    return serve_module(config)


@pytest.fixture(params=["killed", "hanging"])
def lose(request, proxy, shared_redis, provider, new_peer) -> Iterator[Callable[[], None]]:
    """Takes the ledger away; it is back, and calls pass again, when the test is over."""

    lost = False

    def now() -> None:
        nonlocal lost
        lost = True
        if request.param == "killed":
            shared_redis.kill()
        else:
            shared_redis.pause()

    yield now
    if not lost:
        return
    if request.param == "killed":
        shared_redis.start()
    else:
        shared_redis.resume()

    def passes() -> bool:
        call = OutgoingCall(new_peer(REJECTING), proxy.address, WASHINGTON).send()
        eventually(
            lambda: provider.requests("INVITE", call.call_id) or call.peer.count("INVITE", 503),
            ANSWER_SECONDS,
            "an INVITE or a refusal",
        )
        if not provider.requests("INVITE", call.call_id):
            call.final()
            return False
        incoming(provider, proxy.address, call).respond("486 Busy Here")
        return call.final().status == 486

    eventually(passes, BACK_SECONDS, "calls with the ledger back")
    # The HTTP process has its own connection.
    eventually(lambda: proxy.http.get("/v1/calls").status_code == 200, BACK_SECONDS, "its list of calls")
    proxy.wait_until_idle()


def test_refused_with_the_reason(proxy, provider, lose, new_peer) -> None:
    lose()

    call = OutgoingCall(new_peer(REJECTING), proxy.address, WASHINGTON).send()
    call.provisional(100)
    response: Message = call.final(ANSWER_SECONDS)

    assert response.start == "SIP/2.0 503 Ledger Unavailable"
    assert response.one("warning").startswith('399 trunkwarden "LEDGER ')
    assert response.one("reason").startswith("Q.850;cause=41;")
    assert int(response.one("retry-after")) > 0
    assert provider.requests("INVITE", call.call_id) == []


def test_refusals_of_the_policy_need_no_ledger(proxy, lose, new_peer) -> None:
    lose()
    took: list[float] = []

    for _ in range(TRIES):
        began = time.monotonic()
        response = OutgoingCall(new_peer(REJECTING), proxy.address, PARIS).send().final()
        took.append(time.monotonic() - began)
        assert response.start == "SIP/2.0 403 Destination Country Not Whitelisted"

    assert min(took) < 0.9


def test_admitted_up_to_the_local_capacity(proxy, provider, lose, new_peer) -> None:
    lose()
    calls = [
        OutgoingCall(new_peer(ADMITTING), proxy.address, WASHINGTON).send() for _ in range(LOCAL_CAPACITY + 2)
    ]

    live = []
    for call in calls:
        if _arrives(provider, call):
            far_end = incoming(provider, proxy.address, call)
            far_end.accept()
            live.append((call, call.answered(), far_end))
        else:
            assert call.final(ANSWER_SECONDS).status in (403, 503)

    assert len(live) == LOCAL_CAPACITY
    for call, dialog, far_end in live:
        hang_up(call, dialog, far_end)
    again = OutgoingCall(new_peer(ADMITTING), proxy.address, WASHINGTON).send()
    incoming(provider, proxy.address, again, ANSWER_SECONDS).respond("486 Busy Here")
    assert again.final().status == 486


def _arrives(provider, call: OutgoingCall) -> bool:
    eventually(
        lambda: provider.requests("INVITE", call.call_id) or call.peer.count("INVITE", 503)
        or call.peer.count("INVITE", 403),
        ANSWER_SECONDS,
        "an INVITE or a refusal",
    )  # fmt: skip
    return bool(provider.requests("INVITE", call.call_id))


def test_live_call_survives_it(proxy, provider, shared_redis, lose, new_peer) -> None:
    """The BYE passes at once; what it owes the ledger is paid when that is back."""
    live = []
    for _ in range(TRIES):
        call = OutgoingCall(new_peer(REJECTING), proxy.address, WASHINGTON).send()
        far_end = incoming(provider, proxy.address, call)
        far_end.accept()
        live.append((call, call.answered(), far_end))
    lose()
    took: list[float] = []

    for call, dialog, far_end in live:
        started = time.monotonic()
        hang_up(call, dialog, far_end)
        took.append(time.monotonic() - started)

    assert min(took) < 0.9


def test_readiness_tells_it(proxy, lose) -> None:
    eventually(lambda: proxy.http.get("/readyz").status_code == 200, BACK_SECONDS, "readiness")

    lose()

    eventually(lambda: proxy.http.get("/readyz").status_code == 503, BACK_SECONDS, "unreadiness")
    assert proxy.http.get("/healthz").status_code == 200
    assert "ledger" in proxy.http.get("/readyz").text


def test_sipp_sees_the_refusal(proxy, lose, sipp) -> None:
    lose()
    caller = sipp(
        "uac_refused", (REJECTING, free_udp_port(REJECTING)), target=proxy.address, called=WASHINGTON,
        calls=3,
        variables={
            "expected_status": "503 Ledger Unavailable", "expected_cause": "41", "expected_code": "LEDGER"
        },
    )  # fmt: skip

    caller.wait().assert_all_succeeded(3)


def test_start_without_a_ledger_is_exit_4(tmp_path, provider) -> None:
    config = configuration(
        tmp_path, f"unix://{tmp_path}/nobody.sock", [provider_entry("carrier", provider.address)],
        [trunk("desk", REJECTING)],
    )  # fmt: skip
    file = tmp_path / "trunkwarden.yaml"
    file.write_text(yaml.safe_dump(config))

    done = command("serve", "-c", str(file))

    assert done.returncode == CANNOT_SERVE
    assert not done.stdout
    assert "nobody.sock" in done.stderr or "ledger" in done.stderr


def test_scripts_flushed_meanwhile_fail_no_call(proxy, provider, shared_redis, new_peer) -> None:
    for _ in range(3):
        shared_redis.client.script_flush()
        call = OutgoingCall(new_peer(REJECTING), proxy.address, WASHINGTON).send()
        incoming(provider, proxy.address, call).respond("486 Busy Here")
        assert call.final().status == 486
