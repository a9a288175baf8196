"""The `serve` command: one instance in the foreground, and what the signals do to it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from config.model import LedgerConfig
from config.served import unserved_ledger
from proxy.app import Application
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.listening import CannotBind
from proxy.objects.following import open_followed
from proxy.observe.logs import configure

_log = logging.getLogger(__name__)

_BAD_CONFIGURATION = 1
_USAGE = 2
_CANNOT_SERVE = 4
_COLLECT_SECONDS = 60.0
_QUIET_TRANSACTIONS = 2000
_MOST_SKIPPED = 60


def run(path: Path, ledger: str | None, drain_seconds: float) -> int:
    """Serve until told to stop; the exit code. `ledger` is a URL in place of the configured one."""
    configure()
    mistake = None if ledger is None else _bad_ledger(ledger)
    if mistake is not None:
        print(f"--ledger: {mistake}", file=sys.stderr)
        return _USAGE
    _take_all_descriptors()
    return asyncio.run(_serve(path, ledger, drain_seconds))


def _bad_ledger(url: str) -> str | None:
    """What is wrong with a ledger's URL, as the configuration would say it."""
    try:
        section = LedgerConfig(url=url)
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return next((finding.message for finding in unserved_ledger(section, "")), None)


def _take_all_descriptors() -> None:
    """Connections need descriptors; many systems give a thousand until a program asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _made(path: Path, ledger: str | None) -> Application | None:
    """The instance of a file; None where it has problems, which are printed."""
    followed, compiled = await open_followed(path, ledger)
    for warning in compiled.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if compiled.policy is None or compiled.config is None:
        for problem in compiled.problems:
            print(problem, file=sys.stderr)
        return None
    return Application(path, compiled.config, compiled.policy, ledger_url=ledger, followed=followed)


def _say_ready(line: str) -> None:
    """That nobody can be told is no reason to serve nobody."""
    try:
        print(line, flush=True)
    except OSError as error:  # a full disk, a reader that is gone
        _log.warning("cannot write to stdout: %s; %s", error.strerror, line)
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")  # the line waits in the other one


async def _serve(path: Path, ledger: str | None, drain_seconds: float) -> int:
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    starting = asyncio.current_task()
    assert starting is not None
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # the file is being read just now
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, starting.cancel)
    try:
        app = await _made(path, ledger)
        if app is None:
            return _BAD_CONFIGURATION
        await app.start()
    except asyncio.CancelledError:
        return 0  # told to stop before it was ready: what had been started is down again
    except (CannotBind, LedgerUnavailable, LedgerRefused) as error:
        print(f"cannot serve: {error}", file=sys.stderr)
        return _CANNOT_SERVE
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    app.keeper.start(_collect_when_quiet(app), name="garbage")
    _say_ready(app.ready_line())
    draining: asyncio.Task[None] | None = None
    waiting: asyncio.Task[signal.Signals] | None = None
    while True:
        waiting = waiting or app.keeper.start(signals.get(), name="signals")
        await asyncio.wait(
            [task for task in (waiting, draining) if task is not None], return_when=asyncio.FIRST_COMPLETED
        )
        if draining is not None and draining.done():
            break
        if waiting.done():
            number = waiting.result()
            waiting = None
            if number is signal.SIGHUP:
                app.keeper.start(_reload(app), name="reload")
            elif number is signal.SIGTERM and draining is None:
                _log.info("draining")
                draining = app.keeper.start(app.drain(drain_seconds), name="drain")
            else:
                break
    await app.stop()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        # All is done: a late signal may not turn a clean end into a death while the interpreter winds up.
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    return 0


async def _collect_when_quiet(app: Application) -> None:
    """Run the cyclic collector by hand, where its pause hurts nobody.

    Calls free themselves by reference counts. The automatic collector would walk every transaction of the
    last half minute to find nothing, for up to a tenth of a second each time. What cycles there are (reloads,
    failures) wait for a quiet minute, at most an hour.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    skipped = 0
    while True:
        await asyncio.sleep(_COLLECT_SECONDS)
        skipped += 1
        if app.server.stack.transactions < _QUIET_TRANSACTIONS or skipped >= _MOST_SKIPPED:
            gc.collect()
            skipped = 0


async def _reload(app: Application) -> None:
    await app.reload()
