"""A way to the ledger that the test makes slow, or cuts: what is sent meanwhile arrives late, or when it is
whole again, as with a real network."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import cast

_START_SECONDS = 10.0


class SlowWay:
    """Listens on a unix socket of its own in front of the server's. `seconds` is what each direction takes;
    while `whole` is False, nothing passes. `most_held`: of the bytes that waited towards the server."""

    def __init__(self, server: Path) -> None:
        self.server = server
        self.socket = Path(tempfile.mkdtemp(prefix="tw-way-")) / "way.sock"
        self.url = f"unix://{self.socket}"
        self.seconds = 0.0
        self.whole = True
        self.held = 0
        self.most_held = 0
        self.lanes: list[_Lane] = []
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="way to the ledger", daemon=True)
        self._thread.start()
        assert self._listening.wait(_START_SECONDS)

    def cut(self) -> None:
        """From now on nothing passes."""
        self.whole = False

    def heal(self) -> None:
        """Everything passes, first what waited."""
        self.whole = True
        self._loop.call_soon_threadsafe(lambda: [lane.deliver() for lane in self.lanes])

    def close(self) -> None:
        """Carry nothing any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._loop.create_unix_server(lambda: _Near(self), str(self.socket)))
        self._listening.set()
        self._loop.run_forever()
        for lane in self.lanes:
            lane.sink.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


class _Lane:
    """One direction of one connection, in order."""

    def __init__(self, way: SlowWay, sink: asyncio.Transport, onward: bool) -> None:
        self.sink = sink
        self._way = way
        self._onward = onward
        self._waiting: deque[tuple[float, bytes]] = deque()
        way.lanes.append(self)

    def take(self, data: bytes) -> None:
        """b"" is the end."""
        way, loop = self._way, asyncio.get_running_loop()
        if self._onward:
            way.held += len(data)
            way.most_held = max(way.most_held, way.held)
        self._waiting.append((loop.time() + way.seconds, data))
        loop.call_at(loop.time() + way.seconds, self.deliver)

    def deliver(self) -> None:
        """What has waited long enough."""
        now = asyncio.get_running_loop().time()
        while self._way.whole and self._waiting and self._waiting[0][0] <= now:
            _, data = self._waiting.popleft()
            if self._onward:
                self._way.held -= len(data)
            if not data:
                self.sink.close()
            elif not self.sink.is_closing():
                self.sink.write(data)


class _End(asyncio.Protocol):
    """One end of a connection; what comes before it leads anywhere waits in `early`."""

    def __init__(self) -> None:
        self.lane: _Lane | None = None
        self.early: list[bytes] = []

    def leads(self, lane: _Lane) -> None:
        self.lane = lane
        for data in self.early:
            lane.take(data)

    def data_received(self, data: bytes) -> None:
        if self.lane is None:
            self.early.append(data)
        else:
            self.lane.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.data_received(b"")


class _Near(_End):
    """The program's end: its other end is at the server."""

    def __init__(self, way: SlowWay) -> None:
        super().__init__()
        self._way = way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        self._joining = loop.create_task(self._join(cast("asyncio.Transport", transport)))

    async def _join(self, near: asyncio.Transport) -> None:
        try:
            there, far = await asyncio.get_running_loop().create_unix_connection(_End, str(self._way.server))
        except OSError:
            near.close()
            return
        far.leads(_Lane(self._way, near, False))
        self.leads(_Lane(self._way, there, True))
