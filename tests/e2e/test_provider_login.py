"""Providers that want credentials, on the wire."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.digest_caller import answer
from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.peer import QUIET_SECONDS
from tests.e2e.sip_text import Message
from tests.e2e.sip_text import answer as sip_answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
PASSWORD = "canary secret"


@pytest.fixture
def proxy(serve, own_redis, provider, tmp_path) -> Trunkwarden:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    carrier: dict[str, Any] = {
        "name": "carrier", "hostname": provider.host_port, "username": "us", "password_file": str(secret),
        "realm": "carrier.example", "register_seconds": 120,
    }  # fmt: skip
    return serve(configuration(tmp_path / "c", own_redis.url, [carrier], [trunk("desk", DESK)]))


def challenged(request: Message, nonce: str) -> bytes:
    value = f'Digest realm="carrier.example", nonce="{nonce}", algorithm=SHA-256, qop="auth"'
    return sip_answer(request, "407 Proxy Authentication Required", extra=(("Proxy-Authenticate", value),))


def is_right(request: Message, nonce: str) -> bool:
    value = request.one("proxy-authorization")
    cnonce = re.findall(r'cnonce="([^"]+)"', value)[0]
    method, uri, _ = request.start.split(" ")
    asked = {"realm": "carrier.example", "nonce": nonce, "algorithm": "SHA-256"}
    wanted = answer(asked, "us", PASSWORD, method, uri, cnonce=cnonce)
    return re.findall(r'response="\w+"', value) == re.findall(r'response="\w+"', wanted)


def numbered(provider, cseq: str) -> Message:
    """The request with this CSeq; copies of earlier ones are passed over."""
    return provider.expect(lambda message: message.all("cseq") == [cseq], cseq).message


def test_register_and_call(proxy: Trunkwarden, provider, new_peer) -> None:
    register = provider.expect_request("REGISTER")
    assert register.one("contact") == f"<sip:us@{proxy.address[0]}:{proxy.address[1]}>"
    assert proxy.metric("trunkwarden_provider_registered", provider="carrier") == 0
    provider.send(challenged(register, "r1"), proxy.address)
    register = numbered(provider, "2 REGISTER")
    assert is_right(register, "r1")
    provider.send(sip_answer(register, "200 OK", extra=(("Expires", "90"),)), proxy.address)
    eventually(
        lambda: proxy.metric("trunkwarden_provider_registered", provider="carrier") == 1,
        what="the registration",
    )
    left = proxy.metric("trunkwarden_provider_registration_expires_seconds", provider="carrier")
    assert 60 < left <= 90

    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    first = incoming(provider, proxy.address, call).invite
    provider.send(challenged(first, "n1"), proxy.address)
    provider.expect_request("ACK", call_id=call.call_id)
    second = numbered(provider, "2 INVITE")
    assert is_right(second, "n1")
    assert (first.one("cseq"), second.one("cseq")) == ("1 INVITE", "2 INVITE")
    far_end = IncomingCall(provider, proxy.address, second)
    far_end.accept()
    dialog = call.answered()
    assert provider.expect_request("ACK", call_id=call.call_id).one("cseq") == "2 ACK"
    assert proxy.usage("desk")["active_calls"] == 1
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle()
    assert PASSWORD not in proxy.stderr() + proxy.stdout()
    assert PASSWORD not in proxy.http.get("/metrics").text


def test_who_is_called_gets_no_credentials_for_a_realm_of_its_own(
    proxy: Trunkwarden, provider, new_peer
) -> None:
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    invite = incoming(provider, proxy.address, call).invite
    value = 'Digest realm="evil.example", nonce="n", algorithm=SHA-256, qop="auth"'
    status, extra = "407 Proxy Authentication Required", (("Proxy-Authenticate", value),)
    provider.send(sip_answer(invite, status, tag="t", extra=extra), proxy.address)

    assert call.final().one("proxy-authenticate") == value
    assert len(provider.transactions("INVITE", call.call_id)) == 1


@pytest.mark.parametrize("ours", [True, False], ids=["our BYE", "the provider's BYE"])
def test_a_caller_that_challenges_a_bye_gets_no_credentials(
    proxy: Trunkwarden, provider, new_peer, ours: bool
) -> None:
    """Whoever may call could ask for an answer to a nonce of its choosing, and guess the password at leisure:
    what sippts calls a digest leak."""
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    call.answered()
    far_end.expect("ACK")
    if ours:
        proxy.http.request("DELETE", "/v1/calls", params={"trunk": "desk"})
        far_end.reply(far_end.expect("BYE"))
    else:
        provider.send(far_end.dialog().request("BYE"), proxy.address)
    bye = call.peer.expect_request("BYE", call_id=call.call_id)
    call.peer.send(challenged(bye, "leak"), proxy.address)
    if not ours:
        # It is between the two ends; the provider has no password of the caller's either.
        provider.expect_response(407, "BYE", call_id=call.call_id)
    time.sleep(QUIET_SECONDS)  # an answer to the challenge would come at once
    assert {one.raw for one in call.peer.requests("BYE", call.call_id)} == {bye.raw}
    assert (
        len(provider.transactions("BYE", call.call_id)) == ours
    )  # nor is the provider shown an answer to it
    assert not any(one.message.all("proxy-authorization") for one in call.peer.received)
    assert not any(one.message.all("authorization") for one in call.peer.received)
