"""TCP as peers use it and misuse it: how messages are cut, answered and ended, on the running program."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import SDP, Message, answer, fresh, text
from tests.e2e.stream_peer import StreamListener, StreamPeer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import connections_at, eventually

DESK = "127.0.0.10"
PING = b"\r\n\r\n"
WAIT = 10.0
OFFSETS_TOGETHER = 16


@pytest.fixture(scope="module")
def carrier():
    peer = Peer(PROVIDER)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def tcp_carrier():
    listener = StreamListener("127.0.0.101")
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, carrier, tcp_carrier, tmp_path_factory) -> Trunkwarden:
    return serve_module(
        configuration(
            tmp_path_factory.mktemp("streams"),
            redis_server.url,
            [
                provider_entry("carrier", carrier.address),
                provider_entry("stream-carrier", tcp_carrier.address, transport="tcp"),
            ],
            [
                trunk("desk", DESK, capacity_limit=500),
                trunk("desk-2", "127.0.0.11", provider="stream-carrier", capacity_limit=1),
            ],
            listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
            timers={"provider_response_seconds": 5, "no_answer_seconds": 30},
        )
    )


@pytest.fixture
def connect(proxy):
    made: list[StreamPeer] = []

    def one(host: str = DESK) -> StreamPeer:
        made.append(StreamPeer(host, proxy.sockets["tcp"]))
        return made[-1]

    yield one
    for peer in made:
        peer.close()


def options(peer: StreamPeer, extra: str = "", body: bytes = b"") -> bytes:
    """OPTIONS for the proxy itself, whose Content-Length a test may spoil."""
    headers = [("Via", f"SIP/2.0/TCP {peer.host_port};branch={fresh('z9hG4bK-')}"), ("Max-Forwards", "70")]
    headers += [("From", "<sip:a@b.example>;tag=1"), ("To", "<sip:c.example>"), ("Call-ID", fresh("id"))]
    headers += [("CSeq", "1 OPTIONS")]
    return text("OPTIONS sip:127.0.0.1 SIP/2.0", headers, body).replace(
        b"\r\nContent-Length", extra.encode() + b"\r\nContent-Length", 1
    )


def call(peer: Peer, proxy: Trunkwarden) -> OutgoingCall:
    return OutgoingCall(peer, proxy.sockets["tcp" if isinstance(peer, StreamPeer) else "udp"], WASHINGTON)


# --- keepalive (P33) --------------------------------------------------------------------------------------


def test_ping_is_answered_also_during_a_call_and_changes_nothing_in_it(proxy, carrier, connect) -> None:
    desk = connect()
    desk.send(PING)
    desk.wait_pongs(2)
    placed = call(desk, proxy)
    placed.extra = (("Path", "<sip:edge.example;lr>"),)
    placed.send()
    far_end = incoming(carrier, proxy.address, placed)
    desk.send(PING)
    assert far_end.invite.all("path") == ["<sip:edge.example;lr>"]
    far_end.accept()
    dialog = placed.answered()
    for _ in range(3):
        desk.send(PING)
    desk.wait_pongs(10)
    hang_up(placed, dialog, far_end)
    assert desk.pongs == 10
    assert not desk.ended
    proxy.wait_until_idle()


# --- where messages end (P34) -----------------------------------------------------------------------------


def test_a_message_split_at_every_byte_is_one_call_each(proxy, carrier, connect) -> None:
    """Each offset of an INVITE: two segments, the second sent when the first has been consumed. Connections
    take turns, so that one pause serves many offsets."""
    desks = [connect() for _ in range(OFFSETS_TOGETHER)]
    whole = call(desks[0], proxy).invite()
    started = time.monotonic()
    offsets = list(range(1, len(whole)))
    while offsets:
        turn, offsets = offsets[:OFFSETS_TOGETHER], offsets[OFFSETS_TOGETHER:]
        parts = []
        for desk, offset in zip(desks, turn, strict=False):
            placed = call(desk, proxy)
            data = placed.invite()
            offset = min(offset, len(data) - 1)
            desk.send(data[:offset])
            parts.append((desk, placed, data[offset:]))
        eventually(
            lambda: not any(held.unread for held in connections_at(proxy.sockets["tcp"])),
            WAIT,
            "the first halves being read",
        )
        for desk, _, rest in parts:
            desk.send(rest)
        for _, placed, _ in parts:
            invite = carrier.expect_request("INVITE", WAIT, placed.call_id)
            assert invite.body == SDP
            carrier.send(answer(invite, "486 Busy Here", tag=fresh("tag")), proxy.address)
            assert placed.final(WAIT).status == 486
    assert time.monotonic() - started < 100
    assert not any(desk.ended for desk in desks)
    proxy.wait_until_idle()


def test_three_messages_in_one_segment_are_answered_in_order_on_their_connection(proxy, connect) -> None:
    desk = connect()
    messages = [options(desk) for _ in range(3)]
    desk.send(b"".join(messages))
    for data in messages:
        call_id = Message.parse(data).one("call-id")
        assert desk.expect_response(200, "OPTIONS", WAIT, call_id)
    assert [found.message.one("call-id") for found in desk.received] == [
        Message.parse(data).one("call-id") for data in messages
    ]


def test_a_response_whose_connection_is_gone_goes_to_sent_by_s_port(proxy, carrier) -> None:
    """§18.2.2: to the source address and the port of sent-by, over a new connection."""
    listener = StreamListener(DESK)
    desk = StreamPeer(DESK, proxy.sockets["tcp"])
    desk.address = listener.address  # what it calls itself in Via
    placed = call(desk, proxy).send()
    far_end = incoming(carrier, proxy.address, placed)
    desk.close()
    eventually(lambda: not connections_at(proxy.sockets["tcp"]), WAIT, "the end of the connection")
    far_end.respond("486 Busy Here")
    again = listener.peer()
    assert again.expect_response(486, limit=WAIT).one("call-id") == placed.call_id
    placed.peer = again
    placed.acknowledge_failure(again.received[0].message)
    proxy.wait_until_idle()
    listener.close()


# --- what two readers could count differently (F01, F02, F03, F08) -----------------------------------------


def spoilt(data: bytes, length: str) -> bytes:
    return data.replace(b"Content-Length: 0", length.encode(), 1)


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("Content-Length: 4294967300", 400),
        ("Content-Length: 18446744073709551617", 400),
        ("Content-Length: 4294967295", 513),
        ("l: 4\r\nContent-Length: 5", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: 0x5", 400),
        ("Content-Length: 5,5", 400),
        ("Content-Length: -1", 400),
        ("X-Nothing: 1", 400),
    ],
)
def test_a_length_that_cannot_be_believed_is_answered_and_the_connection_closed(
    proxy, connect, length: str, status: int
) -> None:
    before = _resident(proxy)
    desk = connect()
    desk.send(spoilt(options(desk), length))
    desk.wait_end()
    assert [found.message.status for found in desk.received] == [status]
    assert _resident(proxy) - before < 5_000_000


def test_bodies_that_are_only_announced_take_no_memory(proxy, connect) -> None:
    """Forty announcements of the longest body that is read at all, and none of it."""
    desks = [connect() for _ in range(40)]
    before = _resident(proxy)
    for desk in desks:
        desk.send(spoilt(options(desk), "Content-Length: 65536"))
    eventually(
        lambda: not any(held.unread for held in connections_at(proxy.sockets["tcp"])),
        WAIT,
        "the heads being read",
    )
    assert _resident(proxy) - before < 5_000_000


def _resident(proxy: Trunkwarden) -> int:
    pages = Path(f"/proc/{proxy.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def grown(data: bytes, length: int) -> bytes:
    return data.replace(b"Max-Forwards", b"X-Long: " + b"x" * length + b"\r\nMax-Forwards", 1)


def long_uri(data: bytes, length: int) -> bytes:
    return data.replace(b"sip:127.0.0.1 ", b"sip:" + b"x" * length + b"@127.0.0.1 ", 1)


@pytest.mark.parametrize(
    ("spoil", "status", "closed"),
    [
        (lambda data: long_uri(data, 5_000), 414, False),  # where it ends is plain
        (lambda data: long_uri(data, 20_000), 414, True),
        (lambda data: grown(data, 20_000), 513, True),
        (lambda data: grown(data, 600_000), 513, True),
        (lambda data: spoilt(data, "Content-Length: 65537"), 513, True),
    ],
)
def test_what_is_too_large_is_said_to_be(proxy, connect, spoil, status: int, closed: bool) -> None:
    series = _series(proxy)
    logged = len(proxy.stderr())
    desk = connect()
    with contextlib.suppress(OSError):  # it is closed while we go on
        desk.send(spoil(options(desk)))
    if closed:
        desk.wait_end()
    else:
        desk.expect_response(status, "OPTIONS", WAIT)
    assert [found.message.status for found in desk.received] == [status]
    assert len(proxy.stderr()) - logged < 2_000
    assert _series(proxy) - series <= 4


def _series(proxy: Trunkwarden) -> int:
    return len(proxy.http.get("/metrics").text.splitlines())


# --- the end of connections (C12) --------------------------------------------------------------------------


def test_a_reset_in_the_middle_of_a_message_hurts_nobody(proxy, carrier, connect) -> None:
    broken = StreamPeer(DESK, proxy.sockets["tcp"])
    broken.send(call(broken, proxy).invite()[:200])
    broken.reset()
    desk = connect()
    placed = call(desk, proxy).send()
    far_end = incoming(carrier, proxy.address, placed)
    far_end.respond("486 Busy Here")
    assert placed.final(WAIT).status == 486
    proxy.wait_until_idle()


@pytest.mark.parametrize("when", ["before an answer", "while it rings", "answered"])
def test_a_provider_that_resets_its_connection_releases_the_place_once(
    proxy, tcp_carrier, connect, when: str
) -> None:
    """The trunk has one place: a second release would let two calls in, a missing one none."""
    desk = connect("127.0.0.11")
    far = _invited(proxy, tcp_carrier, desk)
    placed, peer, invite = far
    if when == "answered":
        contact = (("Contact", f"<sip:carrier@{peer.host_port};transport=tcp>"),)
        peer.send(answer(invite, "200 OK", tag="far", extra=contact, body=SDP))
        dialog = placed.answered(WAIT)
        peer.expect_request("ACK", WAIT)
        peer.reset()
        tcp_carrier.peers.remove(peer)
        desk.send(options(desk))  # once this is answered, the reset has been seen
        desk.expect_response(200, "OPTIONS", WAIT)
        desk.send(dialog.request("BYE"))
        bye = tcp_carrier.peer(limit=WAIT).expect_request("BYE", WAIT, placed.call_id)
        tcp_carrier.peer().send(answer(bye, "200 OK"))
        desk.expect_response(200, "BYE", WAIT, placed.call_id)
    else:
        if when == "while it rings":
            peer.send(answer(invite, "180 Ringing", tag="far"))
            placed.provisional(180, WAIT)
        peer.reset()
        tcp_carrier.peers.remove(peer)
        assert placed.final(WAIT).status in (408, 500)
    proxy.wait_until_idle()
    usage = proxy.usage("desk-2")
    assert usage["active_calls"] == 0
    placed, peer, invite = _invited(proxy, tcp_carrier, desk)
    assert call(desk, proxy).send().final(WAIT).status == 403  # one place, and it is taken
    peer.send(answer(invite, "486 Busy Here", tag="far"))
    assert placed.final(WAIT).status == 486
    proxy.wait_until_idle()


@pytest.mark.parametrize("again", ["200 OK", "481 Call/Transaction Does Not Exist", None])
def test_a_bye_that_is_lost_with_its_connection_has_an_answer(
    proxy, tcp_carrier, connect, again: str | None
) -> None:
    """The provider resets with the caller's BYE in its hands. It gets it once more, over a new connection;
    where that ends as well the caller gets 500, and the provider a BYE of ours."""
    desk = connect("127.0.0.11")
    placed, peer, invite = _invited(proxy, tcp_carrier, desk)
    contact = (("Contact", f"<sip:carrier@{peer.host_port};transport=tcp>"),)
    peer.send(answer(invite, "200 OK", tag="far", extra=contact, body=SDP))
    dialog = placed.answered(WAIT)
    peer.expect_request("ACK", WAIT)
    desk.send(dialog.request("BYE"))
    seen = [peer.expect_request("BYE", WAIT, placed.call_id)]
    for _ in range(1 if again else 2):
        tcp_carrier.peers.remove(peer)
        peer.reset()
        peer = tcp_carrier.peer(limit=WAIT)
        seen.append(peer.expect_request("BYE", WAIT, placed.call_id))
    assert len({bye.all("via")[0] for bye in seen}) == len(seen)
    # The caller's own twice, and then one of ours, above it.
    assert [bye.one("cseq") for bye in seen[:2]] == [seen[0].one("cseq")] * 2
    if again is None:
        desk.expect_response(500, "BYE", WAIT, placed.call_id)
    peer.send(answer(seen[-1], again or "200 OK"))
    if again is not None:
        desk.expect_response(int(again[:3]), "BYE", WAIT, placed.call_id)
    proxy.wait_until_idle()
    assert len([one for one in desk.received if one.message.method == "BYE"]) == 1
    assert proxy.usage("desk-2")["active_calls"] == 0


def _invited(proxy, listener: StreamListener, desk: StreamPeer) -> tuple[OutgoingCall, StreamPeer, Message]:
    placed = call(desk, proxy).send()

    def arrived() -> tuple[StreamPeer, Message] | None:
        for peer in listener.peers:
            found = peer.requests("INVITE", placed.call_id)
            if found:
                return peer, found[0]
        return None

    return (placed, *eventually(arrived, WAIT, "the INVITE"))


def test_a_caller_that_resets_in_mid_call_is_called_back_where_it_listens(proxy, carrier) -> None:
    """The provider's BYE finds the caller at its Contact, over a new connection; one release."""
    listener = StreamListener(DESK)
    desk = StreamPeer(DESK, proxy.sockets["tcp"])
    desk.address = listener.address
    placed = call(desk, proxy).send()
    far_end = incoming(carrier, proxy.address, placed)
    far_end.accept()
    placed.answered(WAIT)
    far_end.expect("ACK", WAIT)
    desk.reset()
    carrier.send(far_end.dialog().request("BYE"), proxy.address)
    again = listener.peer(limit=WAIT)
    bye = again.expect_request("BYE", WAIT, placed.call_id)
    again.send(answer(bye, "200 OK"))
    carrier.expect_response(200, "BYE", WAIT, placed.call_id)
    proxy.wait_until_idle()
    listener.close()


def test_half_closed_is_closed(proxy, connect) -> None:
    desk = connect()
    desk.send(options(desk))
    desk.expect_response(200, "OPTIONS", WAIT)
    desk.half_close()
    desk.wait_end()


def test_bytes_that_are_no_sip_are_not_answered(proxy) -> None:
    with socket.create_connection(proxy.sockets["tcp"], WAIT, (DESK, 0)) as scanner:
        scanner.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert scanner.recv(100) == b""
