"""The panic button: `trunkwarden hangup` and its HTTP twin end live calls, with BYE to both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.sip_text import Message, answer
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall, incoming
from tests.e2e.waiting import eventually

DESK, SHOP = "127.0.0.10", "127.0.0.11"
ACCEPTED = 202

End = Callable[[Trunkwarden, str, str], None]


def by_command_trunk(proxy: Trunkwarden, trunk_name: str, ref: str) -> None:
    done = command("hangup", "-c", str(proxy.file), "--trunk", trunk_name)
    assert done.returncode == 0, done.stderr


def by_command_call(proxy: Trunkwarden, trunk_name: str, ref: str) -> None:
    done = command("hangup", "-c", str(proxy.file), "--call", ref)
    assert done.returncode == 0, done.stderr


def by_http_trunk(proxy: Trunkwarden, trunk_name: str, ref: str) -> None:
    assert proxy.http.delete("/v1/calls", params={"trunk": trunk_name}).status_code == ACCEPTED


def by_http_call(proxy: Trunkwarden, trunk_name: str, ref: str) -> None:
    assert proxy.http.delete(f"/v1/calls/{ref}").status_code == ACCEPTED


WAYS = [by_command_trunk, by_command_call, by_http_trunk, by_http_call]
every_way = pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__.removeprefix("by_"))


@pytest.fixture(scope="module")
def carrier_port() -> int:
    return free_udp_port(PROVIDER)


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, carrier_port, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("hangup"),
        redis_server.url,
        [provider_entry("carrier", provider.address), provider_entry("sipp", (PROVIDER, carrier_port))],
        [trunk("desk", DESK), trunk("shop", SHOP), trunk("sipp", "127.0.0.12", provider="sipp")],
    )
    return serve_module(config)


@pytest.fixture
def live(proxy, provider, new_peer):
    """A live call from this source: (caller, its ref, its Call-ID)."""

    def place(source: str) -> tuple[Peer, str, str]:
        known = {call["ref"] for call in proxy.calls()}
        caller = new_peer(source)
        call = OutgoingCall(caller, proxy.address, WASHINGTON).send()
        far_end = incoming(provider, proxy.address, call)
        far_end.accept()
        call.answered()
        (new,) = {one["ref"] for one in proxy.calls()} - known
        return caller, new, call.call_id

    return place


def take_bye(proxy: Trunkwarden, peer: Peer, call_id: str) -> Message:
    bye = peer.expect_request("BYE", call_id=call_id)
    peer.send(answer(bye, "200 OK"), proxy.address)
    return bye


@every_way
def test_both_sides_get_a_bye(proxy, provider, live, end: End) -> None:
    caller, ref, call_id = live(DESK)

    end(proxy, "desk", ref)

    near, far = take_bye(proxy, caller, call_id), take_bye(proxy, provider, call_id)
    assert near.uri == f"sip:desk@{caller.host_port}"
    assert far.uri == f"sip:carrier@{provider.host_port}"
    for bye in (near, far):
        assert bye.one("reason").startswith(("Q.850;", "SIP;"))
        assert int(bye.one("cseq").split()[0]) > 0
    assert near.tag("to") == far.tag("from")
    assert near.tag("from") == far.tag("to")
    proxy.wait_until_idle("desk")


@pytest.mark.parametrize("end", [by_command_trunk, by_http_trunk], ids=["command", "http"])
def test_other_trunks_go_on(proxy, provider, live, end: End) -> None:
    caller, ref, call_id = live(DESK)
    bystander, other_ref, other_id = live(SHOP)

    end(proxy, "desk", ref)
    take_bye(proxy, caller, call_id)
    take_bye(proxy, provider, call_id)
    proxy.wait_until_idle("desk")

    assert [call["ref"] for call in proxy.calls()] == [other_ref]
    assert bystander.count("BYE") == 0
    end(proxy, "shop", other_ref)
    take_bye(proxy, bystander, other_id)
    take_bye(proxy, provider, other_id)
    proxy.wait_until_idle("shop")


def test_place_is_free_only_when_the_far_end_is_gone(proxy, provider, live) -> None:
    """A BYE that was sent frees nothing; its answer does."""
    caller, ref, call_id = live(DESK)

    by_http_call(proxy, "desk", ref)
    take_bye(proxy, caller, call_id)
    bye = provider.expect_request("BYE", call_id=call_id)
    assert proxy.usage("desk")["active_calls"] == 1

    provider.send(answer(bye, "200 OK"), proxy.address)
    proxy.wait_until_idle("desk")


def test_unknown_call_is_404(proxy) -> None:
    assert proxy.http.delete("/v1/calls/no-such-call").status_code == 404


def test_sipp_calls_end_too(proxy, sipp, carrier_port) -> None:
    calls = 4
    far_end = sipp("uas_answering", (PROVIDER, carrier_port), calls=calls)
    near_end = sipp(
        "uac_hung_up_on", ("127.0.0.12", free_udp_port("127.0.0.12")), target=proxy.address,
        called=WASHINGTON, calls=calls, rate=20,
    )  # fmt: skip
    eventually(
        lambda: (
            len([call for call in proxy.calls() if call["trunk"] == "sipp" and call["answered_at"]]) == calls
        ),
        what="the calls",
    )

    by_command_trunk(proxy, "sipp", "")

    near_end.wait().assert_all_succeeded(calls)
    far_end.wait().assert_all_succeeded(calls)
    proxy.wait_until_idle("sipp")
