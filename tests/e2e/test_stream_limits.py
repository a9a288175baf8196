"""Those who hold connections, drip or flood: closed by limit, while calls go on (F06)."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.stream_peer import StreamPeer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import connections_at, eventually

pytestmark = pytest.mark.alone

DESK = "127.0.0.10"
CROWD = 2_000
CROWD_ADDRESSES = 50
# The limits of the program: strangers, and how many it takes before those who left for them are gone.
STRANGERS = 256
TAKEN_AT_ONCE = 64
SLOW = 30
FLOOD_BYTES = 64_000_000  # more than the system itself takes off a sender's hands
WAIT = 10.0
LIMIT_SECONDS = 10.0  # how long a message may take, and how long a stranger may be silent


@pytest.fixture(scope="module")
def carrier():
    peer = Peer(PROVIDER)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, carrier, tmp_path_factory) -> Trunkwarden:
    return serve_module(
        configuration(
            tmp_path_factory.mktemp("crowd"),
            redis_server.url,
            [provider_entry("carrier", carrier.address)],
            [trunk("desk", DESK, capacity_limit=50)],
            listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
            timers={"provider_response_seconds": 5, "no_answer_seconds": 30},
        )
    )


def one_call(peer: Peer, proxy: Trunkwarden, carrier: Peer) -> float:
    """A whole call; how long it took to reach the provider."""
    transport = "tcp" if isinstance(peer, StreamPeer) else "udp"
    placed = OutgoingCall(peer, proxy.sockets[transport], WASHINGTON)
    began = time.monotonic()
    placed.send()
    far_end = incoming(carrier, proxy.address, placed, WAIT)
    took = time.monotonic() - began
    far_end.accept()
    hang_up(placed, placed.answered(WAIT), far_end)
    return took


def held(listener: tuple[str, int]) -> int:
    """How many connections the program has on its listener."""
    return sum(found.accepted for found in connections_at(listener))


def closed(peer: socket.socket) -> bool:
    """Whether the far end has closed."""
    peer.setblocking(False)
    try:
        return peer.recv(1000) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_two_thousand_idle_connections_are_kept_to_the_limit_and_calls_succeed(
    proxy, carrier, new_peer
) -> None:
    needed = CROWD + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    target = proxy.sockets["tcp"]
    desk, phone = new_peer(DESK), StreamPeer(DESK, target)
    crowd: list[socket.socket] = []
    try:
        for index in range(CROWD):
            crowd.append(socket.create_connection(target, WAIT, (f"127.0.1.{index % CROWD_ADDRESSES}", 0)))
            if index % 100 == 0:
                # The system's table is read while one batch comes and another leaves.
                assert held(target) <= STRANGERS + 1 + 2 * TAKEN_AT_ONCE
            if index % 500 == 0:
                one_call(desk, proxy, carrier)
        eventually(lambda: held(target) <= STRANGERS + 1, WAIT, "the crowd being kept to its limit")
        one_call(desk, proxy, carrier)
        one_call(phone, proxy, carrier)
        eventually(lambda: all(map(closed, crowd)), 3 * LIMIT_SECONDS, "the end of all idle connections")
        one_call(phone, proxy, carrier)
        assert not phone.ended
    finally:
        for one in crowd:
            one.close()
        phone.close()
    proxy.wait_until_idle()


def test_slow_senders_are_closed_in_time_and_calls_succeed(proxy, carrier, new_peer) -> None:
    """Peers of a trunk and strangers, each a byte a second, some of them in the middle of a body."""
    target = proxy.sockets["tcp"]
    desk = new_peer(DESK)
    head = b"INVITE sip:+12025550123@127.0.0.1 SIP/2.0\r\nContent-Length: 400\r\n"
    slow = [
        socket.create_connection(target, WAIT, (("127.0.0.10", "127.0.1.1")[index % 2], 0))
        for index in range(SLOW)
    ]
    began = time.monotonic()
    for index, one in enumerate(slow):
        one.sendall(head + (b"\r\n" if index % 3 else b""))
    over = threading.Event()
    thread = threading.Thread(target=_drip, args=(slow, over))
    thread.start()
    try:
        while not all(map(closed, slow)):
            one_call(desk, proxy, carrier)
            assert time.monotonic() - began < 3 * LIMIT_SECONDS, "they are still there"
            over.wait(0.5)
        assert time.monotonic() - began > 1.0
    finally:
        over.set()
        thread.join()
        for one in slow:
            one.close()
    proxy.wait_until_idle()


def _drip(slow: list[socket.socket], over: threading.Event) -> None:
    while not over.wait(1.0):
        for one in slow:
            with contextlib.suppress(OSError):
                one.send(b"x")


def test_a_flood_of_keepalives_is_closed_and_calls_succeed(proxy, carrier, new_peer) -> None:
    target = proxy.sockets["tcp"]
    desk = new_peer(DESK)
    flood = socket.create_connection(target, WAIT, (DESK, 0))
    flood.settimeout(WAIT)
    sent = 0
    try:
        while sent < FLOOD_BYTES:
            sent += flood.send(b"\r\n" * 1_000)
    except OSError:
        pass
    assert sent < FLOOD_BYTES
    eventually(lambda: closed(flood), WAIT, "the end of the flood")
    one_call(desk, proxy, carrier)
    proxy.wait_until_idle()
    flood.close()


def test_a_peer_that_does_not_read_is_closed(proxy, carrier, new_peer) -> None:
    target = proxy.sockets["tcp"]
    desk = new_peer(DESK)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.bind((DESK, 0))
    deaf.connect(target)
    deaf.settimeout(WAIT)
    options = (
        b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.10:5060;branch=z9hG4bK1\r\n"
        b"Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c>\r\nCall-ID: deaf\r\nCSeq: 1 OPTIONS\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    try:
        for _ in range(40_000):
            deaf.sendall(options)
    except OSError:
        pass
    eventually(lambda: not connections_at(target), WAIT, "the end of the deaf one")
    one_call(desk, proxy, carrier)
    proxy.wait_until_idle()
    deaf.close()
