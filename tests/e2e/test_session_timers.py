"""Session timers on the wire: what each side is asked and told. Their end takes minutes: see tests/call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming

DESK = "127.0.0.10"
TIMER = ("Supported", "timer")


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    return serve_module(
        configuration(
            tmp_path_factory.mktemp("session-timers"),
            redis_server.url,
            [provider_entry("carrier", provider.address)],
            [trunk("desk", DESK)],
            timers={"session_expires_seconds": 600},
        )
    )


def test_interval_is_lowered_and_the_caller_keeps_it(proxy, provider, new_peer) -> None:
    extra = (TIMER, ("Session-Expires", "7200"), ("Min-SE", "90"))
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON, extra=extra).send()
    far_end = incoming(provider, proxy.address, call)
    assert far_end.invite.all("session-expires") == ["600"]
    assert far_end.invite.all("min-se") == ["90"]
    far_end.accept()  # of session timers it knows nothing
    dialog = call.answered()
    ok = next(one.message for one in call.peer.received if one.message.status == 200)
    assert ok.all("session-expires") == ["600;refresher=uac"]
    assert ok.all("require") == ["timer"]
    far_end.expect("ACK")

    call.peer.send(dialog.request("UPDATE", extra=(TIMER, ("Session-Expires", "900"))), proxy.address)
    assert provider.expect_request("UPDATE", call_id=call.call_id).one("session-expires") == "600"
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")


def test_too_small_an_interval_is_422(proxy, provider, new_peer) -> None:
    extra = (TIMER, ("Session-Expires", "30"))
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON, extra=extra).send()
    refused = call.final()
    assert (refused.status, refused.one("min-se")) == (422, "90")
    assert not provider.requests("INVITE", call.call_id)
    proxy.wait_until_idle("desk")


def test_call_without_timers_is_left_as_it_is(proxy, provider, new_peer) -> None:
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    assert not far_end.invite.all("session-expires")
    far_end.accept()
    dialog = call.answered()
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("desk")
