"""What others wrote, on an operator's terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line, with escapes in place of what a terminal would obey or not show: strangers choose
    the paths that they ask for, and customers the names that they give."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
