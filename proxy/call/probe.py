"""Probes: is either side of a dialog still there?

An OPTIONS within the dialog asks each side in the other's name. It disturbs nothing: its CSeq is one below
the last that this side has seen, so that a user agent answers 500 (RFC 3261 §12.2.2) and forgets it. 481 says
that the dialog is gone; any other answer that it lives. Two probes without an answer are taken for silence.

What a probe needs is what is recorded of a dialog, no call: `Ends`. Who asks is told by `Asker.probed`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from proxy.call.dialog import Party, other_way
from proxy.call.forwarding import Identity, originate
from proxy.call.ways import Ways

if TYPE_CHECKING:
    from proxy.sip.message import Flow, SipResponse
    from proxy.sip.stack import SipStack
    from proxy.sip.transaction import ClientTransaction

TRIES = 2


class Life(IntEnum):
    """What is known of one side. GONE: it answered 481. SILENT: it answered nothing, twice."""

    UNKNOWN = 0
    ALIVE = 1
    GONE = 2
    SILENT = 3


class Ends:
    """The two sides of a dialog as recorded.

    `caller` and `callee` say where each is reached. `caller_value` and `callee_value` are the address values
    with their tags, as From and To carry them; `shown_caller_value` is the caller's as the callee knows it.
    `seen_by_caller` and `seen_by_callee` are the highest CSeq that each has seen from the other, 0 when none.
    `senders`: true of the addresses whose answers for the callee are believed; None: of all.
    """

    __slots__ = (
        "call_id", "callee", "callee_value", "caller", "caller_value",
        "seen_by_callee", "seen_by_caller", "senders", "shown_caller_value",
    )  # fmt: skip

    def __init__(
        self,
        call_id: bytes,
        caller: Party,
        caller_value: bytes,
        callee: Party,
        callee_value: bytes,
        seen_by_caller: int,
        seen_by_callee: int,
        senders: Callable[[str], object] | None,
        shown_caller_value: bytes | None = None,
    ) -> None:
        self.call_id = call_id
        self.caller = caller
        self.caller_value = caller_value
        self.callee = callee
        self.callee_value = callee_value
        self.seen_by_caller = seen_by_caller
        self.seen_by_callee = seen_by_callee
        self.senders = senders
        self.shown_caller_value = shown_caller_value or caller_value


class Line(Protocol):
    """What a probe needs of the core."""

    stack: SipStack
    ways: Ways

    def identity(self, flow: Flow) -> Identity:
        """How the proxy names itself towards the peer of this flow."""
        ...

    def branch(self) -> bytes:
        """A fresh branch."""
        ...

    def wake(self, sleeper: ProbeLeg, at: float, now: float) -> None:
        """Call `sleeper.wake` at `at`, or sooner."""
        ...


class Asker(Protocol):
    """Who wants to know."""

    def probed(self, probe: Probe, now: float) -> None:
        """Something became known of a side. After `probe.stop()` nothing more is told."""
        ...


class Probe:
    """One round of questions to both sides. `caller` and `callee` are what is known so far."""

    __slots__ = ("asker", "callee", "caller", "ends", "line", "over")

    def __init__(self, line: Line, ends: Ends, asker: Asker) -> None:
        self.line = line
        self.ends = ends
        self.asker = asker
        self.caller = self.callee = Life.UNKNOWN
        self.over = False

    def start(self, now: float) -> None:
        """Ask both sides."""
        ProbeLeg(self, towards_callee=True).send(now)
        ProbeLeg(self, towards_callee=False).send(now)

    def stop(self) -> None:
        """The asker knows enough."""
        self.over = True

    @property
    def settled(self) -> bool:
        """Whether both sides are known."""
        return self.caller is not Life.UNKNOWN and self.callee is not Life.UNKNOWN


class ProbeLeg:
    """The questions to one side: owner of their client transactions. `wake_at` belongs to the core's
    alarms."""

    __slots__ = ("again_at", "probe", "towards_callee", "tries", "wake_at")

    def __init__(self, probe: Probe, *, towards_callee: bool) -> None:
        self.probe = probe
        self.towards_callee = towards_callee
        self.tries = 0
        self.again_at = 0.0
        self.wake_at = 0.0

    def send(self, now: float) -> None:
        """Ask once more."""
        line, ends = self.probe.line, self.probe.ends
        self.tries += 1
        # A connection that breaks tells at once; the second question is not asked in the same breath.
        self.again_at = now + line.stack.timers.timeout
        if self.towards_callee:
            party, seen, from_value, to_value = (
                ends.callee, ends.seen_by_callee, ends.shown_caller_value, ends.callee_value,
            )  # fmt: skip
        else:
            party, seen, from_value, to_value = (
                ends.caller, ends.seen_by_caller, ends.callee_value, ends.caller_value,
            )  # fmt: skip
        options = originate(
            b"OPTIONS",
            party,
            line.branch(),
            line.identity(party.flow),
            from_value,
            to_value,
            ends.call_id,
            max(seen - 1, 0),
            None,
        )
        client = line.stack.send_request(options, party.flow, now, owner=self)
        if self.towards_callee:
            client.senders = ends.senders

    def response(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        """Any final answer tells."""
        if response.status >= 200:
            self._settle(Life.GONE if response.status == 481 else Life.ALIVE, now)

    def unreachable(self, client: ClientTransaction, now: float) -> None:
        """The connection is gone. A caller that listens is asked there."""
        ends = self.probe.ends
        if not self.towards_callee and not self.probe.over:
            flow = other_way(ends.caller, client.flow, self.probe.line.ways)
            if flow is not None:
                ends.caller.flow = flow
                self.tries -= 1
                self.send(now)
                return
        self.no_response(client, now)

    def no_response(self, client: ClientTransaction, now: float) -> None:
        """No answer: ask again, or take it for silence."""
        if self.probe.over:
            return
        if now < self.again_at:
            self.probe.line.wake(self, self.again_at, now)
        else:
            self._again(now)

    def wake(self, now: float) -> float | None:
        """The wait after a broken connection is over."""
        if self.probe.over:
            return None
        if now < self.again_at:
            return self.again_at
        self._again(now)
        return None

    def _again(self, now: float) -> None:
        if self.tries < TRIES:
            self.send(now)
        else:
            self._settle(Life.SILENT, now)

    def _settle(self, life: Life, now: float) -> None:
        probe = self.probe
        if probe.over:
            return
        if self.towards_callee:
            probe.callee = life
        else:
            probe.caller = life
        probe.asker.probed(probe, now)
