"""The checks by name, and what each of them begins with."""

from __future__ import annotations

from random import Random

from tests.fuzz import oracle
from tests.fuzz.calls import calls
from tests.fuzz.seeds import BROKEN, LARGE, MESSAGES, torture

CHECKS: dict[str, oracle.Check] = {
    "parser": oracle.parser,
    "parts": oracle.parts,
    "framer": oracle.framer,
    "stack": oracle.stack,
    "calls": calls,
}
"""parser: one message. parts: URIs, Vias, addresses, lists. framer: a stream. stack: one datagram to the
stack, and on. calls: a whole core and its peers; the bytes are what they decide."""

LIMITS = dict.fromkeys(CHECKS, oracle.SLOW_SECONDS) | {"calls": 2.0}
"""Longest that one input may take, in seconds; one of `calls` is a dozen messages and hours of timers."""


def seeds(name: str) -> list[bytes]:
    """What a check's corpus begins with."""
    if name == "calls":
        random = Random(1)
        return [random.randbytes(random.randint(1, 60)) for _ in range(200)]
    return [*MESSAGES, *BROKEN, *LARGE, *torture()]
