"""tools/summary.py: what the last lines of `make test` say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "summary.py"


def report(
    folder: Path, stage: str, *, tests: int, failures: int = 0, errors: int = 0, skipped: int = 0
) -> None:
    folder.mkdir(exist_ok=True)
    counts = f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
    (folder / f"{stage}.xml").write_text(f"<testsuites><testsuite {counts}/></testsuites>")


def test_stages_and_their_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    report(tmp_path / ".reports", "unit", tests=10, skipped=1)
    report(tmp_path / ".reports", "e2e", tests=5, failures=1, errors=1)
    status = runpy.run_path(str(SCRIPT))["main"](["unit", "e2e"])
    assert capsys.readouterr().out.splitlines() == [
        "unit: 9 passed, 0 failed, 1 skipped",
        "e2e: 3 passed, 2 failed, 0 skipped",
        "total: 12 passed, 2 failed, 1 skipped",
    ]
    assert status == 1
