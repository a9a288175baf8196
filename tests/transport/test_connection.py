"""One connection: what it may take of us in time and memory, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from proxy.sip.message import Flow
from proxy.transport.connection import LINGER_SECONDS, MOST_PINGS, Cause
from proxy.transport.limits import StreamLimits
from tests.ledger.servers import Stopwatch, until
from tests.transport.stage import Peer, Stage, request, response

PATIENT = StreamLimits(message_seconds=0.3)
MESSAGE, IDLE = StreamLimits().message_seconds, StreamLimits().idle_seconds
OPTIONS = request()


async def keep_saying(peer: Peer, data: bytes, pause: float) -> None:
    """Say `data` again and again, until the other side has had enough."""
    try:
        while not peer.writer.is_closing():
            peer.say(data)
            await peer.writer.drain()
            await asyncio.sleep(pause)
    except ConnectionError:
        pass


async def test_a_message_may_be_split_at_every_byte(stage: Stage) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    whole = request(body=b"v=0\r\n\r\n")
    for at in range(1, len(whole)):
        peer.say(whole[:at])
        await asyncio.sleep(0)
        peer.say(whole[at:])
    await until(lambda: len(stage.messages) == len(whole) - 1)
    assert set(stage.messages) == {whole}
    assert len(set(stage.flows)) == 1


async def test_a_message_may_come_byte_by_byte(stage: Stage) -> None:
    peer = await Peer.to(stage.tcp())
    for byte in OPTIONS:
        peer.say(bytes((byte,)))
        await asyncio.sleep(0)
    await until(lambda: stage.messages == [OPTIONS])


async def test_pipelined_messages_come_as_one_batch_and_are_answered_on_the_connection(stage: Stage) -> None:
    endpoint = stage.tcp()
    stage.react = stage.answer
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS + request(body=b"x" * 100) + OPTIONS)
    assert await peer.hear(3 * len(response())) == 3 * response()
    assert [len(batch) for batch in stage.batches] == [3]
    flow = stage.flows[0]
    assert flow == Flow("tcp", endpoint.local, ("127.0.0.1", peer.port), flow.connection)
    assert flow.connection > 0


async def test_ping_is_answered_by_pong(stage: Stage) -> None:
    peer = await Peer.to(stage.tcp())
    peer.say(b"\r\n\r\n")
    assert await peer.hear(2) == b"\r\n"
    peer.say(OPTIONS + b"\r\n")
    await until(lambda: stage.messages == [OPTIONS])
    peer.say(b"\r\n\r\n\r\n")
    assert await peer.hear(4) == b"\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "cause", "status"),
    [
        (OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 4294967301"), "content_length", b"400"),
        (OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 4000000000"), "size", b"513"),
        (OPTIONS.replace(b"Content-Length: 0", b"Content-Length: +5"), "content_length", b"400"),
        (OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 0x5"), "content_length", b"400"),
        (OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 5,5"), "content_length", b"400"),
        (OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 5\r\nl: 6"), "content_length", b"400"),
        (OPTIONS.replace(b"Content-Length: 0\r\n", b""), "content_length", b"400"),
        (OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 65537"), "size", b"513"),
        (OPTIONS.replace(b"From:", b"X: " + b"x" * 17000 + b"\r\nFrom:"), "size", b"513"),
        (OPTIONS.replace(b"sip:h", b"sip:" + b"9" * 17000), "uri_length", b"414"),
        (b"OPTIONS sip:" + b"9" * 17000, "uri_length", None),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "not_sip", None),
        (b"\x16\x03\x01\x00\x05", "not_sip", None),
        (response().replace(b"Content-Length: 0", b"Content-Length: x"), "content_length", None),
    ],
)
async def test_a_spoilt_stream_is_answered_and_closed(
    stage: Stage, data: bytes, cause: str, status: bytes | None
) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    await until(lambda: stage.messages)
    peer.say(data + b"v=0\r\n")
    heard = await peer.hear_end()
    if status is None:
        assert heard == b""
    else:
        assert heard.startswith(b"SIP/2.0 " + status + b" ")
        assert heard.count(b"SIP/2.0 ") == 1
        assert heard.endswith(b"Content-Length: 0\r\n\r\n")
    assert stage.messages == [OPTIONS]
    assert stage.counters.malformed == {cause: 1}
    peer.leave()
    await until(lambda: endpoint.closed == {Cause.MALFORMED: 1})
    sent = sum(stage.counters.messages.values())
    assert sent == (0 if status is None else 1)


async def test_the_last_word_is_heard_by_a_peer_that_goes_on_talking(stage: Stage) -> None:
    peer = await Peer.to(stage.tcp())
    peer.say(OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 500000"))
    await until(lambda: stage.counters.malformed)
    for _ in range(5):
        await asyncio.sleep(0.01)
        peer.say(b"x" * 100_000)
        await peer.writer.drain()
    assert (await peer.hear_end()).startswith(b"SIP/2.0 513 ")


async def test_who_talks_on_for_ever_is_cut_off(stage: Stage) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS.replace(b"Content-Length: 0", b"Content-Length: x"))
    async with Stopwatch() as watch:
        await keep_saying(peer, b"x" * 65536, 0)
        await until(lambda: endpoint.closed == {Cause.MALFORMED: 1})
    assert watch.seconds < LINGER_SECONDS / 2


async def test_who_does_not_hang_up_is_hung_up_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.transport.connection.LINGER_SECONDS", 50.0)
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS.replace(b"Content-Length: 0", b"Content-Length: x"))
    assert await peer.hear_end()
    stage.pass_by(40.0)
    assert len(endpoint) == 1
    stage.pass_by(11.0)
    await until(lambda: endpoint.closed == {Cause.MALFORMED: 1})


async def test_a_message_has_to_be_whole_in_time_however_it_drips(stage: Stage) -> None:
    endpoint = stage.tcp(PATIENT)
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    begun = asyncio.get_running_loop().time()
    async with Stopwatch() as watch:
        peer.say(OPTIONS[:50])
        await keep_saying(peer, b"x", 0.02)
    assert asyncio.get_running_loop().time() - begun > 0.29
    assert watch.seconds < 5.0
    await until(lambda: endpoint.closed == {Cause.SLOW: 1})
    assert stage.messages == [OPTIONS]


async def test_every_message_has_to_be_whole_in_time(stage: Stage) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS[:50])
    await until(stage.mid_message)
    stage.pass_by(0.6 * MESSAGE)
    peer.say(OPTIONS[50:] + OPTIONS[:50])
    await until(lambda: stage.messages)
    stage.pass_by(0.6 * MESSAGE)
    assert len(endpoint) == 1
    stage.pass_by(0.5 * MESSAGE)
    assert await peer.hear_end() == b""
    await until(lambda: endpoint.closed == {Cause.SLOW: 1})


async def test_the_clock_of_a_message_starts_with_its_own_first_byte(stage: Stage) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS[:20])
    await until(stage.mid_message)
    for sent in range(1, 6):
        stage.pass_by(0.6 * MESSAGE)
        peer.say(OPTIONS[20:] + OPTIONS[:20])
        await until(lambda sent=sent: len(stage.messages) == sent)
    assert endpoint.closed == {}
    assert len(endpoint) == 1


async def test_silence_has_a_limit_and_pings_break_it(stage: Stage) -> None:
    endpoint = stage.tcp()
    silent, pinging = await Peer.to(endpoint), await Peer.to(endpoint)
    for peer in (silent, pinging):
        peer.say(OPTIONS)
    await until(lambda: len(stage.messages) == 2)
    for closed in ({}, {Cause.IDLE: 1}, {Cause.IDLE: 1}):
        stage.pass_by(0.6 * IDLE)
        pinging.say(b"\r\n\r\n")
        assert await pinging.hear(2) == b"\r\n"
        await until(lambda closed=closed: endpoint.closed == closed)
    assert await silent.hear_end() == b""
    assert len(endpoint) == 1


async def test_what_we_send_breaks_silence_too(stage: Stage) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    for _ in range(10):
        stage.pass_by(0.6 * IDLE)
        endpoint.send(response(), stage.flows[0])
    assert endpoint.closed == {}
    stage.pass_by(1.1 * IDLE)
    assert await peer.hear_end() == 10 * response()


async def test_a_connection_that_a_call_counts_on_is_kept(stage: Stage) -> None:
    endpoint = stage.tcp()
    kept = [True]
    asked: list[Flow] = []

    def in_use(flow: Flow) -> bool:
        asked.append(flow)
        return kept[0]

    stage.in_use = in_use
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    for count in (1, 2):
        stage.pass_by(1.1 * IDLE)
        assert asked == stage.flows * count
        assert len(endpoint) == 1
    kept[0] = False
    stage.pass_by(1.1 * IDLE)
    assert await peer.hear_end() == b""


async def test_strangers_get_little_time_whatever_they_ping(stage: Stage) -> None:
    stage.known = lambda host: False
    endpoint = stage.tcp(PATIENT)
    silent, pinging = await Peer.to(endpoint), await Peer.to(endpoint)
    async with Stopwatch() as watch:
        await keep_saying(pinging, b"\r\n\r\n", 0.05)
        await silent.hear_end()
    assert watch.seconds < 5.0
    await until(lambda: endpoint.closed == {Cause.IDLE: 2})


async def test_a_flood_of_pings_is_cut_off_and_others_are_served(stage: Stage) -> None:
    endpoint = stage.tcp()
    stage.react = stage.answer
    flood, other = await Peer.to(endpoint), await Peer.to(endpoint)
    await keep_saying(flood, b"\r\n\r\n" * 1000, 0)
    await until(lambda: endpoint.closed == {Cause.FLOOD: 1})
    other.say(b"\r\n\r\n" * MOST_PINGS + OPTIONS)
    assert (await other.hear(2 * MOST_PINGS + len(response()))).endswith(response())


async def test_who_does_not_read_is_closed(stage: Stage) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint, limit=1024)
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    big = request("INVITE", body=b"x" * 60_000)
    for _ in range(200):
        endpoint.send(big, stage.flows[0])
        if endpoint.unsent:
            break
    assert endpoint.unsent == 1
    assert stage.closed == []  # never from within send
    await until(lambda: set(stage.closed) == {stage.flows[0]})
    await until(lambda: endpoint.closed == {Cause.UNREAD: 1})


def leaves(peer: Peer) -> None:
    peer.leave()


def resets(peer: Peer) -> None:
    peer.reset()


def shuts_half(peer: Peer) -> None:
    peer.writer.write_eof()


@pytest.mark.parametrize("end", [leaves, resets, shuts_half])
@pytest.mark.parametrize("used", [True, False])
async def test_a_request_s_flow_is_told_when_the_peer_closes(
    stage: Stage, end: Callable[[Peer], None], used: bool
) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    endpoint.send(request() if used else response(), stage.flows[0])
    await peer.hear_message()
    end(peer)
    await until(lambda: endpoint.closed == {Cause.PEER: 1})
    assert stage.closed == (stage.flows if used else [])
    assert len(endpoint) == 0


async def test_dead_peers_are_noticed_by_the_system(stage: Stage) -> None:
    endpoint = stage.tcp()
    peer = await Peer.to(endpoint)
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    connection = endpoint._by_id[stage.flows[0].connection]
    assert connection._transport is not None
    raw = connection._transport.get_extra_info("socket")
    assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
