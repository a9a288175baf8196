"""A telephone of our own that speaks TLS, on Python's ssl module."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.certificates import Certificates
from tests.e2e.configuration import PARIS, WASHINGTON, configuration, provider, trunk
from tests.e2e.sip_text import SDP, answer
from tests.e2e.stream_peer import StreamPeer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up

DESK = "127.0.0.10"
carrier_entry = provider


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, certificates, tmp_path_factory) -> Trunkwarden:
    tls = {"certificate_file": str(certificates.certificate), "key_file": str(certificates.key)}
    return serve_module(
        configuration(
            tmp_path_factory.mktemp("tls"),
            redis_server.url,
            [carrier_entry("carrier", provider.address)],
            [trunk("tls-desk", DESK, capacity_limit=5)],
            listen=["udp:127.0.0.1:0", {"bind": "tls:127.0.0.1:0", **tls}],
        )
    )


@pytest.fixture
def desk(proxy: Trunkwarden, certificates: Certificates) -> Iterator[StreamPeer]:
    context = ssl.create_default_context(cafile=str(certificates.authority))
    made = StreamPeer(DESK, proxy.sockets["tls"], tls=context, name="127.0.0.1")
    yield made
    made.close()


def place(proxy: Trunkwarden, desk: StreamPeer, provider):
    call = OutgoingCall(desk, proxy.sockets["tls"], WASHINGTON).send()
    invite = provider.expect_request("INVITE", call_id=call.call_id)
    far_end = IncomingCall(provider, proxy.sockets["udp"], invite)
    far_end.accept()
    dialog = call.answered()
    far_end.expect("ACK")
    return call, dialog, far_end


def test_call_with_a_renegotiation(proxy: Trunkwarden, desk: StreamPeer, provider) -> None:
    call, dialog, far_end = place(proxy, desk, provider)
    # One Record-Route towards each side (RFC 5658).
    assert [";transport=tls;" in route for route in far_end.invite.record_routes()] == [False, True]

    own = (("Contact", f"<sip:desk@{desk.host_port};transport=tls>"),)
    desk.send(dialog.request("INVITE", body=SDP, extra=own), proxy.sockets["tls"])
    again = far_end.expect("INVITE")
    far_end.reply(again)
    desk.expect_response(200, "INVITE", call_id=call.call_id)
    desk.send(dialog.request("ACK", cseq=dialog.cseq), proxy.sockets["tls"])
    far_end.expect("ACK")

    hang_up(call, dialog, far_end)
    proxy.wait_until_idle()


def test_bye_of_the_far_end_comes_back_on_the_connection(
    proxy: Trunkwarden, desk: StreamPeer, provider
) -> None:
    call, _, far_end = place(proxy, desk, provider)

    provider.send(far_end.dialog().request("BYE"), far_end.proxy)
    bye = desk.expect_request("BYE", call_id=call.call_id)
    assert bye.all("via")[0].startswith("SIP/2.0/TLS ")
    desk.send(answer(bye, "200 OK"), proxy.sockets["tls"])

    provider.expect_response(200, "BYE", call_id=call.call_id)
    proxy.wait_until_idle()


def test_we_hang_up(proxy: Trunkwarden, desk: StreamPeer, provider) -> None:
    call, _, far_end = place(proxy, desk, provider)

    proxy.http.request("DELETE", "/v1/calls", params={"trunk": "tls-desk"})

    for peer, target in ((desk, proxy.sockets["tls"]), (provider, far_end.proxy)):
        bye = peer.expect_request("BYE", call_id=call.call_id)
        assert bye.one("reason")
        peer.send(answer(bye, "200 OK"), target)
    proxy.wait_until_idle()


def test_cancel(proxy: Trunkwarden, desk: StreamPeer, provider) -> None:
    call = OutgoingCall(desk, proxy.sockets["tls"], WASHINGTON).send()
    invite = provider.expect_request("INVITE", call_id=call.call_id)
    far_end = IncomingCall(provider, proxy.sockets["udp"], invite)
    far_end.respond("180 Ringing")
    call.provisional(180)

    call.cancel()

    far_end.reply(far_end.expect("CANCEL"))
    far_end.respond("487 Request Terminated")
    assert call.final().status == 487
    proxy.wait_until_idle()


def test_refusal(proxy: Trunkwarden, desk: StreamPeer) -> None:
    refusal = OutgoingCall(desk, proxy.sockets["tls"], PARIS).send().final()

    assert refusal.start == "SIP/2.0 403 Destination Country Not Whitelisted"
    assert refusal.one("reason") == 'Q.850;cause=21;text="Destination Country Not Whitelisted"'


def test_connection_lost_in_mid_call_and_opened_again(
    proxy: Trunkwarden, desk: StreamPeer, certificates: Certificates, provider
) -> None:
    """What the desk sends in the dialog on its new connection moves it there."""
    call, dialog, far_end = place(proxy, desk, provider)
    desk.close()
    context = ssl.create_default_context(cafile=str(certificates.authority))
    again = StreamPeer(DESK, proxy.sockets["tls"], tls=context, name="127.0.0.1")
    again.send(dialog.request("OPTIONS"), proxy.sockets["tls"])
    far_end.reply(far_end.expect("OPTIONS"))
    again.expect_response(200, "OPTIONS", call_id=call.call_id)

    provider.send(far_end.dialog().request("BYE"), far_end.proxy)
    bye = again.expect_request("BYE", call_id=call.call_id)
    again.send(answer(bye, "200 OK"), proxy.sockets["tls"])

    provider.expect_response(200, "BYE", call_id=call.call_id)
    again.close()
    proxy.wait_until_idle()


def test_who_does_not_know_the_authority_does_not_call(proxy: Trunkwarden) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        StreamPeer(DESK, proxy.sockets["tls"], tls=ssl.create_default_context(), name="127.0.0.1")


def test_plain_text_on_the_tls_port_is_closed(proxy: Trunkwarden) -> None:
    plain = StreamPeer(DESK, proxy.sockets["tls"])

    OutgoingCall(plain, proxy.sockets["tls"], WASHINGTON).send()

    plain.wait_end()
    assert not [one for one in plain.received if one.message.start.startswith("SIP/2.0")]
    plain.close()
