"""Emergency calls: from an allowed source they are refused by nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer, refusing
from tests.e2e.ports import SECOND_PROVIDER, STRANGER
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming

OBSTACLES = {
    "blocked": ("127.0.0.11", {"status": "blocked"}),
    "no-country": ("127.0.0.12", {"destination_whitelist": []}),
    "reject-all": ("127.0.0.13", {"default_dst_action": "reject_all"}),
    "no-capacity": ("127.0.0.14", {"capacity_limit": 0}),
    "no-money": ("127.0.0.15", {"rate_deck": "retail", "threshold_amount": "0.00"}),
    "no-rate": ("127.0.0.16", {"rate_deck": "retail", "max_destination_rate": "0.00"}),
    "no-provider": ("127.0.0.17", {"provider": "switched-off"}),
}
RESCUE = ["112", "911", "urn:service:sos", "urn:service:sos.police", "tel:112", "sips:112@127.0.0.1"]


@pytest.fixture(scope="module")
def rescue() -> Iterator[Peer]:
    peer = Peer(SECOND_PROVIDER)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def config(redis_server, provider, rescue, tmp_path_factory):
    return configuration(
        tmp_path_factory.mktemp("emergency"),
        redis_server.url,
        [
            provider_entry("carrier", provider.address, capacity_limit=0),
            provider_entry("switched-off", provider.address, status="blocked"),
            provider_entry("rescue", rescue.address),
        ],
        [trunk(name, source, **fields) for name, (source, fields) in OBSTACLES.items()],
        emergency={"numbers": ["112", "911"], "providers": ["rescue"]},
    )


@pytest.fixture(scope="module")
def proxy(serve_module, config) -> Trunkwarden:
    return serve_module(config)


def dial(proxy: Trunkwarden, peer, called: str) -> OutgoingCall:
    """Calls a number, or a URI of another scheme."""
    uri = called if ":" in called else f"sip:{called}@{proxy.address[0]}"
    return OutgoingCall(peer, proxy.address, called, uri=uri).send()


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_no_limit_stands_in_the_way(proxy, rescue, new_peer, obstacle: str) -> None:
    source, _ = OBSTACLES[obstacle]
    ordinary = OutgoingCall(new_peer(source), proxy.address, WASHINGTON).send().final()
    assert ordinary.status in (403, 404), str(ordinary)

    call = dial(proxy, new_peer(source), "112")
    far_end = incoming(rescue, proxy.address, call)
    far_end.accept()
    dialog = call.answered()

    assert far_end.invite.uri.startswith("sip:112@")
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle()


@pytest.mark.parametrize("called", RESCUE)
def test_every_form_of_it(proxy, rescue, new_peer, called: str) -> None:
    call = dial(proxy, new_peer("127.0.0.11"), called)
    far_end = incoming(rescue, proxy.address, call)
    far_end.respond("486 Busy Here")

    assert far_end.invite.uri.startswith("sip:")
    assert call.final().status == 486


def test_stranger_gets_no_emergency_call(proxy, rescue, new_peer) -> None:
    call = dial(proxy, new_peer(STRANGER), "112")

    assert call.final().start == "SIP/2.0 403 Source Not Authorized"
    assert rescue.requests("INVITE", call.call_id) == []


def test_cost_stays_out_of_the_window(proxy, rescue, new_peer) -> None:
    before = proxy.usage("no-money")
    call = dial(proxy, new_peer("127.0.0.15"), "112")
    far_end = incoming(rescue, proxy.address, call)
    far_end.accept()
    hang_up(call, call.answered(), far_end)
    proxy.wait_until_idle()

    assert proxy.usage("no-money")["spent_amount"] == before["spent_amount"]


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_lost_ledger_stands_not_in_the_way(
    serve, own_redis, rescue, config, new_peer, tmp_path, how: str
) -> None:
    lost = dict(config, ledger={**config["ledger"], "url": own_redis.url})
    proxy = serve(lost)
    if how == "killed":
        own_redis.kill()
    else:
        own_redis.pause()

    call = dial(proxy, new_peer("127.0.0.11"), "112")
    far_end = incoming(rescue, proxy.address, call)
    far_end.accept()

    hang_up(call, call.answered(), far_end)
    if how == "hanging":
        own_redis.resume()
    else:
        own_redis.start()


def test_busy_rescue_is_told_to_the_caller(proxy, rescue, new_peer) -> None:
    rescue.reaction = refusing("600 Busy Everywhere")
    try:
        assert dial(proxy, new_peer("127.0.0.11"), "911").final().status == 600
    finally:
        rescue.reaction = None
