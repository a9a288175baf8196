"""The `demo` command."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from proxy.demo import rehearsal
from proxy.demo.screen import Screen
from proxy.demo.show import SEED, Show
from proxy.demo.stage import CannotStage, staged
from proxy.demo.traffic import Traffic
from proxy.ledger.ledger import LedgerUnavailable
from proxy.ledger.redis_ledger import LedgerRefused
from proxy.listening import CannotBind
from proxy.observe.logs import configure

_FAILED = 1


def run(once: bool) -> int:
    """Run the demo, until Ctrl-C or, with `once`, until its fixed calls are through; the exit code."""
    configure("warning")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_unexpected)
    try:
        return asyncio.run(_once() if once else _live())
    except (CannotStage, CannotBind, LedgerUnavailable, LedgerRefused) as error:
        print(f"cannot run the demo: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:  # in the moment before the loop minds signals
        return _FAILED if once else 0


def _unexpected(record: logging.LogRecord) -> bool:
    """The demo shows its stranger itself; a warning of each of his calls would only stand in between."""
    return record.msg != "no trunk for a call"


async def _once() -> int:
    _on_signals(_this_task().cancel)
    try:
        async with staged(lambda: rehearsal.RING_SECONDS) as stage:
            good = await rehearsal.rehearse(stage, Screen(), rehearsal.CASES)
    except asyncio.CancelledError:
        print("interrupted", file=sys.stderr)
        return _FAILED
    except BrokenPipeError:
        return _FAILED
    return 0 if good else _FAILED


async def _live() -> int:
    stop = asyncio.Event()
    task = _this_task()

    def react() -> None:
        """The first signal ends the show, a second one what it still waits for."""
        if stop.is_set():
            task.cancel()
        stop.set()

    _on_signals(react)
    traffic = Traffic(SEED)
    with suppress(asyncio.CancelledError):
        async with staged(traffic.ring_seconds) as stage:
            await Show(stage, Screen(), traffic).run(stop)
    return 0


def _on_signals(react: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, react)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        loop.add_signal_handler(signal.SIGHUP, react)


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task
