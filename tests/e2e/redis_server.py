"""RedisServer: a real redis-server of the test's own, on a unix socket."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.e2e.waiting import eventually

START_SECONDS = 20.0


class RedisServer:
    """Starts at once. `pause` and `resume` stop and continue the process; `kill` is kill -9."""

    def __init__(self) -> None:
        # Not below tmp_path: the path of a unix socket may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="tw-redis-"))
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.client = redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=START_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self.start()

    def start(self) -> None:
        """Start it, empty unless this folder holds its append-only file. That file is for a server that is
        killed, not for a machine without power: without fsync it never waits for a busy disk, nor is a write
        put off until one is done."""
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "",
             "--appendonly", "yes", "--appendfsync", "no", "--dir", str(self.folder),
             "--maxmemory-policy", "noeviction", "--logfile", str(self.folder / "redis.log")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        eventually(self.answers, START_SECONDS, "the answer of redis-server")

    def answers(self) -> bool:
        """Whether it answers a PING."""
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def command_calls(self) -> dict[str, int]:
        """How often each command ran since the start, those of scripts included."""
        return {name: row["calls"] for name, row in self.client.info("commandstats").items()}

    def keys(self) -> set[bytes]:
        """Every key but the one that says who audits this minute: that one comes and goes by itself."""
        return set(self.client.keys()) - {b"{tw}:audit"}

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word of farewell."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, whatever its state."""
        self.client.close()
        if self.process.poll() is None:
            self.resume()
            self.kill()
