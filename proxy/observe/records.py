"""RecordWriter: decisions and call detail records as JSON lines in a file or on stdout."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

_log = logging.getLogger(__name__)

STDOUT = "-"
FLUSH_SECONDS = 0.2
CLOSE_SECONDS = 2.0
_MAX_WAITING_BYTES = 16 * 1024 * 1024

_Job = Callable[[], None]


class RecordWriter:
    """Appends lines to `path` ("-" is stdout). A thread of its own writes, so that neither a slow disk nor a
    paused reader ever stops a call.

    A line reaches the file at most 200 ms after `write`. Lines that cannot be written (a full disk, a reader
    of stdout that is gone, 16 MiB already waiting) are dropped and counted in `dropped`; calls go on.
    """

    def __init__(self, path: str) -> None:
        """Opens the file (created with mode 0640, only appended to). Raises the OSError that prevents it."""
        self._path = path
        self._file = _LineFile(path)
        self._lines: list[bytes] = []
        self._waiting = 0
        self._overflowed = 0
        self._timer: asyncio.TimerHandle | None = None
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # A daemon: a reader of stdout that stopped reading must not keep the program from ending.
        threading.Thread(target=self._run, name="records", daemon=True).start()

    @property
    def dropped(self) -> int:
        """How many lines were lost."""
        return self._overflowed + self._file.dropped

    def write(self, line: bytes) -> None:
        """Queue one JSON object without a line end. For the event loop only; never blocks, never raises."""
        if self._waiting > _MAX_WAITING_BYTES:
            self._overflowed += 1
            return
        self._lines.append(line)
        self._waiting += len(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._hand_over)

    async def flush(self) -> None:
        """Everything written before this call is in the file, or dropped, when it returns."""
        self._hand_over()
        await self._done(lambda: None)

    async def reopen(self) -> None:
        """Open the path again, after a rotation moved it away. An OSError leaves the old file in use."""
        self._hand_over()
        await self._done(self._file.reopen)

    async def close(self) -> None:
        """Flush and close; gives up on a file that takes nothing for 2 s."""
        self._hand_over()
        try:
            await asyncio.wait_for(self._done(self._file.close), CLOSE_SECONDS)
        except TimeoutError:
            _log.error("records: %s takes no more lines, some are lost", self._path)
        self._jobs.put(None)

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        size = sum(map(len, lines))
        loop = asyncio.get_running_loop()

        def append() -> None:
            self._file.append(lines)
            _call_in(loop, lambda: self._written(size))

        self._jobs.put(append)

    def _written(self, size: int) -> None:
        self._waiting -= size

    async def _done(self, job: _Job) -> None:
        """Run `job` on the thread, after what was queued before it, and wait for it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def finish(error: OSError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def run() -> None:
            failure: OSError | None = None
            try:
                job()
            except OSError as error:
                failure = error
            _call_in(loop, lambda: finish(failure))

        self._jobs.put(run)
        await done

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            job = None  # lines that are written are not kept until there are more


def _call_in(loop: asyncio.AbstractEventLoop, callback: _Job) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(callback)


class _LineFile:
    """The file itself; used by the writing thread alone."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = _open(path)
        self._torn = False
        self._failing = False
        self.dropped = 0

    def append(self, lines: Sequence[bytes]) -> None:
        """Write the lines; those that do not fit are counted in `dropped`."""
        # After a failed write that left part of a line, a line end keeps what follows readable.
        lead = b"\n" if self._torn else b""
        data = lead + b"".join([line + b"\n" for line in lines])
        written = 0
        try:
            while written < len(data):
                try:
                    written += os.write(self._descriptor, memoryview(data)[written:])
                except BlockingIOError:  # whoever shares our stdout made it non-blocking
                    select.select([], [self._descriptor], [])
        except OSError as error:
            if written:
                self._torn = data[written - 1 : written] != b"\n"
            whole = data.count(b"\n", len(lead), written) if written else 0
            self.dropped += len(lines) - whole
            if not self._failing:
                _log.error("records cannot be written to %s: %s", self._path, error)
            self._failing = True
        else:
            self._torn = self._failing = False

    def reopen(self) -> None:
        if self._path == STDOUT:
            return
        fresh = _open(self._path)
        self.close()
        self._descriptor = fresh
        self._torn = False

    def close(self) -> None:
        if self._path != STDOUT:
            os.close(self._descriptor)


def _open(path: str) -> int:
    if path == STDOUT:
        return 1
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
