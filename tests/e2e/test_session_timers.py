"""Session timers on the wire: what each side is asked and told. Their end takes minutes: `make soak` waits
for it, and tests/call has all of its cases."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.sip_text import answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import Dialog, IncomingCall, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

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


INTERVAL = 90
"""Seconds, the least there is (RFC 4028 §4)."""
GRACE = 6.4
"""Seconds that the proxy waits longer: 64 × T1, of 100 ms here."""
REFRESHED = (TIMER, ("Session-Expires", f"{INTERVAL};refresher=uac"))


def timed_call(proxy: Trunkwarden, provider, peer) -> tuple[OutgoingCall, Dialog, IncomingCall]:
    """A call that is up, whose caller has promised to refresh it."""
    call = OutgoingCall(peer, proxy.address, WASHINGTON, extra=REFRESHED).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    return call, call.answered(), far_end


@pytest.mark.skipif("TRUNKWARDEN_WAIT_FOR_SESSIONS" not in os.environ, reason="takes two minutes: make soak")
@pytest.mark.timeout(300)
def test_call_whose_refresh_stays_away_is_ended(proxy, provider, new_peer) -> None:
    forgotten, _, forgotten_far_end = timed_call(proxy, provider, new_peer(DESK))
    since = time.monotonic()
    kept, kept_dialog, kept_far_end = timed_call(proxy, provider, new_peer(DESK))
    time.sleep(INTERVAL / 2)
    kept.peer.send(kept_dialog.request("UPDATE", extra=REFRESHED), proxy.address)
    kept_far_end.reply(kept_far_end.expect("UPDATE"))

    bye = forgotten_far_end.expect("BYE", limit=2 * INTERVAL)
    assert INTERVAL + GRACE - 1 < time.monotonic() - since < INTERVAL + GRACE + 10
    assert bye.one("reason") == 'Q.850;cause=102;text="Session Timer Expired"'
    forgotten_far_end.reply(bye)
    bye = forgotten.peer.expect_request("BYE", call_id=forgotten.call_id)
    forgotten.peer.send(answer(bye, "200 OK"), proxy.address)
    eventually(lambda: len(proxy.calls()) == 1, what="the end of the forgotten call's lease")
    assert not provider.requests("BYE", kept.call_id)
    hang_up(kept, kept_dialog, kept_far_end)
    proxy.wait_until_idle("desk")
