"""What strangers and the system take away: TLS handshakes without end, and file descriptors."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.stream_peer import StreamPeer
from tests.e2e.test_tls import client
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.alone

DESK = "127.0.0.10"
WAIT = 10.0
FLOOD_SECONDS = 4.0
FLOODERS = 4
GIVEN = 50  # handshakes a second with strangers
FEWEST_CALLS = 6  # each within WAIT, at every step
DESCRIPTORS = 200
MORE = 260
MOST_LINES = 100  # one for each half second
PATIENT = {"provider_response_seconds": 20, "no_answer_seconds": 30}


@pytest.fixture
def carrier():
    peer = Peer(PROVIDER)
    yield peer
    peer.close()


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path / "pem")


@pytest.fixture
def proxy(serve, redis_server, carrier, authority, tmp_path) -> Trunkwarden:
    files = authority.issue("proxy", "IP:127.0.0.1")
    return serve(
        configuration(
            tmp_path, redis_server.url, [provider_entry("carrier", carrier.address)],
            [trunk("desk", DESK, capacity_limit=50)],
            listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0", {"bind": "tls:127.0.0.1:0", **files}],
            timers=PATIENT,
        )
    )  # fmt: skip


def one_call(peer: Peer, proxy: Trunkwarden, carrier: Peer) -> None:
    """A whole call."""
    placed = OutgoingCall(peer, proxy.sockets[peer.transport.lower()], WASHINGTON).send()
    far_end = incoming(carrier, proxy.address, placed, WAIT)
    far_end.accept()
    dialog = placed.answered(WAIT)
    hang_up(placed, dialog, far_end)


def test_calls_go_on_while_strangers_shake_hands_without_end(proxy, carrier, authority, new_peer) -> None:
    """By UDP, over a TLS connection that stands, and over new ones. Strangers get so many handshakes a
    second, and the rest is closed unread."""
    context = client(authority)
    target = proxy.sockets["tls"]
    over = threading.Event()
    tries = [0] * FLOODERS
    threads = [threading.Thread(target=_shake_hands, args=(n, target, tries, over)) for n in range(FLOODERS)]
    desk, phone = new_peer(DESK), StreamPeer(DESK, target, tls=context, name="127.0.0.1")
    begun = time.monotonic()
    ends = begun + FLOOD_SECONDS
    for thread in threads:
        thread.start()
    calls = 0
    try:
        while time.monotonic() < ends or calls < FEWEST_CALLS:
            one_call(desk, proxy, carrier)
            one_call(phone, proxy, carrier)
            newcomer = StreamPeer(DESK, target, tls=context, name="127.0.0.1")
            one_call(newcomer, proxy, carrier)
            newcomer.close()
            calls += 3
    finally:
        over.set()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        phone.close()
    refused = proxy.metric("trunkwarden_connections_refused_total", transport="tls")
    assert refused > 0
    assert sum(tries) - refused <= GIVEN * (took + 1)  # a second's worth at once
    proxy.wait_until_idle()


def _shake_hands(number: int, target: tuple[str, int], tries: list[int], over: threading.Event) -> None:
    """Handshakes from ever other addresses, each begun and most of them ended."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    while not over.is_set():
        tries[number] += 1
        source = f"127.0.{number + 2}.{tries[number] % 250 + 1}"
        with contextlib.suppress(OSError), socket.create_connection(target, WAIT, (source, 0)) as made:
            made.settimeout(WAIT)
            context.wrap_socket(made).close()


def test_calls_go_on_without_file_descriptors_and_newcomers_are_taken_when_there_are_some(
    proxy, carrier, authority, new_peer
) -> None:
    """Connections of the trunk, more than the process may have; nothing that stands is lost."""
    target = proxy.sockets["tcp"]
    desk, phone = new_peer(DESK), StreamPeer(DESK, target)
    one_call(phone, proxy, carrier)
    pid = proxy.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    waiting: list[socket.socket] = []
    try:
        waiting.extend(socket.create_connection(target, WAIT, (DESK, 0)) for _ in range(MORE))
        eventually(
            lambda: "no more connections can be taken" in proxy.stderr(), WAIT, "the end of descriptors"
        )
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) <= DESCRIPTORS
        placed = OutgoingCall(phone, target, WASHINGTON).send()
        for peer in (desk, phone, desk):
            one_call(peer, proxy, carrier)
        far_end = incoming(carrier, proxy.address, placed, WAIT)
        far_end.respond("486 Busy Here")
        assert placed.final(WAIT).status == 486
        assert not phone.ended
        assert proxy.stderr().count("no more connections can be taken") < MOST_LINES
    finally:
        for one in waiting:
            one.close()
    newcomer = StreamPeer(DESK, target)  # the limit stands
    one_call(newcomer, proxy, carrier)
    assert proxy.metric("up") == 0  # HTTP is answered, by a process of its own
    newcomer.close()
    phone.close()
    proxy.wait_until_idle()
    assert soft > DESCRIPTORS
