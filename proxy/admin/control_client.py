"""ControlClient: the HTTP process's side of the control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from proxy.admin.control_protocol import INTERNAL, MAX_LINE, ControlError, ControlLost, decode, encode
from proxy.observe.tasks import TaskKeeper

T = TypeVar("T")


class ControlClient:
    """One connection with many requests under way. When it ends, the SIP process is gone: it is not made
    anew."""

    def __init__(self, tasks: TaskKeeper) -> None:
        self._tasks = tasks
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.closed = asyncio.Event()

    async def connect(self, path: Path) -> None:
        """Raises OSError when nobody listens."""
        reader, self._writer = await asyncio.open_unix_connection(str(path), limit=MAX_LINE)
        self._tasks.start(self._read(reader), name="control.read")

    async def call(self, operation: str, args: dict[str, Any] | None = None, *, within: float) -> Any:
        """The result of `operation`. Raises ControlError as the SIP process answers, ControlLost when it
        does not in `within` seconds."""
        if self._writer is None or self.closed.is_set():
            raise ControlLost("the SIP process is gone")
        self._last += 1
        number = self._last
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(within):
                self._writer.write(encode({"id": number, "op": operation, "args": args or {}}))
                await self._writer.drain()
                return await answer
        except TimeoutError:
            raise ControlLost(f"the SIP process did not answer within {within:g} s") from None
        except ConnectionError:
            raise ControlLost("the SIP process is gone") from None
        finally:
            del self._waiting[number]
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, whether or not somebody still waited

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._take(decode(line))
        except (ConnectionError, ValueError):
            pass
        finally:
            self.closed.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ControlLost("the SIP process is gone"))

    def _take(self, message: dict[str, Any]) -> None:
        answer = self._waiting.get(message.get("id", 0))
        if answer is None or answer.done():
            return  # came too late
        if message.get("ok") is True:
            answer.set_result(message.get("result"))
        else:
            kind, text = message.get("kind", INTERNAL), message.get("message", "")
            answer.set_exception(ControlError(str(kind), str(text)))


class Shared(Generic[T]):
    """A costly question that many ask at once is asked once: those who come while its answer is under way,
    or within `max_age` seconds after, share it. So nobody can keep the SIP process busy by asking for its
    health."""

    def __init__(self, ask: Callable[[], Awaitable[T]], tasks: TaskKeeper, max_age: float = 0.1) -> None:
        self._ask = ask
        self._tasks = tasks
        self._max_age = max_age
        self._under_way: asyncio.Task[tuple[T] | Exception] | None = None
        self._asked_at = 0.0

    async def get(self) -> T:
        """The answer; raises what asking raised."""
        now = asyncio.get_running_loop().time()
        task = self._under_way
        if task is None or (task.done() and now - self._asked_at >= self._max_age):
            task = self._under_way = self._tasks.start(self._run(), name="control.shared")
            self._asked_at = now
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome[0]

    async def _run(self) -> tuple[T] | Exception:
        try:
            return (await self._ask(),)
        except Exception as error:  # each of those who wait gets it
            return error
