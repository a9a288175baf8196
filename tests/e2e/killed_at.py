"""The program, killed (as by kill -9) at a stated moment of its first call: `killed_at MOMENT ARGUMENT...`

A moment is `WHAT:WHEN`. Of a verb of the ledger WHEN is `before` it is sent, when it was just `sent`, or when
it is `answered` and nothing is done about it yet. Of a message it is `before` or `after` it is sent; a
response is named with its method, as in `200-BYE`.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any

from proxy.ledger.answers import Asking
from proxy.ledger.connection import Command, PipelinedConnection
from proxy.ledger.outbox import Outbox
from proxy.ledger.requests import Requests
from proxy.server import SipServer
from proxy.sip.message import Flow


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_verb(verb: str, when: str) -> None:
    """Die around a command of the ledger."""
    send, flush = PipelinedConnection.send, PipelinedConnection.flush
    written: list[Command] = []

    def sending(self: PipelinedConnection, command: Command) -> None:
        if command.verb == verb and when == "before":
            die()
        send(self, command)
        if command.verb == verb and when == "sent":
            written.append(command)

    def flushing(self: PipelinedConnection) -> None:
        flush(self)
        if written:
            die()

    PipelinedConnection.send = sending  # type: ignore[method-assign]
    PipelinedConnection.flush = flushing  # type: ignore[method-assign]
    for sink in (Asking, Outbox, Requests) if when == "answered" else ():
        _die_on_answer(sink, verb)


def _die_on_answer(sink: Any, verb: str) -> None:
    replied = sink.replied

    def answering(self: Any, command: Command, reply: object) -> None:
        if command.verb == verb:
            die()
        replied(self, command, reply)

    sink.replied = answering


def at_message(name: str, when: str) -> None:
    """Die around a message on the wire."""
    send = SipServer._send
    start, _, method = name.partition("-")

    def fits(data: bytes) -> bool:
        if not method:
            return data.startswith(start.encode() + b" ")
        return data.startswith(b"SIP/2.0 " + start.encode()) and b" " + method.encode() + b"\r\n" in data

    def sending(self: SipServer, data: bytes, flow: Flow) -> None:
        if not fits(data):
            send(self, data, flow)
            return
        if when == "after":
            send(self, data, flow)
        die()

    SipServer._send = sending  # type: ignore[method-assign]


if __name__ == "__main__":
    what, _, moment = sys.argv[1].partition(":")
    (at_verb if what.islower() else at_message)(what, moment)
    sys.argv = ["trunkwarden", *sys.argv[2:]]
    runpy.run_module("proxy.cli", run_name="__main__")
