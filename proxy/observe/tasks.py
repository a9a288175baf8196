"""TaskKeeper: background tasks that are neither lost nor silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 2.0


class TaskKeeper:
    """Starts tasks, holds a reference until they end, logs those that fail, and ends all of them on request.

    asyncio itself keeps weak references only, and mentions an error when the task is collected, if ever.
    """

    def __init__(self, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        """`on_failure(task name, error)` is called after a failure was logged; it must not raise."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_failure = on_failure
        self._stopping = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run `work` as a task of the running loop. After `stop` began this is a RuntimeError."""
        if self._stopping:
            work.close()
            raise RuntimeError(f"task {name!r} was started while its keeper stops")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def stop(self) -> None:
        """Cancel every task and wait until each has ended. Errors on the way out are logged, not raised."""
        self._stopping = True
        current = asyncio.current_task()
        while pending := [task for task in self._tasks if task is not current]:
            for task in pending:
                task.cancel()
            # Not for ever: asyncio.wait_for may forget a cancellation (Python 3.11); then ask again.
            await asyncio.wait(pending, timeout=_ASK_AGAIN_SECONDS)
            # Let the done callbacks run, which empty the set.
            await asyncio.sleep(0)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        _log.error("task %s failed", task.get_name(), exc_info=error)
        if self._on_failure is not None:
            self._on_failure(task.get_name(), error)
