"""The pipelining connection against a server that the test plays itself, byte by byte."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio.connection import UnixDomainSocketConnection

from proxy.ledger.connection import Command, PipelinedConnection
from proxy.ledger.lua import Script
from proxy.ledger.resp import ServerError, command
from tests.ledger.servers import PATIENT, Stopwatch, until

PING = command(b"PING")
SCRIPT = Script("verb", "return 1")


class Log:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[object, object]] = []

    def replied(self, sent: Command, reply: object) -> None:
        self.events.append((sent.item, reply))
        if sent.item == "broken":
            raise RuntimeError("not the connection's fault")

    def lost(self, sent: Command, kind: str) -> None:
        self.replied(sent, kind)


class Peer:
    """The server's side: what it read, write by write, and its writer."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        while data := await reader.read(1 << 20):
            self.reads.append(data)
        writer.close()

    def say(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)


class Timer:
    def __init__(self, when: float, callback: Callable[..., None], args: tuple[object, ...]) -> None:
        self.when = when
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """The loop as a connection knows it, with a time that passes only when the test says so."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.call_soon, self.call_later = loop.call_soon, loop.call_later
        self._now = 0.0
        self._timers: list[Timer] = []

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[..., None], *args: object) -> Timer:
        self._timers.append(Timer(when, callback, args))
        return self._timers[-1]

    def pass_by(self, seconds: float) -> None:
        self._now += seconds
        for one in [one for one in self._timers if one.when <= self._now and not one.cancelled]:
            self._timers.remove(one)
            one.callback(*one.args)


class Link:
    """Both ends."""

    def __init__(self, connection: PipelinedConnection, peer: Peer) -> None:
        self.connection = connection
        self.peer = peer
        self.log = Log()
        self.lost: list[str] = []
        self.seconds: list[tuple[str, float]] = []

    def send(self, item: object, script: Script | None = None) -> None:
        sent = Command("verb", script, 3 if script else 0, b"" if script else PING, self.log, item)
        self.connection.send(sent)


@pytest.fixture
async def link(folder: Path) -> AsyncIterator[Link]:
    """With a deadline that a busy machine keeps."""
    async with linked(folder, PATIENT) as made:
        yield made


@asynccontextmanager
async def linked(folder: Path, deadline: float) -> AsyncIterator[Link]:
    peer = Peer()
    server = await asyncio.start_unix_server(peer.serve, folder / "s")
    opened = UnixDomainSocketConnection(path=str(folder / "s"), protocol=2, driver_info=None)
    await opened.connect()
    made: list[Link] = []
    connection = PipelinedConnection(
        opened,
        deadline=deadline,
        on_lost=lambda _, kind: made[0].lost.append(kind),
        on_reply=lambda verb, seconds: made[0].seconds.append((verb, seconds)),
    )
    made.append(Link(connection, peer))
    try:
        yield made[0]
    finally:
        connection.close()
        server.close()


async def test_one_write_for_all_commands_of_a_turn(link: Link) -> None:
    for n in range(100):
        link.send(n)
    await until(lambda: bool(link.peer.reads))
    assert link.peer.reads == [PING * 100]
    assert len(link.connection) == 100
    link.peer.say(b"".join(b":%d\r\n" % n for n in range(100)))
    await until(lambda: len(link.log.events) == 100)
    assert link.log.events == [(n, n) for n in range(100)]
    assert all(verb == "verb" and 0 <= seconds < PATIENT for verb, seconds in link.seconds)


async def test_replies_in_pieces(link: Link) -> None:
    for n in range(3):
        link.send(n)
    await until(lambda: bool(link.peer.reads))
    for byte in b"$2\r\nab\r\n*2\r\n:1\r\n$-1\r\n-OOM full\r\n":
        link.peer.say(bytes([byte]))
        await asyncio.sleep(0)
    await until(lambda: len(link.log.events) == 3)
    assert link.log.events[:2] == [(0, b"ab"), (1, [1, None])]
    error = link.log.events[2][1]
    assert isinstance(error, ServerError)
    assert error.code == "OOM"


async def test_a_forgotten_script_is_sent_whole_once(link: Link) -> None:
    link.send("a", SCRIPT)
    await until(lambda: bool(link.peer.reads))
    assert link.peer.reads[0].startswith(b"*3\r\n$7\r\nEVALSHA\r\n$40\r\n" + SCRIPT.digest)
    link.peer.say(b"-NOSCRIPT No matching script.\r\n")
    await until(lambda: len(link.peer.reads) == 2)
    assert link.peer.reads[1] == b"*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n"
    assert link.log.events == []
    link.peer.say(b"-NOSCRIPT again\r\n")
    await until(lambda: len(link.log.events) == 1)
    assert isinstance(link.log.events[0][1], ServerError)


async def test_no_reply_within_the_deadline(folder: Path) -> None:
    async with linked(folder, 1.2) as link:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with Stopwatch() as watch:
            for n in range(3):
                link.send(n)
            await until(lambda: bool(link.peer.reads))
            link.peer.say(b":0\r\n")
            await until(lambda: len(link.log.events) == 3)
        assert loop.time() - start >= 1.19
        assert watch.seconds < 6.0
        assert link.log.events == [(0, 0), (1, "timeout"), (2, "timeout")]
        assert link.lost == ["timeout"]
        assert link.connection.lost


async def test_a_process_that_was_stopped_reads_what_came_before_it_gives_up(folder: Path) -> None:
    async with linked(folder, 1.2) as link:
        clock = link.connection._loop = Clock()  # type: ignore[assignment]
        for item in ("answered", "late"):
            link.send(item)
            await until(lambda: len(link.peer.reads) > len(link.log.events))
            clock.pass_by(1.25)
            if item == "answered":
                link.peer.say(b":0\r\n")
                await until(lambda: len(link.log.events) == 1)
            clock.pass_by(0.0)
        assert link.log.events == [("answered", 0), ("late", "timeout")]
        assert link.lost == ["timeout"]


async def test_replies_in_time_keep_it_open_past_the_first_deadline(folder: Path) -> None:
    async with linked(folder, 1.2) as link:
        clock = link.connection._loop = Clock()  # type: ignore[assignment]
        for n in range(6):
            link.send(n)
            await until(lambda n=n: b"".join(link.peer.reads) == PING * (n + 1))  # type: ignore[misc]
            clock.pass_by(0.25)
            link.peer.say(b":%d\r\n" % n)
            await until(lambda n=n: len(link.log.events) == n + 1)  # type: ignore[misc]
        clock.pass_by(1.25)
        assert link.lost == []
        assert [reply for _, reply in link.log.events] == list(range(6))


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n", b":1\r\n:2\r\n"])
async def test_what_no_server_says_ends_it(link: Link, garbage: bytes) -> None:
    link.send("a")
    await until(lambda: bool(link.peer.reads))
    link.peer.say(garbage)
    await until(lambda: link.connection.lost)
    assert link.lost == ["connection"]
    assert len(link.log.events) == 1


async def test_the_peer_hangs_up(link: Link) -> None:
    link.send("a")
    await until(lambda: bool(link.peer.reads))
    assert link.peer.writer is not None
    link.peer.writer.close()
    await until(lambda: link.connection.lost)
    assert link.log.events == [("a", "connection")]
    link.connection.close()
    assert link.lost == ["connection"]


async def test_trouble_of_one_is_not_the_others(link: Link) -> None:
    for item in ("broken", "whole"):
        link.send(item)
    await until(lambda: bool(link.peer.reads))
    link.peer.say(b":1\r\n:2\r\n")
    await until(lambda: len(link.log.events) == 2)
    assert not link.connection.lost
    link.send("broken")
    link.send("whole")
    link.connection.close()
    assert link.log.events[2:] == [("broken", "connection"), ("whole", "connection")]


async def test_many_replies_at_once_leave_turns_for_others(link: Link) -> None:
    for number in range(1000):
        link.send(number)
    await until(lambda: b"".join(link.peer.reads).count(PING) == 1000)
    link.peer.say(b"+PONG\r\n" * 1000)
    seen: list[int] = []
    loop = asyncio.get_running_loop()

    def other_work() -> None:
        seen.append(len(link.log.events))
        if seen[-1] < 1000:
            loop.call_soon(other_work)

    loop.call_soon(other_work)
    await until(lambda: len(link.log.events) == 1000)
    assert [item for item, _ in link.log.events] == list(range(1000))
    assert max(b - a for a, b in itertools.pairwise(seen)) <= 32
    link.send("after")
    await until(lambda: len(link.peer.reads) > 1)
    link.peer.say(b"+PONG\r\n")
    await until(lambda: len(link.log.events) == 1001)


async def test_rubbish_behind_many_replies_is_seen(link: Link) -> None:
    for number in range(40):
        link.send(number)
    await until(lambda: b"".join(link.peer.reads).count(PING) == 40)
    link.peer.say(b"+PONG\r\n" * 36 + b"rubbish\r\n")
    await until(lambda: link.lost == ["connection"])
    assert [reply for _, reply in link.log.events[-5:]] == [b"PONG", *["connection"] * 4]


async def test_what_nobody_waits_for_leaves_with_the_next_write(link: Link) -> None:
    for _ in range(10):  # now and then a busy machine lets the milliseconds pass that it would wait for more
        link.peer.reads.clear()
        link.send(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        link.send(1)
        link.connection.flush()
        await until(lambda: b"".join(link.peer.reads) == PING * 2)
        if link.peer.reads == [PING * 2]:
            break
    assert link.peer.reads == [PING * 2]


async def test_left_to_itself_a_command_leaves_within_milliseconds(link: Link) -> None:
    link.send(0)
    await until(lambda: bool(link.peer.reads))
    assert link.peer.reads == [PING]
    link.send(1)
    link.connection.flush_soon()
    link.connection.flush_soon()
    link.send(2)
    await until(lambda: len(link.peer.reads) > 1)
    assert link.peer.reads == [PING, PING * 2]
