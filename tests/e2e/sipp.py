"""Sipp: one SIPp process that plays one of our scenarios, with a time limit, and what it counted."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.waiting import eventually, socket_is_bound

SCENARIOS = Path(__file__).resolve().parents[2] / "sipp-scenarios"
LIMIT_SECONDS = 30.0
BIND_SECONDS = 20.0
GRACE_SECONDS = 5.0
_TAIL = 3_000


@dataclass(frozen=True)
class SippResult:
    """What one run counted; `messages` are SIPp's counters a message, such as `1_INVITE_Recv`."""

    exit_code: int
    created: int
    successful: int
    failed: int
    retransmissions: int
    messages: dict[str, int]
    report: str

    def assert_all_succeeded(self, calls: int) -> None:
        """Every one of `calls` calls went as its scenario says."""
        assert (self.successful, self.failed, self.exit_code) == (calls, 0, 0), self.report


class Sipp:
    """Starts at once, as `name` from sipp-scenarios; a callee's socket is bound when the constructor returns.

    `address` is where it speaks from; `target` makes it a caller. `calls` is how many it places, or answers
    before it ends; None: a callee that answers until it is stopped. It never outlives `limit` seconds.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        address: tuple[str, int],
        *,
        target: tuple[str, int] | None = None,
        called: str | None = None,
        calls: int | None = 1,
        rate: int | None = None,
        at_once: int | None = None,
        hold_ms: int = 0,
        variables: dict[str, str] | None = None,
        transport: str = "udp",
        options: tuple[str, ...] = (),
        limit: float = LIMIT_SECONDS,
    ) -> None:
        self.name = name
        self._limit = limit
        # SIPp writes its counters beside the scenario: give it one in a folder of its own.
        self.folder = folder / f"{name}-{address[0]}-{address[1]}"
        self.folder.mkdir(parents=True)
        shutil.copy(SCENARIOS / f"{name}.xml", self.folder)
        arguments = [
            "sipp", "-sf", f"{name}.xml", "-t", "t1" if transport == "tcp" else "u1",
            "-i", address[0], "-bind_local", "-p", str(address[1]),
            "-d", str(hold_ms), "-nostdin", "-timeout", str(int(limit)), "-timeout_error",
            "-trace_err", "-error_file", "errors", "-trace_stat", "-stf", "statistics.csv", "-trace_counts",
            "-fd", "1",
        ]  # fmt: skip
        if calls is not None:
            arguments += ["-m", str(calls)]
        if called is not None:
            arguments += ["-s", called]
        if rate is not None:
            arguments += ["-r", str(rate)]
        if at_once is not None:
            arguments += ["-l", str(at_once)]
        for variable, value in (variables or {}).items():
            arguments += ["-set", variable, value]
        arguments += options
        if target is not None:
            arguments.append(f"{target[0]}:{target[1]}")
        with (self.folder / "screen").open("wb") as screen:
            self.process = subprocess.Popen(
                arguments, cwd=self.folder, stdout=screen, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        if target is None:
            eventually(
                lambda: socket_is_bound(transport, *address) or self.process.poll() is not None,
                BIND_SECONDS,
                f"the socket of {name}",
            )

    def wait(self) -> SippResult:
        """Until it has placed, or answered, its calls."""
        try:
            code = self.process.wait(self._limit + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return self._result(code)

    def stop(self) -> SippResult:
        """End a callee that answers until it is stopped: it finishes the calls that it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)
        return self.wait()

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def calls_seen(self) -> int:
        """How many calls it had, as of its last statistics (one a second)."""
        return _number(_last_row(self.folder / "statistics.csv"), "TotalCallCreated")

    def _result(self, code: int) -> SippResult:
        row = _last_row(self.folder / "statistics.csv")
        counts = next(self.folder.glob("*_counts.csv"), None)
        return SippResult(
            exit_code=code,
            created=_number(row, "TotalCallCreated"),
            successful=_number(row, "SuccessfulCall(C)"),
            failed=_number(row, "FailedCall(C)"),
            retransmissions=_number(row, "Retransmissions(C)"),
            messages=_counters(counts),
            report=self._report(code),
        )

    def _report(self, code: int) -> str:
        parts = [f"{self.name} ended with {code}"]
        for name in ("errors", "screen"):
            path = self.folder / name
            if path.exists():
                parts.append(f"--- {name}\n{path.read_text(errors='replace')[-_TAIL:]}")
        return "\n".join(parts)


def _last_row(path: Path | None) -> dict[str, str]:
    if path is None or not path.exists():
        return {}
    with path.open(newline="", errors="replace") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    return rows[-1] if rows else {}


def _number(row: dict[str, str], name: str) -> int:
    return int(row.get(name) or 0)


def _counters(path: Path | None) -> dict[str, int]:
    return {name: int(value) for name, value in _last_row(path).items() if name and value and value.isdigit()}
