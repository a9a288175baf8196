"""Trunkwarden: the real program as a process of its own, started, watched and stopped."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.e2e.waiting import eventually

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 60.0
HTTP_SECONDS = 20.0
_TAIL = 4_000
# Calls that a test leaves behind hold nobody up.
_SHORT_DRAIN = ("--drain-seconds", "1")
_READY = re.compile(
    r"^ready sip=(?P<sockets>\S+) admin=(?P<admin>http://\S+) ledger=(?P<ledger>\S+) "
    r"policy=(?P<policy>\S+)$",
    re.MULTILINE,
)
_ROOT = Path(__file__).resolve().parents[2]

RUNNING: list[Trunkwarden] = []


def command(*arguments: str, limit: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run `trunkwarden` with these arguments to its end."""
    return subprocess.run(
        [sys.executable, "-m", "proxy.cli", *arguments],
        cwd=_ROOT, capture_output=True, text=True, timeout=limit, check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


def _socket(text: str) -> tuple[str, tuple[str, int]]:
    """`udp:127.0.0.1:5060` → (`udp`, (`127.0.0.1`, 5060))."""
    transport, _, place = text.partition(":")
    host, _, port = place.rpartition(":")
    return transport, (host.strip("[]"), int(port))


def record_lines(path: Path) -> list[dict[str, Any]]:
    """The records in this file, none when there is no such file. A last line without its end is being
    written: it is left for another time."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


class Trunkwarden:
    """`trunkwarden serve` with this configuration, written below `folder`; ready when made.

    `program` is the module to run, and what stands before `serve`. Listens on ports that the system chooses
    unless the configuration says otherwise. Raises AssertionError with the program's diagnostics when it does
    not come up.
    """

    def __init__(
        self,
        config: dict[str, Any],
        folder: Path,
        *options: str,
        program: tuple[str, ...] = ("proxy.cli",),
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "trunkwarden.yaml"
        self.write(config)
        self._stdout = folder / "stdout"
        self._stderr = folder / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program, "serve", "-c", str(self.file),
                 *(options or _SHORT_DRAIN)],
                cwd=_ROOT, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        RUNNING.append(self)
        try:
            found = eventually(self._ready, READY_SECONDS, "the line `ready …`")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.diagnostics()}") from None
        self.ready = found.group()
        self.listeners = list(map(_socket, found["sockets"].split(",")))
        self.sockets = dict(self.listeners)
        self.address = self.listeners[0][1]
        self.admin = found["admin"]
        self.http = httpx.Client(base_url=self.admin, timeout=HTTP_SECONDS)

    def _ready(self) -> re.Match[str] | None:
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode} before it was ready")
        return _READY.search(self.stdout())

    def write(self, config: dict[str, Any] | str) -> None:
        """Put a configuration (or any text) where `serve` reads it."""
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        self.file.write_text(text)

    def stdout(self) -> str:
        """What it has printed so far."""
        return self._stdout.read_text(errors="replace")

    def stderr(self) -> str:
        """Its diagnostics so far."""
        return self._stderr.read_text(errors="replace")

    def diagnostics(self) -> str:
        """What a failing test shows."""
        state = "running" if self.process.poll() is None else f"ended with {self.process.returncode}"
        return f"trunkwarden {self.process.pid} ({state}), {self.file}\nstderr: {self.stderr()[-_TAIL:]}"

    # --- asking it ---

    def get(self, path: str, status: int = 200) -> Any:
        """The JSON body of a GET that must answer `status`."""
        answer = self.http.get(path)
        assert answer.status_code == status, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def usage(self, trunk: str) -> dict[str, Any]:
        """What a trunk uses now."""
        return dict(self.get(f"/v1/trunks/{trunk}/usage"))

    def calls(self) -> list[dict[str, Any]]:
        """Live calls."""
        return list(self.get("/v1/calls")["calls"])

    def policy_version(self) -> str:
        """The version in force."""
        return str(self.get("/v1/policy")["version"])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels; NaN, which is like nothing, when it does
        not answer just now."""
        answer = self.http.get("/metrics")
        if answer.status_code == 503:
            return math.nan
        assert answer.status_code == 200, f"GET /metrics: {answer.status_code} {answer.text}"
        total = 0.0
        for line in answer.text.splitlines():
            series, _, value = line.rpartition(" ")
            if line.startswith("#") or series.partition("{")[0] != name:
                continue
            if all(f'{key}="{wanted}"' in series for key, wanted in labels.items()):
                total += float(value)
        return total

    def wait_until_idle(self, trunk: str | None = None, limit: float = 20.0) -> None:
        """Until no lease is left (of this trunk, or at all). Raises AssertionError."""

        def no_call_left() -> bool:
            answer = self.http.get("/v1/calls")
            if answer.status_code == 503:
                return False  # the ledger does not answer just now
            assert answer.status_code == 200, f"GET /v1/calls: {answer.status_code} {answer.text}"
            return not [call for call in answer.json()["calls"] if trunk is None or call["trunk"] == trunk]

        eventually(no_call_left, limit, "the end of all leases")

    def records(self) -> list[dict[str, Any]]:
        """The lines of records.file, where the configuration names `records.jsonl` in this folder."""
        return record_lines(self.folder / "records.jsonl")

    # --- signals ---

    def reload(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def reload_and_wait(self, limit: float = 20.0) -> None:
        """SIGHUP, until what was read is in force: a reload is counted before that."""
        before = self.get("/v1/policy")["loaded_at"]
        self.reload()
        eventually(lambda: self.get("/v1/policy")["loaded_at"] != before, limit, "the reload")

    def terminate(self) -> None:
        """SIGTERM: drain."""
        self.process.send_signal(signal.SIGTERM)

    def terminate_and_wait(self, limit: float = 20.0) -> None:
        """SIGTERM, until it is heeded: new calls are refused."""
        self.terminate()

        def heeded() -> bool:
            # While it is too busy to answer, nothing is said of it.
            return not self.http.get("/readyz").json()["parts"].get("accepting", True)

        eventually(heeded, limit, "the drain")

    def wait(self, limit: float = STOP_SECONDS) -> int:
        """The exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        return self.process.wait(limit)

    def kill(self) -> None:
        """End it at once and forget it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._forget()

    def stop(self) -> None:
        """SIGTERM, once. A program that does not end by itself, or not with 0, fails the test."""
        self._forget()
        if self.process.poll() is not None:
            return
        self.terminate()
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not stop\n{self.diagnostics()}") from None
        assert code == 0, f"it ended with {code}\n{self.diagnostics()}"

    def _forget(self) -> None:
        if self in RUNNING:
            RUNNING.remove(self)
