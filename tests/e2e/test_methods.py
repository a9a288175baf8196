"""What is not a call: OPTIONS, other methods, and bytes that are no SIP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.sip_text import fresh, text
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("methods"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", DESK)],
    )
    return serve_module(config)


def request(peer: Peer, method: str, uri: str, **replaced: str | None) -> bytes:
    """A request outside a dialog; `replaced` sets a header, or leaves it out (None)."""
    headers: dict[str, str | None] = {
        "Via": f"SIP/2.0/UDP {peer.host_port};rport;branch={fresh('z9hG4bK-e2e-')}",
        "Max-Forwards": "70",
        "From": f"<sip:desk@{peer.host_port}>;tag=1",
        "To": f"<{uri}>",
        "Call-ID": fresh("call"),
        "CSeq": f"1 {method}",
    }
    headers.update({name.replace("_", "-"): value for name, value in replaced.items()})
    return text(
        f"{method} {uri} SIP/2.0", [(name, value) for name, value in headers.items() if value is not None]
    )


def called(provider: Peer) -> set[str]:
    """The Call-IDs of the INVITEs that it got."""
    messages = [datagram.message for datagram in list(provider.received)]
    return {message.one("call-id") for message in messages if message.method == "INVITE"}


def assert_alive(proxy: Trunkwarden, provider: Peer, caller: Peer) -> str:
    """The next call passes; its Call-ID."""
    call = OutgoingCall(caller, proxy.address, WASHINGTON).send()
    incoming(provider, proxy.address, call).respond("486 Busy Here")
    assert call.final().status == 486
    assert proxy.process.poll() is None
    return call.call_id


def test_options_to_the_proxy_is_200(proxy, provider, new_peer) -> None:
    caller = new_peer(DESK)

    caller.send(request(caller, "OPTIONS", f"sip:{proxy.address[0]}:{proxy.address[1]}"), proxy.address)

    response = caller.expect_final("OPTIONS")
    assert response.start == "SIP/2.0 200 OK"
    assert response.tag("to")
    assert provider.count("OPTIONS") == 0


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "REGISTER", "PUBLISH", "NOTIFY", "FROBNICATE"])
def test_other_methods_are_405(proxy, provider, new_peer, method: str) -> None:
    caller = new_peer(DESK)

    caller.send(request(caller, method, f"sip:+19005550123@{proxy.address[0]}"), proxy.address)

    response = caller.expect_final(method)
    assert response.start == "SIP/2.0 405 Method Not Allowed"
    assert "INVITE" in response.one("allow")
    assert provider.count(method) == 0


@pytest.mark.parametrize(
    ("status", "uri", "replaced"),
    [
        (483, f"sip:{WASHINGTON}@127.0.0.1", {"Max_Forwards": "0"}),
        (400, f"sip:{WASHINGTON}@127.0.0.1", {"Max_Forwards": "300"}),
        (400, f"sip:{WASHINGTON}@127.0.0.1", {"CSeq": "1 ACK"}),
        (400, f"sip:{WASHINGTON}@127.0.0.1", {"CSeq": "4294967296 INVITE"}),
        (400, f"sip:{WASHINGTON}@127.0.0.1", {"From": None}),
        (400, f"sip:{WASHINGTON}@127.0.0.1", {"Call_ID": None}),
        (400, f"<sip:{WASHINGTON}@127.0.0.1>", {"To": f"<sip:{WASHINGTON}@127.0.0.1>"}),
        (416, "nobody-knows:that", {"To": f"<sip:{WASHINGTON}@127.0.0.1>"}),
        (420, f"sip:{WASHINGTON}@127.0.0.1", {"Proxy_Require": "teleportation"}),
    ],
)
def test_request_that_cannot_be_served(proxy, provider, new_peer, status: int, uri: str, replaced) -> None:
    caller = new_peer(DESK)
    before = called(provider)

    caller.send(request(caller, "INVITE", uri, **replaced), proxy.address)

    response = caller.expect(lambda message: message.status >= 200, "final response").message
    assert response.status == status, str(response)
    if status == 420:
        assert response.one("unsupported") == "teleportation"
    assert called(provider) == before
    assert_alive(proxy, provider, new_peer(DESK))


def test_version_of_another_sip_is_505(proxy, provider, new_peer) -> None:
    caller = new_peer(DESK)
    invite = request(caller, "INVITE", f"sip:{WASHINGTON}@127.0.0.1").replace(
        b" SIP/2.0\r\n", b" SIP/7.0\r\n", 1
    )

    caller.send(invite, proxy.address)

    assert caller.expect(lambda message: message.status >= 200, "final response").message.status == 505


GARBAGE = [
    b"",
    b"\r\n\r\n",
    b"\x00" * 64,
    bytes(range(256)) * 20,
    b"INVITE\r\n\r\n",
    b"INVITE sip:+12025550123@127.0.0.1 SIP/2.0\r\n\r\n",
    b"SIP/2.0 200 OK\r\n\r\n",
    b"SIP/2.0 999999999999 OK\r\nVia: x\r\n\r\n",
    b"INVITE sip:a SIP/2.0\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"INVITE " + b"a" * 60_000 + b" SIP/2.0\r\n\r\n",
    b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP ;branch=\r\nContent-Length: -5\r\n\r\n",
    b"\xff\xfeINVITE sip:+12025550123@127.0.0.1 SIP/2.0\r\nVia: \xff\r\n\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda data: repr(data[:24]))
def test_garbage_harms_nobody(proxy, provider, new_peer, garbage: bytes) -> None:
    caller = new_peer(DESK)
    before = called(provider)

    caller.send(garbage, proxy.address)

    alive = assert_alive(proxy, provider, new_peer(DESK))
    assert called(provider) - before == {alive}


def test_malformed_is_counted(proxy, new_peer) -> None:
    caller = new_peer(DESK)
    before = proxy.metric("trunkwarden_sip_malformed_total")

    caller.send(request(caller, "INVITE", f"sip:{WASHINGTON}@127.0.0.1", CSeq="one INVITE"), proxy.address)
    caller.expect(lambda message: message.status == 400, "400")

    eventually(lambda: proxy.metric("trunkwarden_sip_malformed_total") > before, what="the count")


def test_unmatched_cancel_is_481(proxy, provider, new_peer) -> None:
    caller = new_peer(DESK)

    OutgoingCall(caller, proxy.address, WASHINGTON).cancel()

    assert caller.expect_final("CANCEL").status == 481
    assert provider.count("CANCEL") == 0


def test_ack_of_nothing_is_dropped(proxy, provider, new_peer) -> None:
    caller = new_peer(DESK)

    ack = request(caller, "ACK", f"sip:{WASHINGTON}@127.0.0.1", Call_ID="ack-of-nothing")
    caller.send(ack, proxy.address)

    assert_alive(proxy, provider, new_peer(DESK))
    assert not caller.received
    assert not provider.requests("ACK", "ack-of-nothing")
