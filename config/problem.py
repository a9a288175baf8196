"""What is wrong in a file, and where."""

from __future__ import annotations

import re
from typing import NamedTuple

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Finding(NamedTuple):
    """Something wrong or doubtful at a place of the model, such as `trunks[0].provider`; empty: the file."""

    path: str
    message: str


class Problem(NamedTuple):
    """A finding with its place in a file. Printed as `FILE:LINE: path: message`.

    line: from 1; 0 when the file could not be read at all, and then it is not printed.
    """

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"
        return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def join(parent: str, part: str | int) -> str:
    """The path of a key or list index below `parent`."""
    if isinstance(part, int):
        return f"{parent}[{part}]"
    return f"{parent}.{part}" if parent else part


def enclosing(path: str) -> str:
    """The path one step further out; of a top-level key the empty path."""
    return path[: max(path.rfind("."), path.rfind("["), 0)]
