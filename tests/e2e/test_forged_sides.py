"""A caller that forges the provider's address to free its call, and the reverse: judged on the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.sip_text import Dialog
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming

DESK = "127.0.0.10"


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("sides"),
        redis_server.url,
        [provider_entry("carrier", provider.address, networks=["127.0.0.0/8"])],
        [trunk("desk", DESK, capacity_limit=1)],
    )
    return serve_module(config)


def other_side(dialog: Dialog, target: str) -> Dialog:
    """The dialog as the other side has it, made of what this side knows."""
    return Dialog(
        dialog.call_id, dialog.remote, dialog.local, target, dialog.routes, dialog.own_address, cseq=500
    )


@pytest.mark.parametrize("method", ["BYE", "UPDATE"])
def test_neither_side_can_speak_for_the_other(proxy, provider, new_peer, method: str) -> None:
    """With the right source address, tags, Call-ID and CSeq, and the Record-Route that the forger was
    shown."""
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    dialog = call.answered()
    far_end.expect("ACK")
    assert dialog.routes != far_end.dialog().routes
    contact = (("Contact", "<sip:x@127.0.0.200>"),)

    as_callee = other_side(dialog, f"sip:desk@{call.peer.host_port}")
    as_callee.own_address = provider.host_port
    provider.send(as_callee.request(method, extra=contact), proxy.address)
    assert provider.expect_final(method, call_id=call.call_id).status == 481

    as_caller = other_side(far_end.dialog(), f"sip:carrier@{provider.host_port}")
    as_caller.own_address = call.peer.host_port
    call.peer.send(as_caller.request(method, extra=contact), proxy.address)
    assert call.peer.expect_final(method, call_id=call.call_id).status == 481

    assert not provider.requests(method, call.call_id)
    assert not call.peer.requests(method, call.call_id)
    assert proxy.usage("desk")["active_calls"] == 1
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")
