"""The TCP endpoint: connections taken and opened, found again, limited, closed."""

from __future__ import annotations

import asyncio
import os
import resource
import socket

import pytest

from proxy.sip.message import HURRIED, Flow
from proxy.transport import tcp as module
from proxy.transport.connection import Cause, StreamConnection
from proxy.transport.limits import StreamLimits
from proxy.transport.tcp import TcpEndpoint
from tests.ledger.servers import Stopwatch, until
from tests.transport.stage import FarEnd, Peer, Stage, memory, request, response

OPTIONS = request()
CROWD = 2000


def towards(endpoint: TcpEndpoint, remote: tuple[str, int]) -> Flow:
    return Flow("tcp", endpoint.local, remote)


# --- opening --------------------------------------------------------------------------------------------


async def test_a_connection_is_opened_on_demand_and_used_again(stage: Stage) -> None:
    endpoint, far = stage.tcp(), await FarEnd.at()
    flow = towards(endpoint, far.address)
    sent = [request(body=b"%d" % number) for number in range(5)]
    for data in sent:
        endpoint.send(data, flow)
    await until(lambda: far.heard and far.heard[0] == b"".join(sent))
    endpoint.send(OPTIONS, flow)
    await until(lambda: far.heard[0].endswith(OPTIONS))
    assert len(far.peers) == 1
    far.peers[0].say(response())
    await until(lambda: stage.messages == [response()])
    came = stage.flows[0]
    assert came == Flow("tcp", endpoint.local, far.address, came.connection)
    assert came.connection > 0
    endpoint.send(OPTIONS, came)
    await until(lambda: far.heard[0].endswith(OPTIONS * 2))
    await far.close()


async def test_packets_leave_by_the_listener_s_address(stage: Stage) -> None:
    endpoint, far = stage.tcp(host="127.0.0.2"), await FarEnd.at()
    endpoint.send(OPTIONS, towards(endpoint, far.address))
    await until(lambda: far.peers)
    assert far.peers[0].writer.get_extra_info("peername")[0] == "127.0.0.2"
    await far.close()


@pytest.mark.parametrize(
    ("local", "source"),
    [("127.0.0.7", "127.0.0.7"), ("0.0.0.0", "127.0.0.1"), ("192.0.2.77", "127.0.0.1")],
)
async def test_a_listener_on_all_addresses_speaks_from_the_flow_s_where_the_machine_has_it(
    stage: Stage, local: str, source: str
) -> None:
    endpoint, far = stage.tcp(host="0.0.0.0"), await FarEnd.at()
    endpoint.send(OPTIONS, Flow("tcp", (local, endpoint.local[1]), far.address))
    await until(lambda: far.peers)
    assert far.peers[0].writer.get_extra_info("peername")[0] == source
    assert endpoint.closed == {}
    await far.close()


async def test_an_address_that_the_listener_does_not_have_is_no_way(stage: Stage) -> None:
    endpoint, far = stage.tcp(), await FarEnd.at()
    flow = Flow("tcp", ("192.0.2.77", endpoint.local[1]), far.address)
    endpoint.send(OPTIONS, flow)
    await until(lambda: stage.closed == [flow])
    await far.close()


async def test_what_a_listener_on_all_addresses_takes_has_the_address_that_was_spoken_to(
    stage: Stage,
) -> None:
    endpoint = stage.tcp(host="0.0.0.0")
    peer = socket.create_connection(("127.0.0.7", endpoint.local[1]))
    peer.sendall(OPTIONS)
    await until(lambda: stage.flows)
    assert stage.flows[0].local == ("127.0.0.7", endpoint.local[1])
    endpoint.send(response(), stage.flows[0])
    peer.settimeout(5)
    assert await asyncio.to_thread(peer.recv, 1000) == response()
    peer.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6(stage: Stage) -> None:
    try:
        endpoint, far = stage.tcp(host="::1"), await FarEnd.at("::1")
    except OSError as error:
        pytest.skip(f"no IPv6 loopback: {error}")
    endpoint.send(OPTIONS, towards(endpoint, far.address))
    await until(lambda: far.heard and far.heard[0] == OPTIONS)
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    assert stage.flows[0].remote == ("::1", peer.port)
    await far.close()


async def test_nobody_there_is_told_once_for_all_that_waited(stage: Stage) -> None:
    endpoint, far = stage.tcp(), await FarEnd.at()
    await far.close()
    flow = towards(endpoint, far.address)
    endpoint.send(OPTIONS, flow)
    endpoint.send(OPTIONS, flow)
    assert stage.closed == []
    await until(lambda: stage.closed)
    assert stage.closed == [flow]
    await until(lambda: endpoint.closed == {Cause.FAILED: 1})
    again = await FarEnd.at(port=far.address[1])
    endpoint.send(OPTIONS, flow)
    await until(lambda: again.heard and again.heard[0] == OPTIONS)
    await again.close()


async def test_connecting_has_a_deadline_and_a_bounded_queue(stage: Stage) -> None:
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:  # once its queue is full, the system lets further connections wait
        filler.setblocking(False)
        filler.connect_ex(deaf.getsockname())
    endpoint = stage.tcp(StreamLimits(connect_seconds=0.3, waiting_bytes=10 * len(OPTIONS)))
    flow = towards(endpoint, deaf.getsockname())
    begun = asyncio.get_running_loop().time()
    for _ in range(15):
        endpoint.send(OPTIONS, flow)
    assert endpoint.unsent == 5
    await until(lambda: stage.closed == [flow], 5.0)
    assert asyncio.get_running_loop().time() - begun > 0.2
    await until(lambda: len(endpoint) == 0)
    for filler in (*fillers, deaf):
        filler.close()


async def test_mere_try_is_given_up_soon(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SYN that nobody answers costs a call no more than this."""
    monkeypatch.setattr(module, "HURRY_SECONDS", 0.2)
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(deaf.getsockname())
    endpoint = stage.tcp()
    flow = Flow("tcp", endpoint.local, deaf.getsockname(), HURRIED)
    begun = asyncio.get_running_loop().time()
    endpoint.send(OPTIONS, flow)
    await until(lambda: stage.closed == [flow], 2.0)
    assert asyncio.get_running_loop().time() - begun > 0.15
    for filler in (*fillers, deaf):
        filler.close()


async def test_mere_try_that_opens_is_a_connection_like_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried: list[StreamConnection] = []
    monkeypatch.setattr(StreamConnection, "hurry", lambda connection, seconds: hurried.append(connection))
    endpoint, far = stage.tcp(), await FarEnd.at()
    endpoint.send(OPTIONS, Flow("tcp", endpoint.local, far.address, HURRIED))
    await until(lambda: far.heard and far.heard[0] == OPTIONS)
    hurried[0]._give_up_opening()  # the time that it had is over
    endpoint.send(OPTIONS, towards(endpoint, far.address))
    await until(lambda: far.heard[0] == OPTIONS * 2)
    assert len(far.peers) == 1
    await far.close()


async def test_a_far_end_that_closes_is_told_and_opened_again(stage: Stage) -> None:
    endpoint, far = stage.tcp(), await FarEnd.at()
    flow = towards(endpoint, far.address)
    endpoint.send(OPTIONS, flow)
    await until(lambda: far.heard and far.heard[0])
    far.peers[0].reset()
    await until(lambda: stage.closed == [flow])
    endpoint.send(OPTIONS, flow)
    await until(lambda: len(far.heard) == 2 and far.heard[1] == OPTIONS)
    await far.close()


async def test_what_follows_a_closed_connection_is_not_lost_with_it(stage: Stage) -> None:
    """The far end has closed, and our side has not yet come to its end: the next request has a connection of
    its own."""
    endpoint, far = stage.tcp(), await FarEnd.at()
    flow = towards(endpoint, far.address)
    endpoint.send(OPTIONS, flow)
    await until(lambda: far.heard and far.heard[0] == OPTIONS)
    (old,) = endpoint._opened.values()
    old.eof_received()
    assert stage.closed == [flow]
    endpoint.send(OPTIONS, flow)
    await until(lambda: len(far.heard) == 2 and far.heard[1] == OPTIONS)
    await until(lambda: endpoint.closed == {Cause.PEER: 1})
    assert stage.closed == [flow]
    await far.close()


async def test_there_are_only_so_many_connections_of_ours(stage: Stage) -> None:
    endpoint = stage.tcp(StreamLimits(opened=2))
    fars = [await FarEnd.at() for _ in range(3)]
    for far in fars:
        endpoint.send(OPTIONS, towards(endpoint, far.address))
    assert endpoint.unsent == 1
    await until(lambda: stage.closed == [towards(endpoint, fars[2].address)])
    for far in fars:
        await far.close()


# --- responses whose connection is gone -----------------------------------------------------------------


async def test_a_response_without_its_connection_goes_to_sent_by_s_port(stage: Stage) -> None:
    endpoint, far = stage.tcp(), await FarEnd.at()
    via = f"203.0.113.66:{far.address[1]};received=127.0.0.1"
    peer = await Peer.to(endpoint)
    peer.say(request(via=via))
    await until(lambda: stage.flows)
    peer.leave()
    await until(lambda: len(endpoint) == 0)
    endpoint.send(response(via), stage.flows[0])
    endpoint.send(response(via), stage.flows[0])
    await until(lambda: far.heard and far.heard[0] == 2 * response(via))
    assert len(far.peers) == 1
    assert stage.closed == []
    await far.close()


async def test_who_breaks_off_cannot_use_up_our_connections(stage: Stage) -> None:
    endpoint = stage.tcp(StreamLimits(opened=1, strangers_per_address=2, message_seconds=0.4))
    fars = [await FarEnd.at() for _ in range(4)]
    gone = Flow("tcp", endpoint.local, ("127.0.0.1", 9), 10**9)
    for far in fars[:3]:
        endpoint.send(response(f"h:{far.address[1]}"), gone)
    assert len(endpoint) == 3
    endpoint.send(OPTIONS, towards(endpoint, fars[3].address))
    await until(lambda: all(far.heard and far.heard[0] for far in fars[1:]))
    await until(lambda: endpoint.closed == {Cause.EVICTED: 1, Cause.IDLE: 2})
    assert len(endpoint) == 1
    for far in fars:
        await far.close()


async def test_a_response_that_finds_no_way_is_counted(stage: Stage) -> None:
    endpoint = stage.tcp()
    gone = Flow("tcp", endpoint.local, ("127.0.0.1", 9), 10**9)
    endpoint.send(b"SIP/2.0 200 OK\r\n\r\n", gone)
    assert endpoint.unsent == 1
    await asyncio.sleep(0)
    assert stage.closed == []


async def test_a_request_without_its_connection_fails(stage: Stage) -> None:
    endpoint = stage.tcp()
    gone = Flow("tcp", endpoint.local, ("127.0.0.1", 9), 10**9)
    endpoint.send(OPTIONS, gone)
    assert stage.closed == []
    await until(lambda: stage.closed == [gone])


async def test_a_connection_that_a_peer_opened_leads_back_to_its_port(stage: Stage) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    endpoint.send(OPTIONS, towards(endpoint, ("127.0.0.1", peer.port)))
    assert await peer.hear(len(OPTIONS)) == OPTIONS
    assert len(endpoint) == 1


# --- limits ---------------------------------------------------------------------------------------------


async def test_one_address_has_its_share_and_the_silent_make_room(stage: Stage) -> None:
    endpoint = stage.tcp(StreamLimits(known_per_address=3))
    stage.react = stage.answer
    speaking = [await Peer.to(endpoint) for _ in range(2)]
    for peer in speaking:
        peer.say(OPTIONS)
        await peer.hear(len(response()))
    silent = await Peer.to(endpoint)
    last = await Peer.to(endpoint)
    last.say(OPTIONS)
    assert await last.hear(len(response())) == response()
    assert await silent.hear_end() == b""
    assert await (await Peer.to(endpoint)).hear_end() == b""
    await until(lambda: endpoint.closed == {Cause.EVICTED: 1})
    assert endpoint.refused == 1
    for peer in speaking:
        peer.say(OPTIONS)
        assert await peer.hear(len(response())) == response()


async def test_who_leaves_makes_room(stage: Stage) -> None:
    endpoint = stage.tcp(StreamLimits(known_per_address=2))
    stage.react = stage.answer
    for _ in range(5):
        peer = await Peer.to(endpoint)
        peer.say(OPTIONS)
        assert await peer.hear(len(response())) == response()
        peer.leave()
        await until(lambda: len(endpoint) == 0)
    assert endpoint.refused == 0


async def test_strangers_cannot_keep_peers_out(stage: Stage) -> None:
    stage.known = lambda host: host != "127.0.0.9"
    stage.react = stage.answer
    endpoint = stage.tcp(StreamLimits(strangers=4, strangers_per_address=4, known=2))
    strangers = [await Peer.to(endpoint, local_addr=("127.0.0.9", 0)) for _ in range(4)]
    for stranger in strangers:
        stranger.say(OPTIONS)
        await stranger.hear(len(response()))
    late = await Peer.to(endpoint, local_addr=("127.0.0.9", 0))
    assert await late.hear_end() == b""
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    assert await peer.hear(len(response())) == response()


async def test_two_thousand_idle_connections_disturb_nobody_and_are_closed(stage: Stage) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * CROWD:
        pytest.skip(f"needs {3 * CROWD} open files, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * CROWD), hard))
    stage.known = lambda host: host == "127.0.0.1"
    stage.react = stage.answer
    limits = StreamLimits(known=CROWD, known_per_address=CROWD)
    endpoint = stage.tcp(limits)
    before = memory()
    crowd = [socket.socket() for _ in range(CROWD)]
    for number, idle in enumerate(crowd):
        idle.setblocking(False)
        idle.connect_ex(endpoint.local)
        if number % 200 == 0:
            await asyncio.sleep(0.01)
    await until(lambda: len(endpoint) == CROWD)
    assert memory() - before < CROWD * 12_000
    caller = await Peer.to(endpoint)  # one more than there is room for
    async with Stopwatch() as watch:
        caller.say(OPTIONS)
        assert await caller.hear(len(response())) == response()
    assert watch.seconds < 5.0
    await until(lambda: endpoint.closed == {Cause.EVICTED: 1})
    stage.pass_by(limits.idle_seconds)
    await until(lambda: endpoint.closed.get(Cause.IDLE, 0) >= CROWD - 1)
    assert stage.closed == []
    for idle in crowd:
        idle.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_slow_senders_do_not_delay_the_others(stage: Stage) -> None:
    endpoint = stage.tcp(StreamLimits(message_seconds=0.5))
    stage.react = stage.answer
    slow = [await Peer.to(endpoint) for _ in range(50)]
    for peer in slow:
        peer.say(OPTIONS[:-1])
    caller = await Peer.to(endpoint)
    for _ in range(50):
        caller.say(OPTIONS)
        assert await caller.hear(len(response())) == response()
    await until(lambda: endpoint.closed == {Cause.SLOW: 50})
    caller.say(OPTIONS)
    assert await caller.hear(len(response())) == response()


async def test_a_body_that_is_only_announced_takes_no_memory(stage: Stage) -> None:
    endpoint = stage.tcp(StreamLimits(body_bytes=64_000_000))
    warm = await Peer.to(endpoint)
    warm.say(OPTIONS)
    await until(lambda: stage.messages)
    before = memory()
    peers = [await Peer.to(endpoint) for _ in range(50)]
    for length, peer in zip([60_000_000] * 25 + [4_294_967_295] * 25, peers, strict=True):
        peer.say(OPTIONS.replace(b"Content-Length: 0", b"Content-Length: %d" % length))
    await until(lambda: sum(connection._mid_message for connection in endpoint._all) == 25)
    await until(lambda: stage.counters.malformed == {"size": 25})
    assert memory() - before < 5_000_000


async def test_an_exhausted_system_is_waited_for(stage: Stage) -> None:
    endpoint = stage.tcp()
    stage.react = stage.answer
    caller = socket.socket()
    caller.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
    highest = max(taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    spare = []
    try:
        while True:
            try:
                spare.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        caller.connect_ex(endpoint.local)
        await until(lambda: endpoint._pause is not None)
        assert len(endpoint) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in (*taken, *spare):
            os.close(number)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(caller, OPTIONS)
    await until(lambda: stage.messages == [OPTIONS])
    caller.close()


# --- the end --------------------------------------------------------------------------------------------


async def test_close_sends_what_waits_and_tells_nothing(stage: Stage) -> None:
    endpoint, far = stage.tcp(), await FarEnd.at()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    endpoint.send(OPTIONS, towards(endpoint, far.address))
    await until(lambda: far.heard)
    last = request(body=b"x" * 50_000)
    endpoint.send(last, stage.flows[0])
    await endpoint.close()
    assert await peer.hear_end() == last
    assert len(endpoint) == 0
    assert stage.closed == []
    with pytest.raises(ConnectionRefusedError):
        await Peer.to(endpoint)
    await endpoint.close()
    await far.close()


async def test_close_does_not_wait_for_who_does_not_read_or_answer(stage: Stage) -> None:
    endpoint = stage.tcp(StreamLimits(unread_bytes=100_000_000))
    far = await FarEnd.at(mute=True)
    flow = towards(endpoint, far.address)
    for _ in range(200):
        endpoint.send(request(body=b"x" * 60_000), flow)
    await until(lambda: far.peers)
    async with Stopwatch() as watch:
        await endpoint.close()
    assert watch.seconds < 3.0
    assert len(endpoint) == 0
    await far.close()


async def test_close_while_connections_are_on_their_way(stage: Stage) -> None:
    endpoint, far = stage.tcp(), await FarEnd.at()
    endpoint.send(OPTIONS, towards(endpoint, far.address))
    peer = socket.socket()
    peer.setblocking(False)
    peer.connect_ex(endpoint.local)
    endpoint._accept()
    assert len(endpoint) == 2
    await endpoint.close()
    assert len(endpoint) == 0
    peer.close()
    await far.close()


async def test_a_port_that_is_taken_is_refused_at_once(stage: Stage) -> None:
    endpoint = stage.tcp()
    with pytest.raises(OSError, match="in use"):
        TcpEndpoint(*endpoint.local, stage.took, stage.closed.append, stage.counters)


async def test_who_is_known_no_more_has_to_go_unless_a_call_counts_on_it(stage: Stage) -> None:
    endpoint = stage.tcp()
    peers = [await Peer.to(endpoint) for _ in range(2)]
    for peer in peers:
        peer.say(OPTIONS)
    await until(lambda: len(stage.flows) == 2)
    endpoint.forget_peers()
    assert len(endpoint) == 2
    stage.known = lambda host: False
    stage.in_use = lambda flow: flow == stage.flows[0]
    endpoint.forget_peers()
    await until(lambda: endpoint.closed == {Cause.FORGOTTEN: 1})
    endpoint.send(response(), stage.flows[0])
    in_use = next(peer for peer in peers if peer.port == stage.flows[0].remote[1])
    assert await in_use.hear(len(response())) == response()
