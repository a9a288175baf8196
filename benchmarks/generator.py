"""The load: a SIPp caller and a SIPp callee, what they saw, and how hard they had to work themselves."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.probe import Probe
from benchmarks.processes import processor_seconds

SCENARIOS = Path(__file__).resolve().parents[1] / "sipp-scenarios"
CALLED = "+442079460123"
CALLER_HOST = "127.0.0.1"
FINISH = signal.SIGUSR1  # SIPp places no more calls, and ends with the last that it has
_BIND_SECONDS = 5.0
_FIRST = -10  # as of nice(1)
_SOCKET_BYTES = "4194304"
_POLL_SECONDS = 0.05
_SAMPLE_SECONDS = 0.5
_GRACE_SECONDS = 40.0


@dataclass(frozen=True)
class Load:
    """What one run saw. Delays: INVITE to 180, in milliseconds, of the probe's calls. Shares are of one
    processor: 1.0 is saturation."""

    calls: int
    failed: int
    retransmissions: int
    achieved_rate: float
    delay_p50_ms: float
    delay_p99_ms: float
    caller_share: float
    callee_share: float


class LoadFailed(Exception):
    """SIPp itself could not run to its end."""


def free_port() -> int:
    """A UDP port of the caller's host that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((CALLER_HOST, 0))
        return int(probe.getsockname()[1])


def go_first(process: subprocess.Popen[bytes]) -> None:
    """Let the generator keep time on a busy machine, where we may: late by T1, it would send everything
    twice."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _FIRST)


def sipp(scenario: str, folder: Path, address: tuple[str, int], *arguments: str) -> subprocess.Popen[bytes]:
    """A SIPp process that plays one of our scenarios, with its statistics in `folder`."""
    folder.mkdir(parents=True)
    shutil.copy(SCENARIOS / f"{scenario}.xml", folder)
    with (folder / "screen").open("wb") as screen:
        return subprocess.Popen(
            ["sipp", "-sf", f"{scenario}.xml", "-i", address[0], "-bind_local", "-p", str(address[1]),
             "-nostdin", "-trace_err", "-error_file", "errors", "-trace_stat", "-stf", "statistics.csv",
                         "-fd", "1", "-buff_size", _SOCKET_BYTES, *arguments],
            cwd=folder,
            stdout=screen,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


def _share(process: subprocess.Popen[bytes], before: float, seconds: float) -> float:
    return (processor_seconds(process.pid) - before) / seconds


def run(
    folder: Path, target: tuple[str, int], caller_port: int, callee: tuple[str, int], rate: int, seconds: int,
    hold_ms: int, login: tuple[str, str] | None = None,
) -> Load:  # fmt: skip
    """Place `rate * seconds` calls at `target`, answered by a callee at `callee`. `login`: user name and
    password that `target` asks for. Raises LoadFailed."""
    calls = rate * seconds
    scenario, credentials = "uac_admitted", ()
    if login is not None:
        uri = f"{CALLED}@{target[0]}:{target[1]}"
        scenario, credentials = "uac_digest", ("-au", login[0], "-ap", login[1], "-auth_uri", uri)
    limit = str(seconds + int(_GRACE_SECONDS / 2))
    answering = sipp("uas_answering", folder / "callee", callee, "-timeout", limit)
    try:
        wait_until_bound(callee)
        placing = sipp(
            scenario, folder / "caller", (CALLER_HOST, caller_port), "-s", CALLED, "-d", str(hold_ms),
            "-r", str(rate), "-m", str(calls), "-l", str(calls), "-timeout", limit,
            *credentials, f"{target[0]}:{target[1]}",
        )  # fmt: skip
        probe = Probe(target, CALLER_HOST, CALLED, login)
        probe.start()
        try:
            shares = _watch(placing, answering, seconds)
            probe.stop()
            placing.wait(seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise LoadFailed("the caller did not end in time") from error
        finally:
            placing.kill()
            placing.wait()
    finally:
        answering.kill()
        answering.wait()
    return _load(folder / "caller", calls, probe, shares)


def _watch(
    placing: subprocess.Popen[bytes], answering: subprocess.Popen[bytes], seconds: int
) -> tuple[float, float]:
    """The generators' shares of a processor while calls are placed."""
    started = time.monotonic()
    before = processor_seconds(placing.pid), processor_seconds(answering.pid)
    shares = (0.0, 0.0)
    while placing.poll() is None and (passed := time.monotonic() - started) < seconds:
        if passed > _SAMPLE_SECONDS:
            shares = _share(placing, before[0], passed), _share(answering, before[1], passed)
        time.sleep(_SAMPLE_SECONDS)
    return shares


def wait_until_bound(address: tuple[str, int]) -> None:
    """Until a UDP socket is bound there. Raises LoadFailed."""
    raw = bytes(int(part) for part in address[0].split("."))
    wanted = f"{raw[::-1].hex().upper()}:{address[1]:04X}"
    deadline = time.monotonic() + _BIND_SECONDS
    while wanted not in Path("/proc/net/udp").read_text():
        if time.monotonic() > deadline:
            raise LoadFailed(f"nothing is bound at {address[0]}:{address[1]}")
        time.sleep(_POLL_SECONDS)


def _load(folder: Path, calls: int, probe: Probe, shares: tuple[float, float]) -> Load:
    found = rows(folder / "statistics.csv")
    if not found:
        raise LoadFailed((folder / "screen").read_text(errors="replace")[-1000:])
    last = found[-1]
    succeeded = int(last["SuccessfulCall(C)"])
    rates = [float(row["CallRate(P)"]) for row in found if float(row["CallRate(P)"]) > 0]
    delays = sorted(probe.delays)
    return Load(
        calls=calls + len(probe.delays),
        failed=calls - succeeded + probe.lost,
        retransmissions=int(last["Retransmissions(C)"]),
        # The last second is cut short by the end: the middle says what was kept up.
        achieved_rate=sorted(rates)[len(rates) // 2] if rates else 0.0,
        delay_p50_ms=_quantile(delays, 0.5),
        delay_p99_ms=_quantile(delays, 0.99),
        caller_share=shares[0],
        callee_share=shares[1],
    )


def rows(path: Path) -> list[dict[str, str]]:
    """What SIPp wrote down so far."""
    if not path.exists():
        return []
    with path.open(newline="", errors="replace") as file:
        return list(csv.DictReader(file, delimiter=";"))


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def available() -> str | None:
    """Why no load can be made here, or None."""
    return None if shutil.which("sipp") else "sipp is not installed (Debian: sip-tester)"


def processors() -> int:
    """How many processors share the work."""
    return len(os.sched_getaffinity(0))
