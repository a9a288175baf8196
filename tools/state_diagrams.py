"""Draws docs/state-diagrams.md from the tables that drive the code: `make diagrams`."""

from __future__ import annotations

from pathlib import Path

from proxy.call import states
from proxy.sip import transaction_tables

PAGE = Path(__file__).resolve().parents[1] / "docs" / "state-diagrams.md"
HEAD = """# State diagrams

Drawn from the tables in the code by `make diagrams`; a test fails when this page is stale. An arrow says what
comes in and, behind the stroke, what is done about it.
"""


def render() -> str:
    """The whole page."""
    parts = [HEAD, "## A call\n\n`proxy/call/states.py`\n", f"```mermaid\n{states.diagram()}```\n"]
    for name, table in transaction_tables.TABLES.items():
        parts.append(f"## {name[0].upper()}{name[1:]}\n\n`proxy/sip/transaction_tables.py`\n")
        parts.append(f"```mermaid\n{transaction_tables.diagram(table)}```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
