"""In-dialog requests go where the recorded dialog says; what claims a dialog and has none goes nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import EVIL, STRANGER
from tests.e2e.sip_text import SDP, Dialog, answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("dialogs"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", DESK, capacity_limit=20)],
    )
    return serve_module(config)


@pytest.fixture
def live(proxy, provider, new_peer):
    """A call that both sides talk in: (call, the caller's dialog, the far end). The test ends it."""

    def place() -> tuple[OutgoingCall, Dialog, IncomingCall]:
        call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
        far_end = incoming(provider, proxy.address, call)
        far_end.accept()
        dialog = call.answered()
        far_end.expect("ACK")
        return call, dialog, far_end

    return place


def test_bye_of_the_caller(proxy, live) -> None:
    call, dialog, far_end = live()
    assert proxy.usage("desk")["active_calls"] == 1

    bye = hang_up(call, dialog, far_end)

    assert bye.uri == f"sip:carrier@{far_end.peer.host_port}"
    assert not bye.all("route")
    proxy.wait_until_idle("desk")


def test_bye_of_the_far_end(proxy, provider, live) -> None:
    call, _, far_end = live()

    provider.send(far_end.dialog().request("BYE"), proxy.address)
    bye = call.peer.expect_request("BYE")
    assert bye.uri == f"sip:desk@{call.peer.host_port}"
    call.peer.send(answer(bye, "200 OK"), proxy.address)

    provider.expect_response(200, "BYE", call_id=call.call_id)
    proxy.wait_until_idle("desk")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "OPTIONS", "BYE"])
def test_forged_request_uri_goes_to_the_recorded_target(proxy, provider, live, new_peer, method: str) -> None:
    evil = new_peer(EVIL)
    call, dialog, far_end = live()

    forged = dialog.request(
        method,
        uri=f"sip:+19005550123@{evil.host_port}",
        extra=(("Contact", f"<sip:desk@{call.peer.host_port}>"),),
    )
    call.peer.send(forged, proxy.address)
    arrived = far_end.expect(method)

    assert arrived.uri == f"sip:carrier@{provider.host_port}"
    far_end.reply(arrived)
    assert call.peer.expect_final(method, call_id=call.call_id).status == 200
    if method == "INVITE":
        call.peer.send(dialog.request("ACK", cseq=dialog.cseq), proxy.address)
        far_end.expect("ACK")
    if method != "BYE":
        hang_up(call, dialog, far_end)
    assert not evil.received
    proxy.wait_until_idle("desk")


def test_forged_route_behind_ours_leads_nowhere_else(proxy, provider, live, new_peer) -> None:
    evil = new_peer(EVIL)
    call, dialog, far_end = live()

    routes = [*dialog.routes, f"<sip:{evil.host_port};lr>"]
    call.peer.send(dialog.request("BYE", routes=routes), proxy.address)
    bye = far_end.expect("BYE")
    far_end.reply(bye)

    call.peer.expect_response(200, "BYE", call_id=call.call_id)
    assert not bye.all("route")
    assert not evil.received
    proxy.wait_until_idle("desk")


def test_ack_with_a_forged_target_goes_to_the_recorded_one(proxy, provider, new_peer) -> None:
    evil = new_peer(EVIL)
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    dialog = call.dialog(call.final())

    call.peer.send(dialog.request("ACK", uri=f"sip:evil@{evil.host_port}"), proxy.address)

    assert far_end.expect("ACK").uri == f"sip:carrier@{provider.host_port}"
    hang_up(call, dialog, far_end)
    assert not evil.received


def test_invented_to_tag_is_no_dialog(proxy, provider, new_peer) -> None:
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON, to_tag="invented").send()

    assert call.final().start == "SIP/2.0 481 Call/Transaction Does Not Exist"
    assert provider.requests("INVITE", call.call_id) == []


@pytest.mark.parametrize("method", ["BYE", "INFO", "UPDATE"])
def test_invented_dialog_is_481(proxy, provider, new_peer, method: str) -> None:
    caller = new_peer(DESK)
    invented = Dialog("no-such-call", "<sip:a@a.example>;tag=1", "<sip:b@b.example>;tag=2",
                      f"sip:carrier@{provider.host_port}", [], caller.host_port)  # fmt: skip

    caller.send(invented.request(method), proxy.address)

    assert caller.expect_final(method).status == 481
    assert provider.requests(method, invented.call_id) == []


def test_record_route_with_a_broken_signature_is_no_dialog(proxy, provider, live) -> None:
    call, dialog, far_end = live()
    (route,) = dialog.routes
    middle = len(route) // 2

    for index in (middle, middle + 1):
        broken = route[:index] + ("A" if route[index] != "A" else "B") + route[index + 1 :]
        call.peer.send(dialog.request("BYE", routes=[broken], cseq=50 + index), proxy.address)
        assert call.peer.expect_final("BYE", call_id=call.call_id).status == 481

    assert proxy.usage("desk")["active_calls"] == 1
    assert provider.requests("BYE", call.call_id) == []
    hang_up(call, Dialog(**{**vars(dialog), "cseq": 200}), far_end)
    proxy.wait_until_idle("desk")


@pytest.mark.parametrize("side", ["local", "remote"])
def test_bye_with_a_wrong_tag_releases_nothing(proxy, provider, live, side: str) -> None:
    call, dialog, far_end = live()
    wrong = {side: getattr(dialog, side).partition(";tag=")[0] + ";tag=wrong"}

    call.peer.send(dialog.request("BYE", **wrong), proxy.address)

    assert call.peer.expect_final("BYE", call_id=call.call_id).status == 481
    assert proxy.usage("desk")["active_calls"] == 1
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")


def test_bye_from_outside_the_trunks_networks_releases_nothing(proxy, live, new_peer) -> None:
    call, dialog, far_end = live()
    stranger = new_peer(STRANGER)

    stranger.send(dialog.request("BYE"), proxy.address)

    assert stranger.expect_final("BYE").status in (403, 481)
    assert proxy.usage("desk")["active_calls"] == 1
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")


def test_bye_that_the_far_end_refuses_frees_nothing(proxy, live) -> None:
    call, dialog, far_end = live()

    call.peer.send(dialog.request("BYE"), proxy.address)
    far_end.reply(far_end.expect("BYE"), "500 Server Internal Error")

    assert call.peer.expect_final("BYE", call_id=call.call_id).status == 500
    assert proxy.usage("desk")["active_calls"] == 1
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")


def test_reinvite_is_not_judged_again(proxy, live) -> None:
    """A renegotiation is part of the call that was admitted: one lease, one decision."""
    call, dialog, far_end = live()

    def decided() -> int:
        seen = [one["call_id"] for one in proxy.get("/v1/decisions?limit=100")["decisions"]]
        return len(seen) if call.call_id in seen else 0

    decisions = eventually(decided, what="the record of the decision")

    contact = (("Contact", f"<sip:desk@{call.peer.host_port}>"),)
    call.peer.send(dialog.request("INVITE", extra=contact, body=SDP), proxy.address)
    far_end.reply(far_end.expect("INVITE"))
    call.peer.expect_response(200, "INVITE", call_id=call.call_id)
    call.peer.send(dialog.request("ACK", cseq=dialog.cseq), proxy.address)
    far_end.expect("ACK")

    assert proxy.usage("desk")["active_calls"] == 1
    assert decided() == decisions
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")


def test_repeated_bye_is_answered_again_and_counts_once(proxy, live) -> None:
    call, dialog, far_end = live()
    bye = dialog.request("BYE")

    call.peer.send(bye, proxy.address)
    far_end.reply(far_end.expect("BYE"))
    first = call.peer.expect_response(200, "BYE", call_id=call.call_id)
    call.peer.send(bye, proxy.address)
    second = call.peer.expect_response(200, "BYE", call_id=call.call_id)

    assert first.raw == second.raw
    proxy.wait_until_idle("desk")
    assert proxy.usage("desk")["active_calls"] == 0


def test_repeated_200_is_forwarded_each_time(proxy, provider, new_peer) -> None:
    """RFC 6026: the Accepted state passes every 2xx."""
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)

    for _ in range(3):
        far_end.accept()
    responses = [call.final() for _ in range(3)]

    assert [response.status for response in responses] == [200, 200, 200]
    dialog = call.dialog(responses[0])
    call.peer.send(dialog.request("ACK"), proxy.address)
    far_end.expect("ACK")
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")


def test_answer_that_crosses_the_cancel_is_a_call(proxy, provider, new_peer) -> None:
    """The provider's 200 wins: the caller gets it, acknowledges it and hangs up."""
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.respond("180 Ringing")
    call.provisional(180)

    call.cancel()
    call.peer.expect_response(200, "CANCEL", call_id=call.call_id)
    cancel = far_end.expect("CANCEL")
    far_end.accept()
    far_end.reply(cancel)
    dialog = call.answered()
    far_end.expect("ACK")

    assert proxy.usage("desk")["active_calls"] == 1
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")
