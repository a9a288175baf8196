"""docs/failure-modes.md: every fault that we know of is in it, and each line names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "failure-modes.md").read_text()
ROWS = [
    line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "| what"))
]
FAULTS = (
    "kill -9", "SIGSTOP", "clock of an instance", "clock steps back", "everysec", "always", "SCRIPT FLUSH",
    "FLUSHALL", "one key is deleted", "READONLY", "LOADING", "BUSY", "MISCONF", "OOM", "WRONGTYPE", "NOAUTH",
    "maxclients", "750 ms", "cut off for a minute", "Sentinel", "Cluster", "`reject`", "`admit`",
    "maxmemory-policy", "persistence is off", "answer is lost", "daylight saving", "blocked",
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_in_the_table(fault: str) -> None:
    name = fault.strip("`")
    assert any(name in row for row in ROWS), fault


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_each_line_names_tests_that_exist(row: str) -> None:
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)`", row)
    assert named, row
    for name in named:
        assert (ROOT / (name if name.startswith("tests/") else f"tests/ledger/{name}")).is_file(), name
