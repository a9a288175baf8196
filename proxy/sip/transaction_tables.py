"""The four state machines of RFC 3261 §17 as corrected by RFC 6026 and RFC 4320: the tables drive the code.

table[state][input] is a Transition: what is done, which timers are armed, and the state after it. What a
table does not list is ignored in that state. Leaving a state stops its timers, except where the transition
keeps them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# States. NEW is before the first message.
NEW: Final = "new"
CALLING: Final = "calling"
TRYING: Final = "trying"
PROCEEDING: Final = "proceeding"
ACCEPTED: Final = "accepted"
COMPLETED: Final = "completed"
OVERDUE: Final = "overdue"  # an INVITE whose user has gone on without it; what still comes is cleared up
CONFIRMED: Final = "confirmed"
TERMINATED: Final = "terminated"

# Inputs: from the wire (client side) or from the user (server side)
PROVISIONAL: Final = "1xx"
SUCCESS: Final = "2xx"
FAILURE: Final = "3xx-6xx"
REQUEST: Final = "request"
ACK: Final = "ACK"
CANCEL: Final = "cancel"
TRANSPORT_ERROR: Final = "transport error"

INPUT_OF_CLASS: Final = ("", PROVISIONAL, SUCCESS, FAILURE, FAILURE, FAILURE, FAILURE)
"""A response's input by the first digit of its status."""

# Inputs: timers. CANCEL_WAIT is the 64*T1 of §9.1; LAST_WAIT is what Timer B has left of 64*T1 where the
# user's is shorter, at least T4; GUARD is the upstream's Timer F: past it, no response can arrive any more
# (RFC 4320 §4.2).
TIMER_A: Final = "timer A"
TIMER_B: Final = "timer B"
TIMER_D: Final = "timer D"
TIMER_E: Final = "timer E"
TIMER_E_LATE: Final = "timer E at T2"
TIMER_F: Final = "timer F"
TIMER_G: Final = "timer G"
TIMER_H: Final = "timer H"
TIMER_I: Final = "timer I"
TIMER_J: Final = "timer J"
TIMER_K: Final = "timer K"
TIMER_L: Final = "timer L"
TIMER_M: Final = "timer M"
CANCEL_WAIT: Final = "cancel wait"
LAST_WAIT: Final = "last wait"
GUARD: Final = "guard"

RETRANSMIT_TIMERS: Final = frozenset({TIMER_A, TIMER_E, TIMER_E_LATE, TIMER_G})
"""Armed over unreliable transports only; all others end a state."""

# Effects
SEND: Final = "send"  # the message that came with the input
RESEND: Final = "resend"  # the last message sent
ACKNOWLEDGE: Final = "send ACK"
SEND_CANCEL: Final = "send CANCEL"
REMEMBER_CANCEL: Final = "remember CANCEL"
PASS_UP: Final = "pass up"
TIMED_OUT: Final = "tell timeout"
FAILED: Final = "tell transport failure"
ENDED: Final = "tell end"
UNACKNOWLEDGED: Final = "tell missing ACK"


class Transition(NamedTuple):
    """state: after it. effects: in their order. timers: armed after the old ones have stopped. keep: the
    timers of the old state run on."""

    state: str
    effects: tuple[str, ...] = ()
    timers: tuple[str, ...] = ()
    keep: bool = False


Table = dict[str, dict[str, Transition]]

# RFC 3261 §17.1.1, Figure 5; RFC 6026. OVERDUE is ours: a user may give a silent target less time than 64*T1,
# but a phone that rings after that has to be cancelled, and one that is answered be hung up.
INVITE_CLIENT: Final[Table] = {
    NEW: {
        REQUEST: Transition(CALLING, (SEND,), (TIMER_A, TIMER_B)),
    },
    CALLING: {
        TIMER_A: Transition(CALLING, (RESEND,), (TIMER_A,)),
        TIMER_B: Transition(OVERDUE, (TIMED_OUT,), (LAST_WAIT,)),
        PROVISIONAL: Transition(PROCEEDING, (PASS_UP,)),
        SUCCESS: Transition(ACCEPTED, (PASS_UP,), (TIMER_M,)),
        FAILURE: Transition(COMPLETED, (ACKNOWLEDGE, PASS_UP), (TIMER_D,)),
        CANCEL: Transition(CALLING, (REMEMBER_CANCEL,)),
        TRANSPORT_ERROR: Transition(OVERDUE, (FAILED,), (LAST_WAIT,)),
    },
    PROCEEDING: {
        PROVISIONAL: Transition(PROCEEDING, (PASS_UP,)),
        SUCCESS: Transition(ACCEPTED, (PASS_UP,), (TIMER_M,)),
        FAILURE: Transition(COMPLETED, (ACKNOWLEDGE, PASS_UP), (TIMER_D,)),
        CANCEL: Transition(PROCEEDING, (SEND_CANCEL,), (CANCEL_WAIT,)),
        CANCEL_WAIT: Transition(TERMINATED, (TIMED_OUT,)),
        TRANSPORT_ERROR: Transition(OVERDUE, (FAILED,), (LAST_WAIT,)),
    },
    OVERDUE: {
        PROVISIONAL: Transition(PROCEEDING, (PASS_UP,), (CANCEL_WAIT,)),
        SUCCESS: Transition(ACCEPTED, (PASS_UP,), (TIMER_M,)),
        FAILURE: Transition(COMPLETED, (ACKNOWLEDGE, PASS_UP), (TIMER_D,)),
        LAST_WAIT: Transition(TERMINATED),
    },
    ACCEPTED: {
        SUCCESS: Transition(ACCEPTED, (PASS_UP,)),
        TIMER_M: Transition(TERMINATED),
    },
    COMPLETED: {
        FAILURE: Transition(COMPLETED, (ACKNOWLEDGE,)),
        TIMER_D: Transition(TERMINATED),
        TRANSPORT_ERROR: Transition(TERMINATED),
    },
}

# RFC 3261 §17.1.2, Figure 6
NON_INVITE_CLIENT: Final[Table] = {
    NEW: {
        REQUEST: Transition(TRYING, (SEND,), (TIMER_E, TIMER_F)),
    },
    TRYING: {
        TIMER_E: Transition(TRYING, (RESEND,), (TIMER_E,)),
        TIMER_F: Transition(TERMINATED, (TIMED_OUT,)),
        PROVISIONAL: Transition(PROCEEDING, (PASS_UP,), keep=True),
        SUCCESS: Transition(COMPLETED, (PASS_UP,), (TIMER_K,)),
        FAILURE: Transition(COMPLETED, (PASS_UP,), (TIMER_K,)),
        TRANSPORT_ERROR: Transition(TERMINATED, (FAILED,)),
    },
    PROCEEDING: {
        TIMER_E: Transition(PROCEEDING, (RESEND,), (TIMER_E_LATE,)),
        TIMER_E_LATE: Transition(PROCEEDING, (RESEND,), (TIMER_E_LATE,)),
        TIMER_F: Transition(TERMINATED, (TIMED_OUT,)),
        PROVISIONAL: Transition(PROCEEDING, (PASS_UP,)),
        SUCCESS: Transition(COMPLETED, (PASS_UP,), (TIMER_K,)),
        FAILURE: Transition(COMPLETED, (PASS_UP,), (TIMER_K,)),
        TRANSPORT_ERROR: Transition(TERMINATED, (FAILED,)),
    },
    COMPLETED: {
        TIMER_K: Transition(TERMINATED),
    },
}

# RFC 3261 §17.2.1, Figure 7; RFC 6026. The user sends its own 100, and sends every further 2xx.
INVITE_SERVER: Final[Table] = {
    NEW: {
        REQUEST: Transition(PROCEEDING),
    },
    PROCEEDING: {
        REQUEST: Transition(PROCEEDING, (RESEND,)),
        PROVISIONAL: Transition(PROCEEDING, (SEND,)),
        SUCCESS: Transition(ACCEPTED, (SEND,), (TIMER_L,)),
        FAILURE: Transition(COMPLETED, (SEND,), (TIMER_G, TIMER_H)),
        CANCEL: Transition(PROCEEDING, (PASS_UP,)),
    },
    ACCEPTED: {
        REQUEST: Transition(ACCEPTED),
        SUCCESS: Transition(ACCEPTED, (SEND,)),
        ACK: Transition(ACCEPTED, (PASS_UP,)),
        TIMER_L: Transition(TERMINATED, (ENDED,)),
    },
    COMPLETED: {
        REQUEST: Transition(COMPLETED, (RESEND,)),
        TIMER_G: Transition(COMPLETED, (RESEND,), (TIMER_G,)),
        TIMER_H: Transition(TERMINATED, (UNACKNOWLEDGED,)),
        ACK: Transition(CONFIRMED, (), (TIMER_I,)),
    },
    CONFIRMED: {
        REQUEST: Transition(CONFIRMED),
        ACK: Transition(CONFIRMED),
        TIMER_I: Transition(TERMINATED, (ENDED,)),
    },
}

# RFC 3261 §17.2.2, Figure 8; RFC 4320 §4.2: nothing is sent once the sender has given up
NON_INVITE_SERVER: Final[Table] = {
    NEW: {
        REQUEST: Transition(TRYING, (), (GUARD,)),
    },
    TRYING: {
        REQUEST: Transition(TRYING),
        PROVISIONAL: Transition(PROCEEDING, (SEND,), keep=True),
        SUCCESS: Transition(COMPLETED, (SEND,), (TIMER_J,)),
        FAILURE: Transition(COMPLETED, (SEND,), (TIMER_J,)),
        GUARD: Transition(TERMINATED),
    },
    PROCEEDING: {
        REQUEST: Transition(PROCEEDING, (RESEND,)),
        PROVISIONAL: Transition(PROCEEDING, (SEND,)),
        SUCCESS: Transition(COMPLETED, (SEND,), (TIMER_J,)),
        FAILURE: Transition(COMPLETED, (SEND,), (TIMER_J,)),
        GUARD: Transition(TERMINATED),
    },
    COMPLETED: {
        REQUEST: Transition(COMPLETED, (RESEND,)),
        TIMER_J: Transition(TERMINATED),
    },
}

TABLES: Final[dict[str, Table]] = {
    "INVITE client transaction": INVITE_CLIENT,
    "non-INVITE client transaction": NON_INVITE_CLIENT,
    "INVITE server transaction": INVITE_SERVER,
    "non-INVITE server transaction": NON_INVITE_SERVER,
}
"""All four by name: what the diagrams are drawn from."""


def diagram(table: Table) -> str:
    """The table as a Mermaid state diagram, one arrow a transition."""
    lines = ["stateDiagram-v2"]
    for state, row in table.items():
        for given, transition in row.items():
            source = "[*]" if state == NEW else state
            target = "[*]" if transition.state == TERMINATED else transition.state
            done = ", ".join((*transition.effects, *(f"arm {timer}" for timer in transition.timers)))
            lines.append(f"    {source} --> {target}: {given}{' / ' + done if done else ''}")
    return "\n".join(lines) + "\n"
