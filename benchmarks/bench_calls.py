"""What a call costs: SIPp pairs through Trunkwarden and through Kamailio, side by side in one run.

A call is seven messages (INVITE, 100, 180, 200, ACK, BYE, 200), with a login ten (407, ACK, INVITE), and is
held 200 ms. Measured are the processor time of all the program's processes a call, children included and the
ledger's server excluded; the delay that it adds from INVITE to 180, against a direct run at the same rate, on
calls of a probe; failed calls and retransmissions; and how busy the load generator was: near one processor,
the figures are the generator's.

Run it as `python -m benchmarks.bench_calls`; `--help` lists what can be changed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import generator
from benchmarks.generator import CALLER_HOST, Load, LoadFailed
from benchmarks.processes import processor_seconds
from benchmarks.targets import TARGETS, CannotMeasure, NotInstalled

RATES = (200, 500, 1000)
SECONDS = 10
HOLD_MS = 200
SATURATED_SHARE = 0.9  # of a processor: a generator above it measures itself
KEPT_UP_SHARE = 0.97  # of the wanted rate
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Measurement:
    """One target at one rate. `processor_us`: processor time a call; None where nobody works."""

    target: str
    rate: int
    load: Load
    processor_us: float | None
    added_p50_ms: float | None
    added_p99_ms: float | None
    note: str


def measure(name: str, rate: int, seconds: int, folder: Path, base: Load | None) -> Measurement:
    """One target at one rate, started anew. Raises CannotMeasure, LoadFailed."""
    callee = (CALLER_HOST, generator.free_port())
    with TARGETS[name](folder / name, generator.free_port(), callee) as target:
        before = processor_seconds(target.root) if target.root is not None else 0.0
        load = generator.run(
            folder / "load", target.address, generator.free_port(), callee, rate, seconds, HOLD_MS,
            target.login,
        )  # fmt: skip
        used = processor_seconds(target.root) - before if target.root is not None else None
    return Measurement(
        target=name,
        rate=rate,
        load=load,
        processor_us=None if used is None else used / load.calls * _MICROSECONDS,
        added_p50_ms=None if base is None else load.delay_p50_ms - base.delay_p50_ms,
        added_p99_ms=None if base is None else load.delay_p99_ms - base.delay_p99_ms,
        note=_note(load, rate),
    )


def _note(load: Load, rate: int) -> str:
    notes = []
    if max(load.caller_share, load.callee_share) > SATURATED_SHARE:
        notes.append("generator saturated")
    if load.achieved_rate < rate * KEPT_UP_SHARE:
        notes.append("rate not reached")
    return ", ".join(notes)


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def show(measurements: list[Measurement], console: Console) -> None:
    """The table."""
    table = Table(
        title=f"{HOLD_MS} ms held; processor time of all the target's processes, ledger server excluded"
    )
    for column in ("target", "calls/s", "reached", "CPU µs/call", "delay p50/p99 ms", "added p50/p99 ms",
                   "failed", "retrans.", "sipp CPU caller/callee", "note"):  # fmt: skip
        table.add_column(column, justify="left" if column in ("target", "note") else "right")
    for one in measurements:
        load = one.load
        table.add_row(
            one.target,
            str(one.rate),
            f"{load.achieved_rate:.0f}",
            _number(one.processor_us, 0),
            f"{load.delay_p50_ms:.2f} / {load.delay_p99_ms:.2f}",
            f"{_number(one.added_p50_ms)} / {_number(one.added_p99_ms)}",
            str(load.failed),
            str(load.retransmissions),
            f"{load.caller_share:.0%} / {load.callee_share:.0%}",
            one.note,
        )
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_calls", description=__doc__.partition("\n")[0])
    parser.add_argument("--target", action="append", choices=[name for name in TARGETS if name != "direct"],
                        help="what to measure, repeatable (default: trunkwarden and kamailio)")  # fmt: skip
    parser.add_argument("--rate", action="append", type=int, help=f"calls a second (default: {RATES})")
    parser.add_argument(
        "--seconds", type=int, default=SECONDS, help=f"length of each run (default: {SECONDS})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there; - is stdout")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep configurations and logs there")
    return parser.parse_args()


def main() -> int:
    """Measure what can be measured; 1 when something could not be, or when calls failed."""
    arguments = _arguments()
    console = Console(stderr=arguments.json == Path("-"))
    reason = generator.available()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    measurements: list[Measurement] = []
    faults = 0
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as name:
        for rate in arguments.rate or RATES:
            base: Load | None = None
            for target in ("direct", *(arguments.target or ("trunkwarden", "kamailio"))):
                folder = (arguments.keep or Path(name)) / f"{target}-{rate}"
                try:
                    with console.status(f"{target} at {rate} calls/s"):
                        one = measure(target, rate, arguments.seconds, folder, base)
                except (CannotMeasure, LoadFailed) as error:
                    print(f"{target} at {rate} calls/s: {error}", file=sys.stderr)
                    # Kamailio is an extra: without it the rest is still measured.
                    faults += arguments.target is not None or not isinstance(error, NotInstalled)
                    continue
                measurements.append(one)
                faults += one.load.failed > 0
                base = base or one.load
    show(measurements, console)
    if arguments.json is not None:
        report = {
            "machine": platform.platform(),
            "processors": generator.processors(),
            "seconds": arguments.seconds,
            "hold_ms": HOLD_MS,
            "measurements": [asdict(one) for one in measurements],
        }
        text = json.dumps(report, indent=2)
        if arguments.json == Path("-"):
            print(text)
        else:
            arguments.json.write_text(text + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
