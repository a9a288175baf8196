"""Transactions: a state, at most two timers, and what has to be sent again (RFC 3261 §17)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.sip.message import Flow, SipRequest
from proxy.sip.serialize import OutgoingRequest
from proxy.sip.timers import Timers
from proxy.sip.transaction_tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    LAST_WAIT,
    NEW,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    RETRANSMIT_TIMERS,
    TIMER_A,
    TIMER_B,
    TIMER_D,
    TIMER_E_LATE,
    TIMER_F,
    TIMER_I,
    TIMER_J,
    TIMER_K,
    Table,
)
from proxy.sip.via import RELIABLE

NEVER: Final = float("inf")

_NOTHING: Final[tuple[str, ...]] = ()
_LEAST_TIMER_D: Final = 32.0


class Transaction:
    """What both sides share.

    owner: the user's own. state: a name from transaction_tables. flow: where its messages go. `data` is what
    would be sent again, b"" when nothing would. `queued_at` belongs to the stack's timer heap.
    """

    __slots__ = (
        "data",
        "expire_at",
        "expire_timer",
        "flow",
        "interval",
        "owner",
        "queued_at",
        "reliable",
        "retransmit_at",
        "retransmit_timer",
        "state",
        "table",
        "timeout",
    )

    def __init__(self, table: Table, flow: Flow, timeout: float | None = None) -> None:
        self.table = table
        self.flow = flow
        self.timeout = timeout
        self.state = NEW
        self.owner: object = None
        self.data = b""
        self.reliable = flow.transport in RELIABLE
        self.interval = 0.0
        self.retransmit_at = NEVER
        self.retransmit_timer = ""
        self.expire_at = NEVER
        self.expire_timer = ""
        self.queued_at = NEVER

    def step(self, given: str, now: float, timers: Timers) -> tuple[str, ...]:
        """Take one input: change state, stop and arm timers. Returns the effects, for the stack to bring
        about."""
        row = self.table.get(self.state)
        transition = None if row is None else row.get(given)
        if transition is None:
            return _NOTHING
        state, effects, armed, keep = transition
        if state != self.state:
            self.state = state
            if not keep:
                self.interval = 0.0
                self.retransmit_at = NEVER
                self.expire_at = NEVER
        for timer in armed:
            self._arm(timer, now, timers)
        return effects

    def _arm(self, timer: str, now: float, timers: Timers) -> None:
        if timer in RETRANSMIT_TIMERS:
            if not self.reliable:
                self._arm_retransmission(timer, now, timers)
            return
        delay = timers.timeout  # B, F, G, H, L, M, the wait after CANCEL and the guard
        if timer in (TIMER_B, TIMER_F):
            if self.timeout is not None:
                delay = self.timeout
        elif timer == LAST_WAIT:
            delay = max(timers.t4, delay - (delay if self.timeout is None else self.timeout))
        elif timer in (TIMER_I, TIMER_K):
            delay = 0.0 if self.reliable else timers.t4
        elif timer == TIMER_J:
            if self.reliable:
                delay = 0.0
        elif timer == TIMER_D:
            delay = 0.0 if self.reliable else max(delay, _LEAST_TIMER_D)
        self.expire_at = now + delay
        self.expire_timer = timer

    def _arm_retransmission(self, timer: str, now: float, timers: Timers) -> None:
        """T1, doubled each time; all but Timer A no longer than T2."""
        if timer == TIMER_E_LATE:
            interval = timers.t2
        else:
            interval = 2 * self.interval or timers.t1
            if timer != TIMER_A and interval > timers.t2:
                interval = timers.t2
        self.interval = interval
        self.retransmit_at = now + interval
        self.retransmit_timer = timer


class ServerTransaction(Transaction):
    """A request that the user accepted. `flow` is the way back to its sender; `cancelled` is set once a
    CANCEL has been passed up."""

    __slots__ = ("cancelled", "request")

    def __init__(self, request: SipRequest, flow: Flow) -> None:
        super().__init__(INVITE_SERVER if request.method == b"INVITE" else NON_INVITE_SERVER, flow)
        self.request = request
        self.cancelled = False


class ClientTransaction(Transaction):
    """A request that was sent. sent_by: host and port of our own Via. `provisional_received`: a 1xx came, 100
    included. `cancel_reason`: of the CANCEL that waits for one; None when there is no Reason. `senders`: true
    of the addresses whose responses are taken; None: of all."""

    __slots__ = (
        "cancel_reason",
        "cancel_sent",
        "cancel_wanted",
        "provisional_received",
        "request",
        "senders",
        "sent_by",
    )

    def __init__(
        self, request: OutgoingRequest, flow: Flow, sent_by: tuple[bytes, int | None], timeout: float | None
    ) -> None:
        table = INVITE_CLIENT if request.method == b"INVITE" else NON_INVITE_CLIENT
        super().__init__(table, flow, timeout)
        self.request = request
        self.sent_by = sent_by
        self.provisional_received = False
        self.cancel_wanted = False
        self.cancel_sent = False
        self.cancel_reason: bytes | None = None
        self.senders: Callable[[str], object] | None = None
