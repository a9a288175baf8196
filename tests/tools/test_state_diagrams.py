"""tools/state_diagrams.py: the diagrams in the documents are those of the code."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_page_is_fresh() -> None:
    rendered = runpy.run_path(str(ROOT / "tools" / "state_diagrams.py"))["render"]()
    assert rendered.count("```mermaid") == 5
    assert (ROOT / "docs" / "state-diagrams.md").read_text(encoding="utf-8") == rendered, "run make diagrams"
