"""Real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from proxy.sip.message import Flow
from proxy.transport.udp import BATCH, Datagrams, UdpEndpoint
from tests.ledger.servers import until


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made


def towards(remote: tuple[str, int]) -> Flow:
    return Flow("udp", ("127.0.0.1", 1), remote)


class Receiver:
    """An endpoint on a free port, with the batches that it was given."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.batches: list[Datagrams] = []
        self.endpoint = UdpEndpoint(host, 0, self.batches.append)

    @property
    def data(self) -> list[bytes]:
        return [data for batch in self.batches for data, _ in batch]


@pytest.fixture
async def receiver() -> Iterator[Receiver]:  # type: ignore[misc]
    made = Receiver()
    made.endpoint.start()
    yield made
    made.endpoint.close()


async def test_both_ways(receiver: Receiver, peer: socket.socket) -> None:
    endpoint = receiver.endpoint
    peer.sendto(b"one", endpoint.local)
    await until(lambda: bool(receiver.batches))
    assert receiver.batches == [[(b"one", Flow("udp", endpoint.local, peer.getsockname()))]]
    endpoint.send(b"two", towards(peer.getsockname()))
    data, source = peer.recvfrom(100)
    assert (data, source) == (b"two", endpoint.local)


async def test_what_waited_before_the_start_is_read(peer: socket.socket) -> None:
    made = Receiver()
    peer.sendto(b"early", made.endpoint.local)
    made.endpoint.start()
    await until(lambda: made.data == [b"early"])
    made.endpoint.close()


async def test_flood_is_read_in_bounded_batches_and_in_order(receiver: Receiver, peer: socket.socket) -> None:
    sent = [b"%d" % number for number in range(3 * BATCH)]
    turns: list[int] = []
    loop = asyncio.get_running_loop()

    def other_work() -> None:
        turns.append(len(receiver.batches))
        if len(receiver.data) < len(sent):
            loop.call_soon(other_work)

    for data in sent:
        peer.sendto(data, receiver.endpoint.local)
    loop.call_soon(other_work)
    await until(lambda: receiver.data == sent)
    assert max(map(len, receiver.batches)) == BATCH
    assert set(turns) >= {1, 2}  # between batches the loop had its turn


async def test_largest_and_empty_datagrams(receiver: Receiver, peer: socket.socket) -> None:
    largest = b"x" * 65507
    peer.sendto(largest, receiver.endpoint.local)
    peer.sendto(b"", receiver.endpoint.local)
    await until(lambda: receiver.data == [largest, b""])


async def test_refused_port_of_a_peer_stops_nothing(receiver: Receiver, peer: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()
    for _ in range(3):
        receiver.endpoint.send(b"anybody?", towards(nobody))
    peer.sendto(b"still here", receiver.endpoint.local)
    await until(lambda: receiver.data == [b"still here"])


@pytest.mark.parametrize(
    "remote",
    [("127.0.0.1", 0), ("127.0.0.1", 70000), ("127.0.0.1", -1), ("::1", 5060), ("a\0b", 5060), ("", 5060)],
)
async def test_address_that_is_none_loses_one_datagram(
    receiver: Receiver, peer: socket.socket, remote: tuple[str, int]
) -> None:
    receiver.endpoint.send(b"lost", towards(remote))
    receiver.endpoint.send(b"kept", towards(peer.getsockname()))
    assert peer.recv(100) == b"kept"
    if remote[0]:
        assert receiver.endpoint.unsent == 1


async def test_too_long_a_datagram_is_lost_and_counted(receiver: Receiver, peer: socket.socket) -> None:
    receiver.endpoint.send(b"x" * 70_000, towards(peer.getsockname()))
    assert receiver.endpoint.unsent == 1


async def test_ipv6_is_a_socket_of_its_own(peer: socket.socket) -> None:
    try:
        six = Receiver("::1")
    except OSError as error:
        pytest.skip(f"no IPv6 on loopback: {error.strerror}")
    six.endpoint.start()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        other.bind(("::1", 0))
        other.settimeout(5)
        source = other.getsockname()[:2]
        other.sendto(b"six", six.endpoint.local)
        await until(lambda: bool(six.batches))
        assert six.batches[0][0] == (b"six", Flow("udp", six.endpoint.local, source))
        six.endpoint.send(b"back", towards(source))
        assert other.recv(100) == b"back"
    six.endpoint.close()


def test_port_that_is_taken_is_an_error_and_nothing_is_left_open(peer: socket.socket) -> None:
    with pytest.raises(OSError, match="in use"):
        UdpEndpoint("127.0.0.1", peer.getsockname()[1], lambda _: None)


async def test_close_is_for_good_and_may_come_twice(receiver: Receiver, peer: socket.socket) -> None:
    receiver.endpoint.close()
    receiver.endpoint.close()
    receiver.endpoint.send(b"late", towards(peer.getsockname()))
    assert receiver.endpoint.unsent == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(receiver.endpoint.local)
