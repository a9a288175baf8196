"""One connection that pipelines by itself: commands leave together, in one write.

What somebody waits for leaves at once or at the end of the turn, and takes with it what nobody waits for;
left to itself, that leaves within milliseconds. Each write costs a turn of the event loop for its answer.

redis-py opens it (address, TLS, authentication, database) and hands its transport over; from then on replies
are read by hiredis and given to whoever sent the command, in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import hiredis
from redis.asyncio.connection import AbstractConnection

from proxy.ledger.lua import Script
from proxy.ledger.resp import ELSEWHERE, ServerError, error_kind

_MORE: Final = object()
_UNSENT: Final = -1.0
# Replies dealt with in one turn of the event loop: what follows an answer is work, and a server that was slow
# answers many at once.
_REPLIES: Final = 32

LINGER_SECONDS: Final = 0.005
"""How long a command that nobody waits for may wait for others to leave with."""

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Who wants to know what became of a command."""

    def replied(self, command: Command, reply: object) -> None:
        """The server answered: `reply` is a value or a ServerError."""
        ...

    def lost(self, command: Command, kind: str) -> None:
        """The connection ended first: whether the command took effect is unknown. `kind` as in
        LedgerUnavailable."""
        ...


class Command:
    """A command on its way: `tail` are the encoded arguments after the script's name, `count` how many there
    are in all.

    Without a script `tail` is the whole command. `item` belongs to the sink.
    """

    __slots__ = ("count", "item", "script", "sent_at", "sink", "tail", "verb", "whole")

    def __init__(
        self, verb: str, script: Script | None, count: int, tail: bytes, sink: Sink, item: object
    ) -> None:
        self.verb = verb
        self.script = script
        self.count = count
        self.tail = tail
        self.sink = sink
        self.item = item
        self.whole = False
        self.sent_at = _UNSENT

    def encoded(self) -> bytes:
        script = self.script
        if script is None:
            return self.tail
        name = script.whole if self.whole else script.by_digest
        return b"*%d\r\n%b%b" % (self.count, name, self.tail)


class PipelinedConnection(asyncio.Protocol):
    """One life of a connection, from the take-over to its end, which `on_lost(self, kind)` tells once.

    `deadline` in seconds bounds the time from sending a command to its reply. Replies come in order, so one
    timer on the oldest command watches all; when it is late, what happened is unknown and the connection is
    given up. Where the ledger `moves` from server to server, so is one to a server that does not have it now.
    """

    def __init__(
        self,
        opened: AbstractConnection,
        *,
        deadline: float,
        on_lost: Callable[[PipelinedConnection, str], None],
        on_reply: Callable[[str, float], None],
        moves: bool = False,
    ) -> None:
        writer, reader = opened._writer, opened._reader
        if writer is None or reader is None:
            raise ConnectionError("the connection is not open")
        # redis-py's objects close the socket when they are collected, so they live as long as we do.
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = writer.transport  # type: ignore[assignment]
        self._deadline = deadline
        self._on_lost = on_lost
        self._on_reply = on_reply
        self._moves = moves
        self._reader = hiredis.Reader(replyError=ServerError, notEnoughData=_MORE)
        self._pending: deque[Command] = deque()
        self._out: list[Command] = []
        self._soon = False
        self._late: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._lost: str | None = None
        self._unread = False
        self._transport.set_protocol(self)
        if not self._transport.is_reading():
            self._transport.resume_reading()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def lost(self) -> bool:
        return self._lost is not None

    def send(self, command: Command) -> None:
        """Put a command into the next write. Only while the connection lives."""
        command.sent_at = _UNSENT
        self._out.append(command)
        self._pending.append(command)
        if self._late is None:
            self._late = self._loop.call_later(LINGER_SECONDS, self._flush_late)

    def close(self, kind: str = "connection") -> None:
        """End it now; every command without a reply is lost."""
        if self._lost is not None:
            return
        self._lost = kind
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._late is not None:
            self._late.cancel()
            self._late = None
        self._transport.abort()
        self._opened._reader = self._opened._writer = None
        self._out.clear()
        pending, self._pending = self._pending, deque()
        self._on_lost(self, kind)
        for command in pending:
            try:
                command.sink.lost(command, kind)
            except Exception:
                _log.exception("what followed the loss of `%s` failed", command.verb)

    def flush(self) -> None:
        """Write now what was sent."""
        out = self._out
        if out and self._lost is None:
            now = self._loop.time()
            for command in out:
                command.sent_at = now
            data = b"".join([command.encoded() for command in out])
            out.clear()
            if self._watch is None:
                self._watch = self._loop.call_at(now + self._deadline, self._check_deadline)
            self._transport.write(data)

    def flush_soon(self) -> None:
        """Write it at the end of this turn, with what else is sent in it."""
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._soon = False
        self.flush()

    def _flush_late(self) -> None:
        self._late = None
        self.flush()

    def _check_deadline(self, looked_again: bool = False) -> None:
        self._watch = None
        if not self._pending or self._pending[0].sent_at == _UNSENT:
            return
        due = self._pending[0].sent_at + self._deadline
        now = self._loop.time()
        if self._unread:
            self._watch = self._loop.call_at(now + self._deadline, self._check_deadline)
        elif due > now:
            self._watch = self._loop.call_at(due, self._check_deadline)
        elif looked_again:
            self.close("timeout")
        else:
            # A process that was stopped finds its timers due before it has read what came meanwhile.
            self._watch = self._loop.call_at(now, self._check_deadline, True)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except hiredis.HiredisError:
            self.close("connection")
            return
        if not self._unread:
            self._take_replies()

    def _take_replies(self) -> None:
        """Hand over what has come, as much as fits into one turn."""
        self._unread = False
        if self._lost is not None:
            return
        gets = self._reader.gets
        pending = self._pending
        room = _REPLIES
        try:
            reply: object = gets()
            while reply is not _MORE:
                if not pending:
                    break
                room -= 1
                command = pending.popleft()
                if isinstance(reply, ServerError) and self._again(command, reply):
                    reply = gets()
                    continue
                self._on_reply(command.verb, self._loop.time() - command.sent_at)
                try:
                    command.sink.replied(command, reply)
                except Exception:
                    # One call's trouble is not the others': asyncio would close the connection over it.
                    _log.exception("what followed the answer to `%s` failed", command.verb)
                if self._moves and isinstance(reply, ServerError) and reply.code in ELSEWHERE:
                    self.close(error_kind(reply))
                if self._lost is not None:
                    return
                if room <= 0:
                    self._unread = True
                    self._loop.call_soon(self._take_replies)
                    return
                reply = gets()
        except hiredis.HiredisError:
            reply = None
        if reply is not _MORE:
            # Not what a server says to a client: nothing after it can be trusted.
            self.close("connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self.close("connection")

    def eof_received(self) -> bool:
        return False

    def _again(self, command: Command, error: ServerError) -> bool:
        """A server that has forgotten a script gets it whole, once."""
        if command.script is None or command.whole or error.code != "NOSCRIPT":
            return False
        command.whole = True
        self.send(command)
        self.flush_soon()
        return True
