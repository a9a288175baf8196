"""ControlServer: the SIP process's side of the control socket."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from policy.compiled import Scope
from proxy.admin.control_protocol import (
    INTERNAL,
    INVALID,
    LEDGER,
    MAX_LINE,
    ControlError,
    Heartbeat,
    PolicyState,
    ReloadOutcome,
    ScopeLimits,
    decode,
    encode,
    limits_of,
)
from proxy.ledger.ledger import LedgerUnavailable
from proxy.observe.exposition import Snapshot
from proxy.observe.tasks import TaskKeeper

_log = logging.getLogger(__name__)

_MAX_AT_ONCE = 32


class ControlTarget(Protocol):
    """What the SIP process lets the HTTP process ask. All of it runs on the SIP process's event loop:
    nothing here may block it.

    A ValueError says that the request makes no sense and becomes 422; LedgerUnavailable becomes 503;
    anything else is logged and becomes 500.
    """

    async def heartbeat(self) -> Heartbeat:
        """Which parts work, as of now. An answer that takes longer than a second counts as none."""
        ...

    def metrics(self) -> Snapshot:
        """`Metrics.snapshot()`."""
        ...

    def policy(self) -> PolicyState:
        """The policy in force."""
        ...

    def trunk_scopes(self) -> Mapping[str, Scope]:
        """Every trunk's own scope, by the trunk's name."""
        ...

    def trunk_accounts(self) -> Mapping[str, str | None]:
        """Every trunk's account, by the trunk's name."""
        ...

    async def reload(self) -> ReloadOutcome:
        """Read the configuration again. A bad file leaves the old policy in force and is no exception."""
        ...

    def happenings(self) -> dict[str, Any]:
        """A `proxy.webhooks.watcher.Seen`: what others are to be told of; each is given once."""
        ...

    async def webhooks(self, start: int) -> dict[str, Any]:
        """Who is told of what: the `section` and some rows of `trunks`, from `start` on, as HookSettings
        takes them, and whether there are `more`."""
        ...

    async def explain(self, request: dict[str, Any]) -> dict[str, Any]:
        """Judge a call that nobody makes: `source`, `to`, and when given `from`, `message`, `live`."""
        ...


class ControlServer:
    """Serves a ControlTarget on a Unix socket that this user alone can open."""

    def __init__(self, target: ControlTarget, on_ready: Callable[[int], None] | None = None) -> None:
        """`on_ready(pid)` is called when an HTTP process says that it serves."""
        self._target = target
        self._on_ready = on_ready
        self._tasks = TaskKeeper()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "ready": self._ready,
            "heartbeat": self._heartbeat,
            "metrics": self._metrics,
            "policy": self._policy,
            "reload": self._reload,
            "explain": self._explain,
            "trunk": self._trunk,
            "trunks": self._trunks,
            "happenings": self._happenings,
            "webhooks": self._webhooks,
        }

    async def start(self, path: Path) -> None:
        """Listen on `path`, whose folder should belong to this user alone. OSError when that is not
        possible."""
        self._server = await asyncio.start_unix_server(self._serve, str(path), limit=MAX_LINE)
        os.chmod(path, 0o600)

    async def stop(self) -> None:
        """Close the socket and every connection; an HTTP process ends by that."""
        if self._server is not None:
            self._server.close()
        await self._tasks.stop()
        readers = [task for task in self._connections.values() if task is not None]
        for writer in self._connections:
            writer.close()
        if readers:
            await asyncio.wait(readers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.current_task()
        room = asyncio.Semaphore(_MAX_AT_ONCE)
        try:
            while line := await reader.readline():
                await room.acquire()
                task = self._tasks.start(self._answer(line, writer), name="control.answer")
                task.add_done_callback(lambda _: room.release())
        except (ConnectionError, ValueError) as error:
            _log.warning("control connection closed: %s", error)
        except RuntimeError:
            pass  # stopping: nothing new is begun
        finally:
            del self._connections[writer]
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = decode(line)
        except ValueError:
            writer.close()
            return
        number, operation, args = request.get("id"), request.get("op"), request.get("args")
        try:
            perform = self._operations.get(str(operation))
            if perform is None:
                raise ControlError(INVALID, f"no such operation: {operation}")
            result = await perform(args if isinstance(args, dict) else {})
            answer = encode({"id": number, "ok": True, "result": result})
        except ControlError as error:
            answer = _failure(number, error.kind, str(error))
        except ValueError as error:
            answer = _failure(number, INVALID, str(error))
        except LedgerUnavailable as error:
            answer = _failure(number, LEDGER, str(error))
        except Exception:
            _log.exception("control operation %s failed", operation)
            answer = _failure(number, INTERNAL, "the SIP process failed; its log says why")
        with suppress(ConnectionError):
            writer.write(answer)
            await writer.drain()

    async def _ready(self, args: dict[str, Any]) -> None:
        if self._on_ready is not None:
            self._on_ready(int(args["pid"]))

    async def _heartbeat(self, _: dict[str, Any]) -> Heartbeat:
        return await self._target.heartbeat()

    async def _metrics(self, _: dict[str, Any]) -> Snapshot:
        return self._target.metrics()

    async def _policy(self, _: dict[str, Any]) -> PolicyState:
        return self._target.policy()

    async def _happenings(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._target.happenings()

    async def _webhooks(self, args: dict[str, Any]) -> dict[str, Any]:
        return await self._target.webhooks(int(args.get("start", 0)))

    async def _reload(self, _: dict[str, Any]) -> ReloadOutcome:
        return await self._target.reload()

    async def _explain(self, args: dict[str, Any]) -> dict[str, Any]:
        return await self._target.explain(args)

    async def _trunk(self, args: dict[str, Any]) -> ScopeLimits | None:
        name = str(args.get("name"))
        scope = self._target.trunk_scopes().get(name)
        return None if scope is None else limits_of(scope, self._target.trunk_accounts()[name])

    async def _trunks(self, _: dict[str, Any]) -> list[ScopeLimits]:
        accounts = self._target.trunk_accounts()
        return [limits_of(scope, accounts[name]) for name, scope in self._target.trunk_scopes().items()]


def _failure(number: Any, kind: str, message: str) -> bytes:
    return encode({"id": number, "ok": False, "kind": kind, "message": message})
