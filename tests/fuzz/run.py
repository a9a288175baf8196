"""`make fuzz`: every check under libFuzzer, as many at a time as there are processors, and one line for each;
then our reading of generated messages beside that of others.

`python -m tests.fuzz.run --replay FILE --check NAME` runs one kept input again, without atheris.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any

from tests.fuzz import checks, oracle, readers
from tests.fuzz.dialects import dialect
from tests.fuzz.differences import KNOWN, compare

FOLDER = Path(".reports/fuzz")
INPUTS = {"parser": 1_000_000, "parts": 150_000, "framer": 150_000, "stack": 150_000, "calls": 40_000}
"""The long ones first: they decide when all are done."""

_COVERED = ("sip/framing", "sip/headers", "sip/malformed", "sip/message", "sip/parse", "sip/serialize",
            "sip/stack", "sip/transaction", "sip/uri", "sip/via", "call/core", "call/dialog",
            "call/forwarding", "call/relay", "call/session")  # fmt: skip
_EDGES = re.compile(r"cov: (\d+)")


def _run(name: str, inputs: int, seed: int, folder: Path) -> str | None:
    """Run one check in a process of its own; what went wrong, or None."""
    log = folder / f"{name}.log"
    (folder / f"{name}.json").unlink(missing_ok=True)
    with log.open("wb") as out:
        code = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.libfuzzer", name, str(inputs), str(seed), str(folder)],
            stdout=out, stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    text = log.read_text(errors="replace")
    figures = json.loads((folder / f"{name}.json").read_text()) if (folder / f"{name}.json").exists() else {}
    edges = _EDGES.findall(text)
    count, seconds = figures.get("inputs", 0), figures.get("seconds", 0.0)
    print(
        f"{name}: {count} inputs in {seconds:.0f} s, {edges[-1] if edges else 0} branches reached", flush=True
    )
    if code == 0 and count >= inputs:
        return None
    kept = sorted(folder.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
    again = f"python -m tests.fuzz.run --check {name} --replay {kept[-1]}" if kept else "no input was kept"
    return f"{name} failed ({code}), see {log}\n{text[-2000:]}\nto run it again: {again}"


def _slowest(name: str, folder: Path) -> str | None:
    """Time the slowest inputs again, without instruments; what took too long, or None."""
    check = checks.CHECKS[name]
    worst, size = 0.0, 0
    for path in sorted((folder / "slow").glob(f"{name}-*")):
        data = path.read_bytes()
        seconds = oracle.confirmed_seconds(check, data, 3)
        if seconds > checks.LIMITS[name]:
            return f"{name} takes {seconds * 1000:.0f} ms for {path}"
        if seconds > worst:
            worst, size = seconds, len(data)
    print(f"{name}: the slowest input takes {worst * 1000:.2f} ms for {size} bytes", flush=True)
    return None


def _lines(code: CodeType) -> set[int]:
    """The lines of a module that can run."""
    found = {line for _, _, line in code.co_lines() if line}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _lines(constant)
    return found


def coverage(folder: Path) -> dict[str, float]:
    """Share of the lines of each module within functions that the corpora reach. What runs at import alone
    does not count."""
    seen: dict[str, set[int]] = {}

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        if "/proxy/" not in name:
            return None
        seen.setdefault(name.rpartition("/proxy/")[2].removesuffix(".py"), set()).add(frame.f_lineno)
        return trace

    for name, check in checks.CHECKS.items():
        inputs = [path.read_bytes() for path in sorted((folder / "corpus" / name).glob("*"))]
        sys.settrace(trace)
        try:
            for data in inputs:
                check(data)
        finally:
            sys.settrace(None)
    shares = {}
    for module in _COVERED:
        source = Path("proxy") / f"{module}.py"
        code = compile(source.read_text(), str(source), "exec")
        wanted: set[int] = set()
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                wanted |= {
                    line
                    for inner in constant.co_consts
                    if isinstance(inner, CodeType)
                    for line in _lines(inner)
                } or _lines(constant)
        if wanted:
            shares[module] = len(wanted & seen.get(module, set())) / len(wanted)
    return shares


def beside_others(count: int, seed: int) -> list[str]:
    """Compare our reading of `count` messages with the others'; the differences that nobody has decided."""
    random = Random(seed)
    messages = [dialect(number, random) for number in range(count)]
    theirs = None
    missing = readers.Kamailio.missing()
    if missing is not None:
        print(f"not compared with Kamailio: {missing}")
    else:
        with tempfile.TemporaryDirectory(prefix="tw-fuzz-") as folder:
            peer = readers.Kamailio(Path(folder))
            try:
                theirs = list(peer.read([one.data for one in messages]))
            finally:
                peer.stop()
    found = compare(messages, theirs)
    for what, times in sorted(found.counts.items()):
        print(f"{count} messages: {times} {what}")
    for (reader, name, way), times in sorted(found.differences.items()):
        print(
            f"{times} times {reader} differs in {name}, {way}: {KNOWN.get((reader, name, way), 'undecided')}"
        )
    return found.failures


def main() -> int:
    """Returns 1 where any check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", choices=list(INPUTS), help="one check alone")
    parser.add_argument("--inputs", type=int, help="how many, instead of each check's own number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="corpora and failures (default: %(default)s)"
    )
    parser.add_argument("--replay", type=Path, help="run this input once, without atheris")
    parser.add_argument("--messages", type=int, default=20_000, help="how many to compare with other readers")
    parser.add_argument("--no-coverage", action="store_true", help="do not replay the corpora at the end")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        name = arguments.check or "parser"
        seconds = oracle.timed(checks.CHECKS[name], arguments.replay.read_bytes(), checks.LIMITS[name])
        print(f"no failure, {seconds * 1000:.2f} ms")
        return 0
    arguments.folder.mkdir(parents=True, exist_ok=True)
    names = [arguments.check] if arguments.check else list(INPUTS)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        failures = [
            failure
            for failure in pool.map(
                lambda name: _run(name, arguments.inputs or INPUTS[name], arguments.seed, arguments.folder),
                names,
            )
            if failure is not None
        ]
    failures += [failure for name in names if (failure := _slowest(name, arguments.folder)) is not None]
    if not arguments.check:
        failures += beside_others(arguments.messages, arguments.seed)[:10]
    for failure in failures:
        print(failure, file=sys.stderr)
    if not failures and not arguments.no_coverage:
        for module, share in coverage(arguments.folder).items():
            print(f"proxy/{module}.py: {share:.0%} of its lines")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
