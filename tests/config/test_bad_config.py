"""One file per defect, with the exact text that it must give."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.load import load_config

FOLDER = Path(__file__).parent.parent / "bad_config"
ENVIRON = {"CANARY": "hunter2-canary"}
CASES = sorted(FOLDER.glob("*.yaml"))


def report(file: Path) -> str:
    loaded = load_config(file, ENVIRON)
    lines = [str(problem) for problem in loaded.problems]
    lines += [f"warning: {warning}" for warning in loaded.warnings]
    assert (loaded.config is None) == bool(loaded.problems)
    return "".join(line.replace(f"{FOLDER}/", "") + "\n" for line in lines)


@pytest.mark.parametrize("file", CASES, ids=[file.stem for file in CASES])
def test_the_report_is_exactly_the_expected_one(file: Path) -> None:
    assert report(file) == file.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_case_has_its_text_and_every_text_its_case() -> None:
    assert {file.stem for file in CASES} == {file.stem for file in FOLDER.glob("*.txt")}
    assert len(CASES) >= 40


def test_what_came_from_the_environment_is_never_quoted() -> None:
    assert not any("hunter2" in report(file) for file in CASES)
