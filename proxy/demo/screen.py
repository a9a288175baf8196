"""What the demo shows: lines as decisions fall, tables at the end. Everything goes to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# A pipe or a file has no width: no line of ours is longer.
_UNBOUNDED = 240
# 80 columns of a terminal, spaces in between included
_COLUMNS = (
    ("time", 8), ("trunk", 10), ("dialled", 14), ("to", 3), ("decision", 8), ("reason", 15), ("SIP", 3),
    ("talk", 6), ("cost", 5),
)  # fmt: skip
_COLOURS = {"admitted": "green", "refused": "red", "ended": "cyan", "yes": "green"}


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Whoever read our output is gone: whoever prints is told, and nothing more is written."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise BrokenPipeError


class Screen:
    """Prints. Colours appear on a terminal, unless NO_COLOR is set; text that is not for a terminal is never
    wrapped. Every method may raise BrokenPipeError."""

    def __init__(self) -> None:
        self._console = _Console(width=None if sys.stdout.isatty() else _UNBOUNDED, highlight=False)

    def say(self, text: str = "", style: str = "") -> None:
        """A line of its own."""
        self._print(Text(text, style))

    def heading(self) -> None:
        """The names of the columns of `decision`."""
        self._print(Text(" ".join(name.ljust(width) for name, width in _COLUMNS).rstrip(), "bold"))

    def decision(self, fields: Sequence[str]) -> None:
        """One line: a field for each column of the heading, the fifth being `admitted`, `refused` or
        `ended`."""
        line = Text()
        for (name, width), field in zip(_COLUMNS, fields, strict=True):
            style = _COLOURS.get(fields[4], "") if name in ("decision", "reason", "SIP") else ""
            line.append(field.ljust(width), style)
            line.append(" ")
        line.rstrip()
        self._print(line)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; cells that say what became of a call are coloured, a cell that begins with `NO` in
        alarm."""
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for place, column in enumerate(columns):
            # The first and the last may give way to a narrow terminal; numbers and codes stay whole.
            table.add_column(column, no_wrap=0 < place < len(columns) - 1, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, _style(cell)) for cell in row))
        self._console.print(table)
        self.say()

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def _style(cell: str) -> str:
    return "bold white on red" if cell.startswith("NO") and cell[2:3] in ("", ":") else _COLOURS.get(cell, "")
