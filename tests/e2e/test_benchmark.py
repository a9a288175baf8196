"""The benchmark runs, measures what it says, and fails when calls do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import family, processor_seconds

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 110
RATE = 20


@pytest.mark.alone
def test_a_short_run(tmp_path) -> None:
    figures = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_calls", "--target", "trunkwarden",
         "--target", "trunkwarden-digest", "--rate", str(RATE), "--seconds", "2", "--json", str(figures)],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    direct, *proxies = json.loads(figures.read_text())["measurements"]
    assert [one["target"] for one in (direct, *proxies)] == ["direct", "trunkwarden", "trunkwarden-digest"]
    assert direct["processor_us"] is None
    for proxy in proxies:
        assert 100 < proxy["processor_us"] < 1_000_000
        assert proxy["load"]["failed"] == 0
        assert proxy["load"]["calls"] > 2 * RATE  # the probe's own calls are counted too
        assert proxy["load"]["delay_p50_ms"] > direct["load"]["delay_p50_ms"] > 0


def own_seconds(pid: int) -> float:
    """Processor time of this process without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_children_are_counted() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    parent = subprocess.Popen([sys.executable, "-c", script])
    busy = 0.3
    try:
        deadline = time.monotonic() + 20.0
        while processor_seconds(parent.pid) < busy:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        members = family(parent.pid)
        assert len(members) == 2
        # The child goes on meanwhile; its parent waits.
        before, both, after = (processor_seconds(members[index]) for index in (1, 0, 1))
        assert before <= both - own_seconds(parent.pid) <= after
    finally:
        for pid in reversed(family(parent.pid)):
            subprocess.run(["kill", "-9", str(pid)], check=False)
        parent.wait()
