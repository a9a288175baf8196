"""Overload: how many calls a second get through when several times as many are offered as can be served.

The peak is found with a closed loop (as many calls at once as the proxy keeps up with, no more), then a
multiple of it is offered in an open loop whose callers do not come again when they are turned away. Both are
made by SIPp against the same running program, one after the other, and again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import generator
from benchmarks.generator import CALLED, CALLER_HOST, LoadFailed, sipp, wait_until_bound
from benchmarks.processes import processor_seconds
from benchmarks.targets import CannotMeasure, Target, trunkwarden

AT_ONCE = 250
"""Calls at once that find the peak: enough to keep the proxy busy, too few to make a queue."""

HOLD_MS = 100
WARM_UP_SECONDS = 2.0
SECONDS = 20
TIMES = 3.0
ROUNDS = 3
GOAL = 0.8
_NO_LIMIT = 100_000
_MOST_OFFERED = 20_000
_POLL_SECONDS = 0.05
_DRAIN_SECONDS = 45.0
_FEWEST_SAMPLES = 3
_HELD_UP = 3  # times the length of a phase, at most, until there are so many
_ADMITTED, _SHED, _FAREWELLS = "5_200_Recv", "4_503_Recv", "9_200_Recv"


@dataclass(frozen=True)
class Phase:
    """What callers saw. Rates are calls a second in the middle of the phase; `per_processor_second` is the
    calls that were completed in each second of processor time of the program, `processors` how much of that
    time it got in each second; `failed` calls were neither completed nor turned away for overload."""

    offered_rate: float
    completed_rate: float
    per_processor_second: float
    processors: float
    offered: int
    admitted: int
    shed: int
    hung_up: int
    failed: int
    retransmissions: int

    @property
    def every_bye_succeeded(self) -> bool:
        """Whether each call that was answered was hung up."""
        return self.admitted == self.hung_up


@dataclass(frozen=True)
class Round:
    """One peak, and one overload after it."""

    peak: Phase
    overload: Phase

    @property
    def ratio(self) -> float:
        """Completed calls a second in overload, as a share of the peak."""
        return self.overload.completed_rate / self.peak.completed_rate

    @property
    def ratio_of_work(self) -> float:
        """The same for each second of processor time that the proxy got: what other programs take from both
        phases unevenly does not count."""
        return self.overload.per_processor_second / self.peak.per_processor_second

    @property
    def times(self) -> float:
        """What was offered in overload, as a multiple of what the program could have completed in the
        processor time that other programs left it."""
        return self.overload.offered_rate / (self.peak.per_processor_second * self.overload.processors)


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[tuple[Target, Path]]:
    """The program and a provider that answers, both running."""
    callee = (CALLER_HOST, generator.free_port())
    with trunkwarden(folder / "trunkwarden", generator.free_port(), callee) as target:
        answering = sipp("uas_patient", folder / "callee", callee, "-l", str(_NO_LIMIT))
        generator.go_first(answering)
        try:
            wait_until_bound(callee)
            yield target, folder
        finally:
            answering.kill()
            answering.wait()


def one_round(target: Target, folder: Path, seconds: int, times: float) -> Round:
    """The peak, then `times` as much. Raises LoadFailed."""
    peak = _phase(target, folder / "peak", seconds, _MOST_OFFERED, AT_ONCE)
    rate = min(_MOST_OFFERED, round(times * peak.completed_rate))
    return Round(peak, _phase(target, folder / "overload", seconds, rate, _NO_LIMIT))


def _phase(target: Target, folder: Path, seconds: int, rate: int, at_once: int) -> Phase:
    assert target.root is not None
    open_loop = at_once == _NO_LIMIT
    calls = ("-m", str(rate * seconds)) if open_loop else ()
    placing = sipp(
        "uac_maybe_shed", folder, (CALLER_HOST, generator.free_port()), "-s", CALLED, "-d", str(HOLD_MS),
        "-r", str(rate), "-l", str(at_once), "-trace_counts", *calls,
        f"{target.address[0]}:{target.address[1]}",
    )  # fmt: skip
    generator.go_first(placing)
    samples: list[tuple[float, float, dict[str, int]]] = []
    started = time.monotonic()

    def steady() -> list[tuple[float, float, dict[str, int]]]:
        return [sample for sample in samples if sample[0] - started > WARM_UP_SECONDS]

    def goes_on() -> bool:
        """A machine that stood still has seen less than the time that passed."""
        most = seconds if len(steady()) >= _FEWEST_SAMPLES else _HELD_UP * seconds
        return time.monotonic() - started < most

    try:
        while placing.poll() is None and goes_on():
            row = _counts(folder)
            if row and (not samples or row != samples[-1][2]):
                samples.append((time.monotonic(), processor_seconds(target.root), row))
            time.sleep(_POLL_SECONDS)
        if not open_loop:
            placing.send_signal(generator.FINISH)
        placing.wait(_DRAIN_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed("the caller did not end in time") from error
    finally:
        placing.kill()
        placing.wait()
    samples = steady()
    if len(samples) < _FEWEST_SAMPLES:
        raise LoadFailed((folder / "screen").read_text(errors="replace")[-1000:])
    (began, used_before, before), (ended, used_after, after) = samples[0], samples[-1]
    completed = after[_FAREWELLS] - before[_FAREWELLS]
    last = _counts(folder)
    statistics = generator.rows(folder / "statistics.csv")[-1]
    return Phase(
        offered_rate=(after["0_INVITE_Sent"] - before["0_INVITE_Sent"]) / (ended - began),
        completed_rate=completed / (ended - began),
        per_processor_second=completed / (used_after - used_before),
        processors=(used_after - used_before) / (ended - began),
        offered=last["0_INVITE_Sent"],
        admitted=last[_ADMITTED],
        shed=last[_SHED],
        hung_up=last[_FAREWELLS],
        failed=int(statistics["FailedCall(C)"]),
        retransmissions=int(statistics["Retransmissions(C)"]),
    )


def _counts(folder: Path) -> dict[str, int]:
    """SIPp's counters a message, as of its last second."""
    path = next(folder.glob("*_counts.csv"), None)
    rows = [] if path is None else generator.rows(path)
    if not rows:
        return {}
    return {name: int(value) for name, value in rows[-1].items() if name and value and value.isdigit()}


def show(rounds: list[Round]) -> None:
    """A line for each phase."""
    for number, one in enumerate(rounds, 1):
        for name, phase in (("peak", one.peak), ("overload", one.overload)):
            print(
                f"{number} {name:9} offered {phase.offered_rate:6.0f}/s  "
                f"completed {phase.completed_rate:5.0f}/s  "
                f"{phase.per_processor_second:5.0f} a CPU second  shed {phase.shed}  failed {phase.failed}  "
                f"hung up {phase.hung_up} of {phase.admitted}  retransmissions {phase.retransmissions}"
            )
        print(f"{number} goodput {one.ratio:.0%} of the peak ({one.ratio_of_work:.0%} by processor time)")


def main() -> int:
    """1 when a BYE failed, or the median goodput is below the goal."""
    parser = argparse.ArgumentParser(prog="overload", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of each phase (default: {SECONDS})")
    parser.add_argument(
        "--times", type=float, default=TIMES, help=f"what is offered, in peaks (default: {TIMES})"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"peak and overload (default: {ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep configurations and logs there")
    arguments = parser.parse_args()
    reason = generator.available()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="tw-overload-") as name:
        try:
            with stage(arguments.keep or Path(name)) as (target, folder):
                for number in range(arguments.rounds):
                    rounds.append(one_round(target, folder / f"{number}", arguments.seconds, arguments.times))
                    show(rounds[-1:])
        except (CannotMeasure, LoadFailed) as error:
            print(error, file=sys.stderr)
            return 1
    ratio = sorted(one.ratio for one in rounds)[len(rounds) // 2]
    byes = all(phase.every_bye_succeeded for one in rounds for phase in (one.peak, one.overload))
    print(f"median goodput {ratio:.0%} of the peak (goal {GOAL:.0%}); every BYE succeeded: {byes}")
    if arguments.json is not None:
        report = {"machine": platform.platform(), "processors": generator.processors(),
                  "rounds": [asdict(one) for one in rounds]}  # fmt: skip
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if ratio >= GOAL and byes else 1


if __name__ == "__main__":
    sys.exit(main())
