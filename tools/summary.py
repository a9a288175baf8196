"""Prints one line for each stage of the tests, and the sum of them last."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def counts(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests of one JUnit report."""
    passed = failed = skipped = 0
    for suite in ET.parse(report).getroot().iter("testsuite"):
        bad = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        omitted = int(suite.get("skipped", "0"))
        failed += bad
        skipped += omitted
        passed += int(suite.get("tests", "0")) - bad - omitted
    return passed, failed, skipped


def main(stages: list[str]) -> int:
    total = [0, 0, 0]
    for stage in stages:
        numbers = counts(Path(".reports") / f"{stage}.xml")
        total = [sum(pair) for pair in zip(total, numbers, strict=True)]
        print("{}: {} passed, {} failed, {} skipped".format(stage, *numbers))
    print("total: {} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
