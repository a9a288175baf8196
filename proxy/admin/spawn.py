"""AdminProcess: starts the HTTP process beside the SIP process and keeps it running."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import site
import socket
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from proxy.admin.control_server import ControlServer, ControlTarget
from proxy.admin.loopback import is_loopback
from proxy.admin.settings import AdminSettings, ChildSettings
from proxy.observe.tasks import TaskKeeper

_log = logging.getLogger(__name__)

_STDERR = 2
_BACKLOG = 128
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 15.0
_HEALTHY_SECONDS = 30.0
_STOP_SECONDS = 4.0


class AdminProcess:
    """The HTTP process as its parent sees it. The parent owns the listening socket, so that a process that
    has to be started again finds its port, and whoever connects meanwhile waits instead of being turned
    away."""

    def __init__(self, settings: AdminSettings, target: ControlTarget) -> None:
        self._settings = settings
        self._control = ControlServer(target, self._child_ready)
        self._tasks = TaskKeeper()
        self._listener: socket.socket | None = None
        self._folder: Path | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._stopping = False
        self.restarts = 0

    def bind(self) -> str:
        """Take the port and return the address, `http://127.0.0.1:8080`. Raises OSError when it cannot be
        had, ValueError for a listener that others can reach and that wants no token."""
        host = self._settings.host
        if self._settings.token is None and not is_loopback(host):
            raise ValueError(f"the HTTP listener `{host}` is not loopback: it needs a token")
        if self._settings.token == "":
            raise ValueError("the HTTP token is empty")
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, self._settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        bound, port = listener.getsockname()[:2]
        scheme = "http" if self._settings.certificate is None else "https"
        return f"{scheme}://[{bound}]:{port}" if ":" in bound else f"{scheme}://{bound}:{port}"

    @property
    def pid(self) -> int | None:
        """Of the running HTTP process."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self, within: float = 15.0) -> None:
        """Start the process and wait until it serves. TimeoutError when it does not in `within` seconds;
        OSError when it cannot be started at all."""
        if self._listener is None:
            self.bind()
        self._folder = Path(tempfile.mkdtemp(prefix="trunkwarden-"))
        await self._control.start(self._folder / "control")
        await self._spawn()
        self._tasks.start(self._keep_running(), name="admin.keep_running")
        try:
            await asyncio.wait_for(self._ready.wait(), within)
        except TimeoutError:
            await self.stop()
            raise TimeoutError(f"the HTTP process did not start within {within:g} s") from None

    async def stop(self) -> None:
        """End the process, gently at first, and give the port back."""
        self._stopping = True
        await self._tasks.stop()
        child = self._child
        await self._control.stop()
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                child.terminate()
            try:
                await asyncio.wait_for(child.wait(), _STOP_SECONDS)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def reload(self) -> None:
        """Have the process read its certificate again."""
        if self._child is not None and self._child.returncode is None and self._ready.is_set():
            with suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGHUP)

    def _child_ready(self, pid: int) -> None:
        if self._child is not None and self._child.pid == pid:
            self._ready.set()

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            child = self._child
            assert child is not None
            began = loop.time()
            code = await child.wait()
            self._ready.clear()
            if loop.time() - began >= _HEALTHY_SECONDS:
                pause = _FIRST_PAUSE
            _log.error("the HTTP process ended with %d; starting it again in %g s", code, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            self.restarts += 1
            try:
                await self._spawn()
            except OSError as error:
                _log.error("the HTTP process cannot be started: %s", error)

    async def _spawn(self) -> None:
        assert self._listener is not None
        assert self._folder is not None
        settings = ChildSettings(
            control_path=str(self._folder / "control"),
            listener=self._listener.fileno(),
            sip_pid=os.getpid(),
            token=self._settings.token,
            ledger_url=self._settings.ledger_url,
            data_dir=str(self._settings.data_dir),
            lease_seconds=self._settings.lease_seconds,
            shard_by=self._settings.shard_by,
            log_level=self._settings.log_level,
            version=_version(),
            config_file=str(self._settings.config_file.absolute()),
            policy_source=self._settings.policy_source,
            metrics_need_token=self._settings.metrics_need_token,
            certificate=str(self._settings.certificate or ""),
            key=str(self._settings.key or ""),
            client_ca=str(self._settings.client_ca or ""),
        )
        # -P: a file called json.py where somebody happened to start the program is not ours.
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "proxy.admin.process",
            stdin=asyncio.subprocess.PIPE,
            stdout=_STDERR,  # standard output belongs to the parent's one line
            pass_fds=(self._listener.fileno(),),
            start_new_session=True,
            env=_environment(),
        )
        self._child = child
        assert child.stdin is not None
        child.stdin.write(settings.to_json())
        child.stdin.close()


def _environment() -> dict[str, str]:
    """Ours; a program that runs from its source folder says where that is."""
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parents[2])
    if root not in site.getsitepackages():
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = root if not known else f"{root}{os.pathsep}{known}"
    return environment


def _version() -> str:
    try:
        return version("trunkwarden")
    except PackageNotFoundError:
        return "0"
