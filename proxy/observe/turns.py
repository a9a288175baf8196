"""How long a thread may keep the interpreter to itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SMALL_SECONDS = 0.0005

_usual: list[float] = []


@contextmanager
def small_turns() -> Iterator[None]:
    """While another thread computes, each turn of the event loop waits for the interpreter's lock, by default
    for 5 ms: here it waits for a tenth of that. Several may want that at once; the last one ends it."""
    _usual.append(_usual[-1] if _usual else sys.getswitchinterval())
    sys.setswitchinterval(SMALL_SECONDS)
    try:
        yield
    finally:
        usual = _usual.pop()
        if not _usual:
            sys.setswitchinterval(usual)
