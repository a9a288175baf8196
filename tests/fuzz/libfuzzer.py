"""One check under libFuzzer, by atheris: `python -m tests.fuzz.libfuzzer CHECK INPUTS SEED FOLDER`.

Leaves what it counted in FOLDER/CHECK.json, its slowest inputs in FOLDER/slow, its corpus in
FOLDER/corpus/CHECK and an input that fails in FOLDER/CHECK-crash-….
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["proxy"]):
    from tests.fuzz import checks, oracle

from tests.fuzz.mutator import mutate

OWN_CHANGES = 0.8
"""How much of the changing is our mutator's; the rest is libFuzzer's."""

SLOWEST = 20
"""How many of the slowest inputs are kept."""

_EACH = 50_000


def _counting(name: str, inputs: int, folder: Path) -> oracle.Check:
    """The check, with its inputs counted. The figures and the slowest inputs are written on the way and at
    the end: how slow they are can be said only where nothing is instrumented."""
    check = checks.CHECKS[name]
    slow = folder / "slow"
    slow.mkdir(exist_ok=True)
    started = time.perf_counter()
    slowest: list[tuple[float, bytes]] = []
    count = 0

    def one_input(data: bytes) -> None:
        nonlocal count
        before = time.perf_counter()
        check(data)
        seconds = time.perf_counter() - before
        if len(slowest) < SLOWEST:
            heapq.heappush(slowest, (seconds, data))
        elif seconds > slowest[0][0]:
            heapq.heapreplace(slowest, (seconds, data))
        count += 1
        if count >= inputs or count % _EACH == 0:
            for index, (_, one) in enumerate(slowest):
                (slow / f"{name}-{index}").write_bytes(one)
            figures = {"inputs": count, "seconds": round(time.perf_counter() - started, 1)}
            (folder / f"{name}.json").write_text(json.dumps(figures))

    return one_input


def _changed(data: bytes, max_size: int, seed: int) -> bytes:
    random = Random(seed)
    if random.random() < OWN_CHANGES:
        return mutate(data, random)[:max_size]
    changed: bytes = atheris.Mutate(data, max_size)
    return changed


def main(name: str, inputs: int, seed: int, folder: Path) -> None:
    """Runs until `inputs` were tried or one fails; does not return."""
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(checks.seeds(name)):
        (corpus / f"seed-{index:03d}").write_bytes(data)
    options = [
        "libfuzzer", f"-runs={inputs}", f"-seed={seed}", f"-artifact_prefix={folder}/{name}-", "-timeout=60",
        f"-max_len={96 if name == 'calls' else 20_000}", "-rss_limit_mb=4096", str(corpus),
    ]  # fmt: skip
    mutator = {} if name == "calls" else {"custom_mutator": _changed}
    atheris.Setup(options, _counting(name, inputs, folder), **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
