"""Sockets on all addresses: all of 127/8 is this machine's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from proxy.sip.message import Flow
from proxy.transport.everywhere import UdpEverywhere
from proxy.transport.udp import Datagrams
from tests.ledger.servers import until

LOST = "192.0.2.77"  # no address of this machine


class Receiver:
    """An endpoint on all addresses, and what came."""

    def __init__(self, host: str) -> None:
        self.batches: list[Datagrams] = []
        self.endpoint = UdpEverywhere(host, 0, self.batches.append)
        self.port = self.endpoint.local[1]
        self.endpoint.start()

    @property
    def flows(self) -> list[Flow]:
        return [flow for batch in self.batches for _, flow in batch]


@pytest.fixture
async def receiver() -> Iterator[Receiver]:  # type: ignore[misc]
    made = Receiver("0.0.0.0")
    yield made
    made.endpoint.close()


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.10", 0))
        made.settimeout(5)
        yield made


async def test_answers_leave_from_where_the_datagram_was_sent_to(
    receiver: Receiver, peer: socket.socket
) -> None:
    for host in ("127.0.0.1", "127.0.0.7", "127.0.0.8", "127.0.0.7"):
        receiver.batches.clear()
        peer.sendto(b"from you", (host, receiver.port))
        await until(lambda: receiver.flows)
        (flow,) = receiver.flows
        assert flow == Flow("udp", (host, receiver.port), peer.getsockname())
        receiver.endpoint.send(b"to you", flow)
        assert peer.recvfrom(100) == (b"to you", (host, receiver.port))


async def test_the_system_chooses_where_none_is_said(receiver: Receiver, peer: socket.socket) -> None:
    receiver.endpoint.send(b"hello", Flow("udp", receiver.endpoint.local, peer.getsockname()))
    assert peer.recvfrom(100) == (b"hello", ("127.0.0.1", receiver.port))


async def test_an_address_that_the_machine_has_lost_is_none(receiver: Receiver, peer: socket.socket) -> None:
    receiver.endpoint.send(b"hello", Flow("udp", (LOST, receiver.port), peer.getsockname()))
    assert peer.recvfrom(100) == (b"hello", ("127.0.0.1", receiver.port))
    assert receiver.endpoint.unsent == 0


@pytest.mark.parametrize("remote", [("127.0.0.1", 0), ("127.0.0.1", 70000), ("::1", 5060), ("a\0b", 5060)])
async def test_what_is_no_address_is_counted_once(receiver: Receiver, remote: tuple[str, int]) -> None:
    receiver.endpoint.send(b"lost", Flow("udp", ("127.0.0.7", receiver.port), remote))
    assert receiver.endpoint.unsent == 1


async def test_as_many_own_addresses_as_there_may_be(
    receiver: Receiver, peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.transport.everywhere._MOST_REMEMBERED", 3)
    for last in range(1, 9):
        receiver.batches.clear()
        peer.sendto(b"x", (f"127.1.0.{last}", receiver.port))
        await until(lambda: receiver.flows)
        receiver.endpoint.send(b"y", receiver.flows[0])
        assert peer.recvfrom(100)[1] == (f"127.1.0.{last}", receiver.port)
    assert len(receiver.endpoint._locals) <= 3
    assert len(receiver.endpoint._sources) <= 3


async def test_broadcasts_are_answered_from_an_address_of_ours(
    receiver: Receiver, peer: socket.socket
) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    peer.sendto(b"anybody?", ("127.255.255.255", receiver.port))
    await until(lambda: receiver.flows)
    assert receiver.flows[0].local == ("127.0.0.1", receiver.port)


async def test_ipv6_too() -> None:
    try:
        receiver = Receiver("::")
    except OSError as error:
        pytest.skip(f"no IPv6: {error.strerror}")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        try:
            peer.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 on loopback: {error.strerror}")
        peer.settimeout(5)
        peer.sendto(b"six", ("::1", receiver.port))
        await until(lambda: receiver.flows)
        (flow,) = receiver.flows
        assert flow == Flow("udp", ("::1", receiver.port), peer.getsockname()[:2])
        receiver.endpoint.send(b"back", flow)
        assert peer.recvfrom(100)[0] == b"back"
        receiver.endpoint.send(b"back", flow._replace(local=("2001:db8::77", receiver.port)))
        assert peer.recvfrom(100)[0] == b"back"
    receiver.endpoint.close()
