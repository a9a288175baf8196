"""Where a call stands, and what moves it on: a table, which drives the session and the diagram in the
documents."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class CallState(IntEnum):
    """Where a call stands. ENDING: hung up by the proxy, its BYE not yet answered."""

    JUDGING = 0
    FORWARDING = 1
    ANSWERED = 2
    ENDING = 3
    ENDED = 4


# What moves a call
ADMITTED: Final = "admitted"  # its reservation stands
REFUSED: Final = "refused"  # by the policy, or for want of a place or of money
SUCCESS: Final = "2xx"  # the first one
HANG_UP: Final = "hang up"  # a limit, the operator, an ACK that never came
SURVIVED: Final = "BYE refused"  # by the far end, so that the call lives
OVER: Final = "over"  # a final failure, a CANCEL, a BYE that the far end accepted

MOVES: Final[dict[CallState, dict[str, CallState]]] = {
    CallState.JUDGING: {
        ADMITTED: CallState.FORWARDING,
        REFUSED: CallState.ENDED,
        OVER: CallState.ENDED,
    },
    CallState.FORWARDING: {
        SUCCESS: CallState.ANSWERED,
        OVER: CallState.ENDED,
    },
    CallState.ANSWERED: {
        HANG_UP: CallState.ENDING,
        OVER: CallState.ENDED,
    },
    CallState.ENDING: {
        SURVIVED: CallState.ANSWERED,
        OVER: CallState.ENDED,
    },
    CallState.ENDED: {},
}


def diagram() -> str:
    """The table as a Mermaid state diagram, one arrow a move."""
    lines = ["stateDiagram-v2", f"    [*] --> {CallState.JUDGING.name.lower()}: INVITE"]
    for state, row in MOVES.items():
        for given, after in row.items():
            target = "[*]" if after is CallState.ENDED else after.name.lower()
            lines.append(f"    {state.name.lower()} --> {target}: {given}")
    return "\n".join(lines) + "\n"
