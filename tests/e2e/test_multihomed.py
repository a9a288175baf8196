"""A machine with several addresses: from which of them answers and calls leave."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.sip_text import answer
from tests.e2e.stream_peer import StreamPeer
from tests.e2e.user_agents import OutgoingCall, incoming

WAIT = 10.0
DESK = "127.0.0.10"
SPOKEN_TO = "127.0.0.5"  # one of our addresses, and not what the system would send from
ADVERTISED = "127.0.0.6"
PATIENT = {"provider_response_seconds": 5, "no_answer_seconds": 30}
_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"


def both_ways(
    caller: Peer, proxy: tuple[str, int], carrier: Peer, out: tuple[str, int], advertised: str
) -> None:
    """A call of `caller` to `proxy` that leaves from `out`; a BYE from the far end. Nothing of ours comes
    from elsewhere."""
    placed = OutgoingCall(caller, proxy, WASHINGTON).send()
    far_end = incoming(carrier, out, placed, WAIT)
    assert f" {advertised};branch=" in far_end.invite.all("via")[0]
    assert all(f"<sip:{advertised};" in route for route in far_end.invite.record_routes())
    far_end.accept()
    placed.answered(WAIT)
    dialog = far_end.dialog()
    far_end.expect("ACK", WAIT)
    carrier.send(dialog.request("OPTIONS"), out)
    caller.send(answer(caller.expect_request("OPTIONS", WAIT, placed.call_id), "200 OK"), proxy)
    carrier.expect_response(200, "OPTIONS", WAIT, placed.call_id)
    carrier.send(dialog.request("BYE"), out)
    caller.send(answer(caller.expect_request("BYE", WAIT, placed.call_id), "200 OK"), proxy)
    carrier.expect_response(200, "BYE", WAIT, placed.call_id)
    assert {datagram.source for datagram in caller.received} == {proxy}
    assert {datagram.source for datagram in carrier.received} == {out}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_all_addresses_answer_each_as_the_one_that_was_spoken_to(
    serve, redis_server, new_peer, tmp_path, transport: str
) -> None:
    port = free_udp_port("0.0.0.0")
    carrier = new_peer(PROVIDER)
    serve(
        configuration(
            tmp_path, redis_server.url, [provider_entry("carrier", carrier.address)],
            [trunk("desk", DESK, capacity_limit=50)],
            listen=[f"udp:0.0.0.0:{port}", f"tcp:0.0.0.0:{port}"], advertise=f"{ADVERTISED}:{port}",
            timers=PATIENT,
        )
    )  # fmt: skip
    spoken_to = (SPOKEN_TO, port)
    caller = new_peer(DESK) if transport == "udp" else StreamPeer(DESK, spoken_to)
    # The system sends to loopback from 127.0.0.1.
    both_ways(caller, spoken_to, carrier, ("127.0.0.1", port), f"{ADVERTISED}:{port}")
    if isinstance(caller, StreamPeer):
        caller.close()


def test_calls_leave_by_the_listener_that_the_system_would_send_from(
    serve, redis_server, new_peer, tmp_path
) -> None:
    carrier, desk = new_peer(PROVIDER), new_peer(DESK)
    proxy = serve(
        configuration(
            tmp_path, redis_server.url, [provider_entry("carrier", carrier.address)],
            [trunk("desk", DESK, capacity_limit=50)],
            listen=[f"udp:{SPOKEN_TO}:0", "udp:127.0.0.1:0"], timers=PATIENT,
        )
    )  # fmt: skip
    near, far = (local for _, local in proxy.listeners)
    placed = OutgoingCall(desk, near, WASHINGTON).send()
    far_end = incoming(carrier, far, placed, WAIT)
    assert carrier.received[0].source == far
    assert [route.partition(";")[0] for route in far_end.invite.record_routes()] == [
        f"<sip:{host}:{port}" for host, port in (far, near)
    ]
    far_end.respond("486 Busy Here")
    assert placed.final(WAIT).status == 486


class Namespace:
    """A network of its own, as long as something uses it."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        before = os.open(_OWN, os.O_RDONLY)
        try:
            self._checked(self._libc.unshare(_CLONE_NEWNET))
            self.fd = os.open(_OWN, os.O_RDONLY)
            self._checked(self._libc.setns(before, _CLONE_NEWNET))
        finally:
            os.close(before)
        self.ip("link set lo up")

    @staticmethod
    def _checked(result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread makes meanwhile, sockets and processes, belongs to it."""
        before = os.open(_OWN, os.O_RDONLY)
        try:
            self._checked(self._libc.setns(self.fd, _CLONE_NEWNET))
            try:
                yield
            finally:
                self._checked(self._libc.setns(before, _CLONE_NEWNET))
        finally:
            os.close(before)

    def ip(self, arguments: str) -> None:
        with self.entered():
            subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True)


@pytest.fixture
def two_networks() -> Iterator[tuple[Namespace, Namespace]]:
    """Two machines, (ours, theirs), with two cables between them: 198.18.1.1 to .2, and 198.18.2.1 to .2."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    try:
        ours, theirs = Namespace(), Namespace()
        for number in (1, 2):
            there = f"/proc/{os.getpid()}/fd/{theirs.fd}"
            ours.ip(f"link add near{number} type veth peer name far{number} netns {there}")
            for side, name, last in ((ours, "near", 1), (theirs, "far", 2)):
                side.ip(f"address add 198.18.{number}.{last}/24 dev {name}{number}")
                side.ip(f"link set {name}{number} up")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces: {getattr(error, 'stderr', error)}")
    yield ours, theirs
    for one in (ours, theirs):
        os.close(one.fd)


@pytest.mark.parametrize("listen", [["udp:198.18.1.1:5060", "udp:198.18.2.1:5060"], ["udp:0.0.0.0:5060"]])
def test_between_two_networks(
    two_networks, serve, redis_server, new_peer, tmp_path, listen: list[str]
) -> None:
    """The caller, on the first network, speaks to our address on the second; the provider is there, too."""
    ours, theirs = two_networks
    with theirs.entered():
        caller, carrier = new_peer("198.18.1.2"), new_peer("198.18.2.2")
    with ours.entered():
        serve(
            configuration(
                tmp_path, redis_server.url, [provider_entry("carrier", carrier.address)],
                [trunk("desk", "198.18.1.2", capacity_limit=50)],
                listen=listen, advertise="198.18.2.1:5060", timers=PATIENT,
            )
        )  # fmt: skip
        out = ("198.18.2.1", 5060)
        both_ways(caller, out, carrier, out, "198.18.2.1:5060")
