"""New policies in a running program: by signal and over HTTP, good and bad; and what live calls keep."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.configuration import PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import SECOND_PROVIDER
from tests.e2e.sip_text import answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
LEASE_SECONDS = 2
PAID_SECONDS = 2


@pytest.fixture(scope="module")
def base(redis_server, provider, tmp_path_factory) -> dict[str, Any]:
    return configuration(
        tmp_path_factory.mktemp("reload"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", DESK, reserve_seconds=PAID_SECONDS)],
        ledger={"lease_seconds": LEASE_SECONDS},
    )


@pytest.fixture(scope="module")
def running(serve_module, base) -> Trunkwarden:
    return serve_module(base)


@pytest.fixture
def proxy(running, base) -> Iterator[Trunkwarden]:
    """The program with the base policy in force, before and after the test."""
    yield running
    running.write(base)
    assert running.http.post("/v1/reload").status_code == 200


def changed(base: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The base configuration with other fields in its trunk."""
    config = copy.deepcopy(base)
    config["trunks"][0].update(fields)
    return config


def decided(proxy: Trunkwarden, new_peer, called: str) -> str:
    """The status line of a refused call."""
    return OutgoingCall(new_peer(DESK), proxy.address, called).send().final().start


@pytest.fixture(params=["SIGHUP", "POST /v1/reload"])
def reload_now(request, proxy):
    """Loads the file and waits until that has shown its result."""

    def now(good: bool) -> None:
        if request.param == "POST /v1/reload":
            assert proxy.http.post("/v1/reload").status_code == (200 if good else 422)
        elif good:
            proxy.reload_and_wait()
        else:
            before = proxy.metric("trunkwarden_policy_reloads_total", result="failure")
            proxy.reload()
            eventually(
                lambda: proxy.metric("trunkwarden_policy_reloads_total", result="failure") > before,
                what="the count of the failed reload",
            )

    return now


def test_good_file_is_in_force(proxy, base, reload_now, new_peer) -> None:
    assert decided(proxy, new_peer, PARIS) == "SIP/2.0 403 Destination Country Not Whitelisted"
    version = proxy.policy_version()

    proxy.write(changed(base, status="blocked"))
    reload_now(good=True)

    assert proxy.policy_version() != version
    assert decided(proxy, new_peer, PARIS) == "SIP/2.0 403 Outbound Calling Is Disabled"


@pytest.mark.parametrize(
    "bad",
    ["trunks: [", "listen: 7\n", "", "unknown_key: 1\n"],
    ids=["no-yaml", "wrong-type", "empty", "unknown-key"],
)
def test_bad_file_leaves_the_old_policy(proxy, reload_now, new_peer, bad: str) -> None:
    version = proxy.policy_version()
    failed = proxy.metric("trunkwarden_policy_reloads_total", result="failure")

    proxy.write(bad)
    reload_now(good=False)

    assert proxy.policy_version() == version
    policy = proxy.get("/v1/policy")
    assert policy["problems"], policy
    assert decided(proxy, new_peer, PARIS) == "SIP/2.0 403 Destination Country Not Whitelisted"
    eventually(
        lambda: proxy.metric("trunkwarden_policy_reloads_total", result="failure") == failed + 1,
        what="the count of the failed reload",
    )


def test_http_names_the_problem_with_its_line(proxy, base) -> None:
    proxy.write(changed(base, capacity_limit="many"))

    response = proxy.http.post("/v1/reload")

    assert response.status_code >= 400
    assert f"{proxy.file.name}:" in response.text
    assert "trunks[0].capacity_limit" in response.text


def test_live_call_keeps_its_provider(proxy, base, provider, new_peer) -> None:
    """The new provider gets the next call; the old one gets the live call's BYE."""
    second = new_peer(SECOND_PROVIDER)
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    dialog = call.answered()

    moved = changed(base, provider="other")
    moved["providers"].append(provider_entry("other", second.address))
    proxy.write(moved)
    assert proxy.http.post("/v1/reload").status_code == 200
    other = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    incoming(second, proxy.address, other).respond("486 Busy Here")

    assert other.final().status == 486
    hang_up(call, dialog, far_end)
    assert second.count("BYE") == 0
    proxy.wait_until_idle("desk")


def test_blocking_a_trunk_stops_what_it_has_running(proxy, base, provider, new_peer) -> None:
    """The renewal of the lease meets the status now in force."""
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    call.answered()

    proxy.write(changed(base, status="blocked"))
    assert proxy.http.post("/v1/reload").status_code == 200

    for peer in (call.peer, provider):
        bye = peer.expect_request("BYE", PAID_SECONDS + LEASE_SECONDS + 10.0, call.call_id)
        peer.send(answer(bye, "200 OK"), proxy.address)
    proxy.wait_until_idle("desk")
