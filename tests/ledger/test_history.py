"""Three clients, each a process of its own, work on the same calls as fast as they can; what the server did,
in its own order (MONITOR), is then replayed against a model: every answer and every number must be its.

TRUNKWARDEN_LEDGER_HISTORY sets how many operations there are.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from proxy.ledger.ledger import Renewed
from proxy.ledger.lua import script
from tests.ledger.fleet import free_port
from tests.ledger.history import scopes_of
from tests.ledger.servers import Opener, Server, scope, until

OPERATIONS = int(os.environ.get("TRUNKWARDEN_LEDGER_HISTORY", "20000"))
CLIENTS = 3
LIMIT_SECONDS = 60 + OPERATIONS / 200
MARK = b"all-is-done"
_VERBS = {script(verb).digest.decode(): verb for verb in ("reserve", "renew", "settle")}
_LINE = re.compile(rb'^\+[\d.]+ \[0 127\.0\.0\.1:(\d+)\] "EVALSHA" "([0-9a-f]{40})" (.*)$')
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')


class Monitor:
    """Keeps what clients ask the server for, in the order in which it is done."""

    def __init__(self, port: int) -> None:
        self.lines: list[bytes] = []
        self._passed = False
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        left = b""
        while data := self._socket.recv(1 << 20):
            *lines, left = (left + data).split(b"\r\n")
            self._passed = self._passed or any(MARK in line for line in lines)
            self.lines += [line for line in lines if b'"EVALSHA"' in line and b"[0 lua]" not in line]

    async def tells_all(self, client: Redis) -> None:
        """Wait until it has told what the server did so far."""
        client.echo(MARK)
        await until(lambda: self._passed)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


class Model:
    """What the ledger should do with calls and money, without time: a page."""

    def __init__(self) -> None:
        self.live: dict[str, tuple[int, int]] = {}
        self.ended: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self.held: Counter[str] = Counter()

    @staticmethod
    def scopes(ref: str) -> tuple[object, ...]:
        number, at = map(int, ref[1:].split("-"))
        return scopes_of(number, "xy"[at % 2])

    def room(self, ref: str, more: int) -> str:
        """The first scope whose threshold has no room for so much more; empty when there is none."""
        for one in self.scopes(ref):
            if one.threshold is not None and self.spent[one.id] + self.held[one.id] + more > one.threshold:
                return one.id
        return ""

    def move(self, ref: str, calls: int, spent: int, held: int) -> None:
        for one in self.scopes(ref):
            self.calls[one.id] += calls
            self.spent[one.id] += spent
            self.held[one.id] += held

    def reserve(self, ref: str, hold: int) -> list[object]:
        if ref in self.live:
            return ["reserve", ref, "admitted", self.live[ref][1]]
        if ref in self.ended:
            return ["reserve", ref, "void", ""]
        for one in self.scopes(ref):
            if one.capacity_limit is not None and self.calls[one.id] >= one.capacity_limit:
                return ["reserve", ref, "CAPACITY", one.id]
        if full := self.room(ref, hold):
            return ["reserve", ref, "SPEND", full]
        self.live[ref] = (0, hold)
        self.move(ref, 1, 0, hold)
        return ["reserve", ref, "admitted", hold]

    def renew(self, ref: str, spent: int, hold: int) -> list[object]:
        if ref not in self.live:
            return ["renew", ref, Renewed.FENCED if ref in self.ended else Renewed.GONE]
        before, held = self.live[ref]
        moved = max(0, spent - before)
        kept = max(0, held - moved)
        granted = hold <= kept or not self.room(ref, moved + hold - held)
        hold = hold if granted else kept
        self.live[ref] = (before + moved, hold)
        self.move(ref, 0, moved, hold - held)
        return ["renew", ref, Renewed.GRANTED if granted else Renewed.NO_FUNDS]

    def settle(self, ref: str, cost: int) -> None:
        self.ended.add(ref)
        if ref in self.live:
            spent, held = self.live.pop(ref)
            self.move(ref, -1, max(0, cost - spent), -held)


def replay(lines: list[bytes], told: dict[int, deque[list[object]]]) -> tuple[Model, Counter[str]]:
    """The model after all that the server did; each answer that a client got is compared with the model's."""
    model, done = Model(), Counter[str]()
    for line in lines:
        found = _LINE.match(line)
        if found is None or int(found[1]) not in told:
            continue
        verb = _VERBS.get(found[2].decode())
        if verb is None:
            continue
        keys, *arguments = [one.decode() for one in _ARGUMENT.findall(found[3])]
        ref, *rest = arguments[int(keys) :]
        done[verb] += 1
        if verb == "reserve":
            expected = model.reserve(ref, int(rest[2]))
        elif verb == "renew":
            # owner, lease, one list of limits, then ref, epoch, spent, hold
            ref, spent, hold = rest[-5], int(rest[-3]), int(rest[-2])
            expected = model.renew(ref, spent, hold)
        else:
            model.settle(ref, int(rest[0]))
            continue
        assert told[int(found[1])].popleft() == expected, f"operation {sum(done.values())}"
    return model, done


@pytest.fixture(params=["redis", "valkey"])
def tcp_server(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Server, int]]:
    """On a port as well: MONITOR tells clients apart by theirs."""
    port = free_port()
    started = Server(request.param, folder, "--port", str(port), "--bind", "127.0.0.1")
    yield started, port
    started.kill()


async def client(port: int, folder: Path, seed: int) -> asyncio.subprocess.Process:
    arguments = (f"redis://127.0.0.1:{port}", str(folder), str(seed), str(OPERATIONS // 2 // CLIENTS))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.ledger.history", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        limit=1 << 24,
    )  # fmt: skip
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
    return process


@pytest.mark.timeout(LIMIT_SECONDS + 60)
async def test_the_servers_order_replayed(tcp_server: tuple[Server, int], opener: Opener) -> None:
    server, port = tcp_server
    ledger = await opener(server.url)
    for verb in ("reserve", "renew", "settle"):  # known to the server, so that each is one EVALSHA
        server.client().script_load(script(verb).source)
    monitor = Monitor(port)
    processes = [await client(port, server.folder, seed) for seed in range(CLIENTS)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
    async with asyncio.timeout(LIMIT_SECONDS):
        outputs = [await process.communicate() for process in processes]
    await monitor.tells_all(server.client())
    monitor.close()
    answers = [[json.loads(line) for line in out.splitlines()[:-1]] for out, _ in outputs]
    assert all(out.endswith(b"over\n") for out, _ in outputs)
    told = by_port(monitor.lines, answers)
    model, done = replay(monitor.lines, told)
    assert sum(done.values()) >= OPERATIONS // 2 - CLIENTS
    assert not any(told.values())
    outcomes = Counter(str(answer[2]) for out in answers for answer in out)
    assert set(outcomes) == {"admitted", "void", "CAPACITY", "SPEND", "granted", "no_funds", "gone", "fenced"}
    for name in sorted(model.calls):
        (usage,) = await ledger.usage([scope(name)])
        assert (usage.active_calls, usage.spent, usage.reserved) == (
            model.calls[name], model.spent[name], model.held[name]
        ), name  # fmt: skip
    assert {call.ref for call in await ledger.calls(100_000)} == set(model.live)


def by_port(lines: list[bytes], answers: list[list[list[object]]]) -> dict[int, deque[list[object]]]:
    """The answers of each client by the port that it spoke from: told by what it asked for first."""
    asked: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for line in lines:
        found = _LINE.match(line)
        verb = None if found is None else _VERBS.get(found[2].decode())
        if found is None or verb is None or verb == "settle" or len(asked[int(found[1])]) >= 20:
            continue
        keys, *arguments = [one.decode() for one in _ARGUMENT.findall(found[3])]
        rest = arguments[int(keys) :]
        asked[int(found[1])].append((verb, rest[0] if verb == "reserve" else rest[-5]))
    told = {}
    for port, first in asked.items():
        (fitting,) = [out for out in answers if [(one[0], one[1]) for one in out[: len(first)]] == first]
        told[port] = deque(fitting)
    assert len(told) == CLIENTS
    return told
