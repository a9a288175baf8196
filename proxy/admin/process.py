"""The HTTP process: `python -m proxy.admin.process`, started by the SIP process and ending with it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import uvicorn

from proxy.admin.access.audit import Audit
from proxy.admin.access.tenancy import in_force
from proxy.admin.api import CONTROL_SECONDS, Api, create_app
from proxy.admin.control_client import ControlClient
from proxy.admin.control_protocol import ControlError, ControlLost
from proxy.admin.doorway import Doorway
from proxy.admin.facades.mounting import facade_refusal, mount_facades
from proxy.admin.facades.spending import TrunkSpending
from proxy.admin.ledger_access import AdminLedger, LedgerAccess
from proxy.admin.patience import patient
from proxy.admin.security import Guard
from proxy.admin.settings import ChildSettings
from proxy.admin.tls import make_context, renew
from proxy.ledger.hook_queue import open_hook_queue
from proxy.ledger.sharded_ledger import connector_of
from proxy.objects.editor import open_editor
from proxy.observe import logs
from proxy.observe.clock import iso_now
from proxy.observe.tasks import TaskKeeper
from proxy.routing.names import Names
from proxy.webhooks.service import Webhooks

_log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_MAX_CONNECTIONS = 128
_READY_SECONDS = 5.0


class _Server(uvicorn.Server):
    """uvicorn, but signals are not its business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def die_with(parent: int) -> bool:
    """Have the kernel end this process when its parent ends, however that happens. False: the parent is
    gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


async def serve(settings: ChildSettings) -> None:
    """Serve until the SIP process closes the control connection or SIGTERM comes."""
    tasks = TaskKeeper()
    control = ControlClient(tasks)
    await control.connect(Path(settings.control_path))
    ledger = LedgerAccess(lambda: _open_ledger(settings))
    editor = open_editor(
        Path(settings.config_file), settings.policy_source, settings.ledger_url, Path(settings.data_dir)
    )
    webhooks = _webhooks(settings, control, ledger)
    api = Api(control, ledger, tasks, settings.sip_pid)
    api.counted = webhooks.counts.samples
    api.hooks = lambda: webhooks.settings
    app = create_app(api, settings.version, editor)
    mount_facades(app, editor, TrunkSpending(control, ledger))
    guard = Guard(
        app,
        settings.token,
        find=in_force(ledger.find_token, editor),
        audit=Audit(ledger.append, tasks, iso_now),
        closed=settings.metrics_need_token,
        refuse=facade_refusal,
    )
    context = _context(settings)
    doorway = Doorway(settings.listener)
    server = _Server(
        uvicorn.Config(
            guard,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            http=patient(doorway=doorway),
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=2,
            ssl_context_factory=None if context is None else lambda *_: context,
        )
    )

    def stop() -> None:
        server.should_exit = True

    async def stop_when_alone() -> None:
        await control.closed.wait()
        stop()

    async def report() -> None:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        await control.call("ready", {"pid": os.getpid()}, within=_READY_SECONDS)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: _renew(context, settings))
    tasks.start(stop_when_alone(), name="admin.parent")
    tasks.start(report(), name="admin.report")
    tasks.start(webhooks.run(), name="admin.webhooks")
    try:
        await server.serve(sockets=[doorway])
    finally:
        control.close()
        await tasks.stop()
        await editor.close()
        await ledger.close()


def _context(settings: ChildSettings) -> ssl.SSLContext | None:
    if not settings.certificate:
        return None
    client_ca = Path(settings.client_ca) if settings.client_ca else None
    return make_context(Path(settings.certificate), Path(settings.key), client_ca)


def _renew(context: ssl.SSLContext | None, settings: ChildSettings) -> None:
    if context is None:
        return
    try:
        renew(context, Path(settings.certificate), Path(settings.key))
    except (OSError, ValueError) as error:
        _log.error("the certificate of the HTTP listener stays as it is: %s", error)


async def _open_ledger(settings: ChildSettings) -> AdminLedger:
    # A visitor: it takes no leases and starts no server.
    return await connector_of(settings.shard_by)(
        settings.ledger_url, Path(settings.data_dir), lease_seconds=settings.lease_seconds, owner="admin"
    )


def _webhooks(settings: ChildSettings, control: ControlClient, ledger: LedgerAccess) -> Webhooks:
    instance = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    async def ask(operation: str, args: dict[str, Any]) -> Any:
        try:
            return await control.call(operation, args, within=CONTROL_SECONDS)
        except ControlLost:
            if control.closed.is_set():
                await asyncio.Event().wait()  # this process ends with the SIP process: nothing to tell
            raise

    return Webhooks(
        ask,
        ledger.usage,
        lambda: open_hook_queue(settings.ledger_url, Path(settings.data_dir), instance),
        _names(),
        (ControlLost, ControlError),
    )


def _names() -> Names:
    try:
        return Names.of_environment()
    except ValueError:  # the SIP process has said so, and does not run
        return Names()


def main() -> int:
    """The exit code: 0 when it was told to stop, 1 when there is nobody to serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    settings = ChildSettings.from_json(sys.stdin.buffer.readline())
    logs.configure(settings.log_level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its comings and goings are ours to tell
    if not die_with(settings.sip_pid):
        return 1
    try:
        asyncio.run(serve(settings))
    except (OSError, ValueError) as error:
        _log.error("the HTTP process ends: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
