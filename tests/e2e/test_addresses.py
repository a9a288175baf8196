"""IPv6, both families in one call, and several addresses of one machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import host_port, text
from tests.e2e.stream_peer import StreamListener, StreamPeer
from tests.e2e.test_tls import client, server
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming

pytestmark = pytest.mark.long

WAIT = 10.0
HOME4, HOME6 = "127.0.0.10", "::1"
PATIENT = {"provider_response_seconds": 5, "no_answer_seconds": 30}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no ::1")


def listening(transport: str, host: str, files: dict[str, str]) -> str | dict[str, str]:
    bind = f"{transport}:[{host}]:0" if ":" in host else f"{transport}:{host}:0"
    return {"bind": bind, **files} if transport == "tls" else bind


def record_route(transport: str, address: tuple[str, int]) -> str:
    parameter = "" if transport == "udp" else f";transport={transport}"
    return f"<sip:{host_port(address)}{parameter};lr;tw="


@needs_ipv6
@pytest.mark.parametrize(
    ("near", "far"),
    [
        (("udp", "::1"), ("udp", "::1")),
        (("udp", "127.0.0.1"), ("udp", "::1")),
        (("udp", "::1"), ("udp", "127.0.0.1")),
        (("tcp", "::1"), ("udp", "127.0.0.1")),
        (("tls", "::1"), ("tcp", "::1")),
        (("udp", "127.0.0.1"), ("tls", "::1")),
    ],
    ids=lambda side: f"{side[0]}{6 if ':' in side[1] else 4}",
)
def test_calls_between_families_and_transports(
    serve, redis_server, tmp_path: Path, near: tuple[str, str], far: tuple[str, str]
) -> None:
    """One Record-Route a listener (RFC 5658), the near one below; hung up once from either side."""
    authority = Authority(tmp_path / "pem")
    files = authority.issue("proxy", "IP:::1", "IP:127.0.0.1")
    home, abroad = (HOME6 if ":" in near[1] else HOME4), (HOME6 if ":" in far[1] else PROVIDER)
    there: Peer | StreamListener
    if far[0] == "udp":
        there = Peer(abroad)
    else:
        context = server(authority.issue("carrier", f"IP:{abroad}")) if far[0] == "tls" else None
        there = StreamListener(abroad, tls=context)
    fields = {"transport": far[0], **({"ca_file": str(authority.file)} if far[0] == "tls" else {})}
    carrier_entry = provider_entry("carrier", there.address, **fields)
    carrier_entry["hostname"] = host_port(there.address)
    sides = [near] if near == far else [near, far]
    proxy = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [carrier_entry],
            [trunk("desk", home)],
            listen=[listening(*side, files) for side in sides],
            timers=PATIENT,
        )
    )
    near_address, far_address = proxy.listeners[0][1], proxy.listeners[-1][1]
    desk = (
        Peer(home)
        if near[0] == "udp"
        else StreamPeer(home, near_address, tls=client(authority) if near[0] == "tls" else None, name="::1")
    )
    routes = [record_route(far[0], far_address), record_route(near[0], near_address)][: len(sides)]
    for who in ("caller", "callee"):
        placed = OutgoingCall(desk, near_address, WASHINGTON).send()
        carrier = there if isinstance(there, Peer) else there.peer(limit=WAIT)
        far_end = incoming(carrier, far_address, placed, WAIT)
        found = far_end.invite.record_routes()
        assert [value[: len(start)] for value, start in zip(found, routes, strict=True)] == routes
        assert far_end.invite.all("via")[0].startswith(f"SIP/2.0/{far[0].upper()} {host_port(far_address)};")
        far_end.accept()
        dialog = placed.answered(WAIT)
        assert not far_end.expect("ACK", WAIT).all("route")
        if who == "caller":
            assert not hang_up(placed, dialog, far_end).all("route")
        else:
            carrier.send(far_end.dialog().request("BYE"), far_address)
            bye = desk.expect_request("BYE", WAIT, placed.call_id)
            assert not bye.all("route")
            desk.send(text_answer(bye), near_address)
            carrier.expect_response(200, "BYE", WAIT, placed.call_id)
    proxy.wait_until_idle()
    desk.close()
    there.close()


def text_answer(request) -> bytes:
    names = ("via", "from", "to", "call-id", "cseq")
    return text("SIP/2.0 200 OK", [(name, value) for name in names for value in request.all(name)])


@needs_ipv6
@pytest.mark.parametrize(
    "received", [None, "2001:db8::9:1", "[2001:db8::9:1]"], ids=["none", "bare", "in-brackets"]
)
def test_what_a_sender_says_of_its_ipv6_source_is_replaced(
    serve, redis_server, new_peer, tmp_path: Path, received: str | None
) -> None:
    """RFC 5118 §4.5: either form is read, and neither is believed."""
    carrier, desk = new_peer(PROVIDER), new_peer("::1")
    proxy = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", carrier.address)],
            [trunk("desk", "0:0:0:0:0:0:0:1/128")],
            listen=["udp:[::1]:0", "udp:127.0.0.1:0"],
            timers=PATIENT,
        )
    )
    placed = OutgoingCall(desk, proxy.listeners[0][1], WASHINGTON)
    data = placed.invite()
    if received is not None:
        data = data.replace(b";rport;", f";received={received};rport;".encode(), 1)
    desk.send(data, proxy.listeners[0][1])
    far_end = incoming(carrier, proxy.listeners[1][1], placed, WAIT)
    via = far_end.invite.all("via")[1]
    assert "2001:db8" not in via
    assert "received=::1" in via
    assert f"rport={desk.address[1]}" in via
    far_end.respond("486 Busy Here")
    assert placed.final(WAIT).status == 486
    proxy.wait_until_idle()


@pytest.fixture
def two_homes(serve, redis_server, new_peer, tmp_path: Path) -> tuple[Trunkwarden, Peer]:
    carrier = new_peer(PROVIDER)
    proxy = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", carrier.address)],
            [trunk("desk", HOME4)],
            listen=["udp:127.0.0.1:0", "udp:127.0.0.2:0", "tcp:127.0.0.1:0", "tcp:127.0.0.2:0"],
            timers=PATIENT,
        )
    )
    return proxy, carrier


@pytest.mark.parametrize("home", [0, 1])
def test_each_listener_answers_and_calls_back_from_its_own_address(two_homes, new_peer, home: int) -> None:
    proxy, carrier = two_homes
    near = proxy.listeners[home][1]
    out = proxy.listeners[0][1]  # calls leave by the first listener of the provider's kind
    desk = new_peer(HOME4)
    placed = OutgoingCall(desk, near, WASHINGTON).send()
    far_end = incoming(carrier, out, placed, WAIT)
    assert far_end.invite.all("via")[0].startswith(f"SIP/2.0/UDP {host_port(out)};")
    routes = [record_route("udp", address) for address in ([out] if near == out else [out, near])]
    found = far_end.invite.record_routes()
    assert [value[: len(start)] for value, start in zip(found, routes, strict=True)] == routes
    far_end.accept()
    dialog = placed.answered(WAIT)
    far_end.expect("ACK", WAIT)
    carrier.send(far_end.dialog().request("INFO"), out)
    info = desk.expect_request("INFO", WAIT, placed.call_id)
    desk.send(text_answer(info), near)
    carrier.expect_response(200, "INFO", WAIT, placed.call_id)
    hang_up(placed, dialog, far_end)
    assert {datagram.source for datagram in desk.received} == {near}
    assert {datagram.source for datagram in carrier.received} == {out}
    assert info.all("via")[0].startswith(f"SIP/2.0/UDP {host_port(near)};")
    proxy.wait_until_idle()


def test_a_stream_to_the_second_address_is_served_by_it(two_homes) -> None:
    proxy, carrier = two_homes
    near = proxy.listeners[3][1]
    desk = StreamPeer(HOME4, near)
    placed = OutgoingCall(desk, near, WASHINGTON).send()
    far_end = incoming(carrier, proxy.listeners[0][1], placed, WAIT)
    assert far_end.invite.record_routes()[1].startswith(record_route("tcp", near))
    far_end.accept()
    hang_up(placed, placed.answered(WAIT), far_end)
    desk.close()
    proxy.wait_until_idle()
