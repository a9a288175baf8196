"""Held calls: what thousands of live calls cost in memory and keys, and whether all of it comes back.

Callers place their calls, hold them past all transactions and some renewals, and hang up all at once: twice,
since what the program takes the first time it may keep for the second. A redis-server, the whole program, a
SIPp callee and callers of our own, started and stopped here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import redis
import yaml

from benchmarks import generator, targets
from benchmarks.callers import Callers, CallFailed
from benchmarks.generator import CALLED, CALLER_HOST, LoadFailed, sipp, wait_until_bound
from benchmarks.processes import family
from benchmarks.targets import CannotMeasure

CALLS, RATE = 3_000, 150.0
T1_MS = 500
WARM_UP_CALLS = 100
LEASES_GONE_SECONDS = 5.0
MOST_PER_CALL = 15_000
"""Bytes of memory for each held call, of all of the program's processes."""

_TRANSACTIONS = 64  # T1s for which a transaction lives on at most (RFC 3261 §17, RFC 6026)
_ACK_SECONDS = 32.0  # for which a call looks out for its ACK
_NAP_SECONDS = 60.0  # for which what is over may wait for its timer
_TOMBSTONE_SECONDS = 180.0
_PATIENCE_SECONDS = 30.0
_SLACK_BLOCKS = 6_000  # of the interpreter's, of some 400,000: what is made when it is first needed
_GROWING_BLOCKS = 1_000  # from round to round
_SLACK_SHARE = 0.2  # of the memory that held calls take, by which the allocator may keep more each round
_FEW_KEYS = 10  # that come and go with the minutes
_POLL_SECONDS = 0.05
_DECK = """\
prefix,destination,rate_per_minute,connect_fee,initial_increment,subsequent_increment
44,United Kingdom,0.0600,0,60,60
"""


@dataclass(frozen=True)
class Figures:
    """The program at one moment: bytes of memory (anonymous, resident), file descriptors and threads of all
    its processes; asyncio tasks and memory blocks of the SIP process, and objects that only the cyclic
    collector found; keys and bytes of the ledger, and how many calls it knows. `tombstones` are among the
    keys."""

    memory: int
    descriptors: int
    threads: int
    tasks: int
    blocks: int
    unreachable: int
    keys: int
    tombstones: int
    ledger_bytes: int
    leases: int


@dataclass(frozen=True)
class Round:
    """One time up and down. `hung_up_seconds`: from the first BYE to the last answer; `freed_seconds`: from
    that to the last lease's end."""

    held: Figures
    after: Figures
    hung_up_seconds: float
    freed_seconds: float
    repeated: int


class Stage:
    """The running program and what belongs to it."""

    def __init__(self, root: int, address: tuple[str, int], told: Path, ledger: redis.Redis) -> None:
        self.root = root
        self.address = address
        self._told = told
        self.ledger = ledger

    def leases(self) -> int:
        """How many calls the ledger counts."""
        return int(self.ledger.zcard("{tw}:leases"))

    def figures(self, *, idle: bool) -> Figures:
        """What it holds now; when `idle` without what its caches keep. Raises LoadFailed when the program
        does not tell."""
        processes = family(self.root)
        own = self._tell(signal.SIGUSR2 if idle else signal.SIGUSR1)
        tombstones = sum(
            bool(self.ledger.hexists(key, "x")) for key in self.ledger.scan_iter("{tw}:k:*", count=1000)
        )
        return Figures(
            memory=sum(map(_anonymous, processes)),
            descriptors=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in processes),
            threads=sum(len(os.listdir(f"/proc/{pid}/task")) for pid in processes),
            **own,
            keys=int(self.ledger.dbsize()),
            tombstones=tombstones,
            ledger_bytes=int(self.ledger.info("memory")["used_memory"]),
            leases=self.leases(),
        )

    def _tell(self, number: signal.Signals) -> dict[str, int]:
        self._told.unlink(missing_ok=True)
        os.kill(self.root, number)
        wait_for(self._told.exists, _PATIENCE_SECONDS, "the program's figures")
        return dict(json.loads(self._told.read_text()))


def _anonymous(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def wait_for(condition, seconds: float, what: str) -> float:
    """Until it holds; how long that took. Raises LoadFailed."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            raise LoadFailed(f"{what}: not within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


@contextlib.contextmanager
def stage(folder: Path, t1_ms: int) -> Iterator[Stage]:
    """The program with every limit of the ledger in use, its ledger, and a provider that answers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rates.csv").write_text(_DECK)
    callee, port = (CALLER_HOST, generator.free_port()), generator.free_port()
    with targets.ledger() as ledger_socket:
        config = {
            "listen": [f"udp:{CALLER_HOST}:{port}"],
            "admin": {"listen": f"{CALLER_HOST}:0"},
            "ledger": {"url": f"unix://{ledger_socket}"},
            "timers": {"t1_ms": t1_ms},
            "records": {"file": str(folder / "records.jsonl")},
            "rate_decks": {"retail": {"file": str(folder / "rates.csv"), "currency": "USD"}},
            "accounts": [{"name": "acme", "capacity_limit": 30000, "threshold_amount": "1000000.00"}],
            "providers": [
                {"name": "carrier", "hostname": f"{callee[0]}:{callee[1]}", "capacity_limit": 30000}
            ],
            "trunks": [
                {
                    "name": "desk", "account": "acme", "provider": "carrier",
                    "allowed_sip_ips": [CALLER_HOST], "destination_whitelist": ["gb"],
                    "capacity_limit": 30000, "rate_deck": "retail", "threshold_amount": "1000000.00",
                }
            ],
            "emergency": "none",
        }  # fmt: skip
        file, out, log, told = (folder / name for name in ("trunkwarden.yaml", "stdout", "stderr", "told"))
        file.write_text(yaml.safe_dump(config))
        answering = sipp("uas_patient", folder / "callee", callee, "-l", "100000")
        try:
            wait_until_bound(callee)
            with out.open("wb") as stdout, log.open("wb") as stderr:
                process = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.watched", str(told), "serve", "-c", str(file),
                     "--drain-seconds", "1"],
                    cwd=Path(__file__).resolve().parents[1], stdout=stdout, stderr=stderr,
                )  # fmt: skip
            try:
                targets._wait(lambda: "ready " in out.read_text(), "trunkwarden", process, log)
                client = redis.Redis(unix_socket_path=str(ledger_socket))
                yield Stage(process.pid, (CALLER_HOST, port), told, client)
            finally:
                targets._stop(process)
        finally:
            answering.kill()
            answering.wait()


def quiet_seconds(t1_ms: int) -> float:
    """How long the last transactions and timers outlive what made them, and a second."""
    return max(_TRANSACTIONS * t1_ms / 1000, _ACK_SECONDS) + 1.0


def one_round(on: Stage, callers: Callers, calls: int, rate: float, quiet: float) -> Round:
    """Place, hold, hang up, and wait until all is over. Raises LoadFailed or CallFailed."""
    callers.place(calls, rate)
    callers.hold(quiet)
    held = on.figures(idle=False)
    began = time.monotonic()
    callers.hang_up()
    hung_up = time.monotonic() - began
    freed = wait_for(lambda: on.leases() == 0, _PATIENCE_SECONDS, "the end of all leases")
    callers.hold(max(quiet, _NAP_SECONDS) + 5.0)
    return Round(held, on.figures(idle=True), hung_up, freed, callers.repeated)


def run(folder: Path, calls: int, rate: float, t1_ms: int, rounds: int) -> tuple[Figures, list[Round]]:
    """The figures before, and those of each round. Raises LoadFailed, CallFailed or CannotMeasure."""
    quiet = quiet_seconds(t1_ms)
    with stage(folder, t1_ms) as on:
        callers = Callers(on.address, CALLER_HOST, CALLED)
        try:
            one_round(on, callers, WARM_UP_CALLS, RATE, 1.0)
            before = on.figures(idle=True)
            done = [one_round(on, callers, calls, rate, quiet) for _ in range(rounds)]
        finally:
            callers.close()
    return before, done


def per_call(before: Figures, one: Round, calls: int) -> dict[str, float]:
    """What one held call takes: bytes of the program, keys and bytes of the ledger."""
    held = one.held
    keys = (held.keys - held.tombstones) - (before.keys - before.tombstones)
    return {
        "memory": (held.memory - before.memory) / calls,
        "keys": keys / calls,
        "ledger_bytes": (held.ledger_bytes - before.ledger_bytes) / calls,
    }


def failings(before: Figures, rounds: list[Round], calls: int) -> list[str]:
    """What is not as it should be."""
    found: list[str] = []
    for number, one in enumerate(rounds, 1):
        after = one.after
        if one.held.leases != calls:
            found.append(f"round {number}: {one.held.leases} leases of {calls} calls")
        if one.freed_seconds > LEASES_GONE_SECONDS:
            found.append(f"round {number}: the last lease ended after {one.freed_seconds:.1f} s")
        found += [
            f"round {number}: {name} {getattr(before, name)} → {getattr(after, name)}"
            for name in ("descriptors", "threads", "tasks")
            if getattr(after, name) > getattr(before, name)
        ]
        if after.blocks > before.blocks + _SLACK_BLOCKS:
            found.append(f"round {number}: memory blocks {before.blocks} → {after.blocks}")
        if after.keys - after.tombstones > before.keys - before.tombstones + _FEW_KEYS:
            found.append(f"round {number}: keys {before.keys} → {after.keys}, {after.tombstones} tombstones")
        if after.unreachable > calls / 10:
            found.append(f"round {number}: {after.unreachable} objects in cycles")
    used = per_call(before, rounds[0], calls)["memory"]
    if used > MOST_PER_CALL:
        found.append(f"{used:,.0f} bytes of memory for each held call")
    first, last = rounds[0].after, rounds[-1].after
    if last.blocks - first.blocks > _GROWING_BLOCKS * (len(rounds) - 1):
        found.append(f"memory blocks from round to round: {first.blocks} → {last.blocks}")
    if last.memory - first.memory > _SLACK_SHARE * (len(rounds) - 1) * (
        rounds[0].held.memory - before.memory
    ):
        found.append(f"memory grows from round to round: {first.memory:,} → {last.memory:,} bytes")
    return found


def show(before: Figures, rounds: list[Round], calls: int) -> None:
    """A line for each moment."""
    print(f"{calls} calls; memory of all processes, descriptors, threads, tasks, blocks, keys (tombstones)")
    moments = [("before", before)]
    for number, one in enumerate(rounds, 1):
        moments += [(f"held {number}", one.held), (f"after {number}", one.after)]
    for name, one in moments:
        print(
            f"{name:9} {one.memory / 1e6:7.1f} MB {one.descriptors:4} {one.threads:4} {one.tasks:4} "
            f"{one.blocks:9} {one.keys:6} ({one.tombstones})  ledger {one.ledger_bytes / 1e6:.1f} MB"
            f"  unreachable {one.unreachable}"
        )
    for number, one in enumerate(rounds, 1):
        used = per_call(before, one, calls)
        print(
            f"round {number}: a call holds {used['memory']:,.0f} B, {used['keys']:.2f} keys and "
            f"{used['ledger_bytes']:,.0f} B of the ledger; hung up in {one.hung_up_seconds:.1f} s, the last "
            f"lease gone {one.freed_seconds:.1f} s later; {one.repeated} requests were repeated"
        )


def main() -> int:
    """1 when something stays behind, or takes too much."""
    parser = argparse.ArgumentParser(prog="held_calls", description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=CALLS, help=f"at once (default: {CALLS})")
    parser.add_argument("--rate", type=float, default=RATE, help=f"calls a second (default: {RATE:g})")
    parser.add_argument("--rounds", type=int, default=2, help="up and down (default: 2)")
    parser.add_argument("--t1-ms", type=int, default=T1_MS, help="shorter means shorter transactions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep configurations and logs there")
    arguments = parser.parse_args()
    reason = generator.available()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="tw-held-") as name:
        folder = arguments.keep or Path(name)
        try:
            before, rounds = run(folder, arguments.calls, arguments.rate, arguments.t1_ms, arguments.rounds)
        except (CannotMeasure, LoadFailed, CallFailed) as error:
            print(error, file=sys.stderr)
            return 1
    show(before, rounds, arguments.calls)
    if arguments.json is not None:
        report = {"machine": platform.platform(), "calls": arguments.calls, "before": asdict(before),
                  "rounds": [asdict(one) for one in rounds],
                  "per_call": per_call(before, rounds[0], arguments.calls)}  # fmt: skip
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    failed = failings(before, rounds, arguments.calls)
    for one in failed:
        print(f"failed: {one}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
