"""SipServer: pumps the SIP stack and executes what the call core asks for. The only place where core meets
I/O."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from policy.reasons import ReasonCode
from proxy.admission.accounting import Accounting
from proxy.admission.decision_log import DecisionLog
from proxy.admission.pipeline import AdmissionPipeline
from proxy.call.commands import (
    Answered,
    Changed,
    Command,
    Ended,
    Fetch,
    Refused,
    Reserve,
    Shed,
    StrangerRefused,
)
from proxy.call.core import ProxyCore
from proxy.call.overload import MOST_NEW, STALE_SECONDS, Lateness, Overload
from proxy.call.session import CallSession
from proxy.ledger.ledger import Ledger
from proxy.observe.logs import Sampler
from proxy.observe.metrics import Metrics
from proxy.sip.listeners import ByListener
from proxy.sip.message import Flow
from proxy.sip.stack import SipStack
from proxy.transport.inbox import SLICE, Inbox
from proxy.transport.tcp import TcpEndpoint
from proxy.transport.udp import Datagrams, UdpEndpoint

_log = logging.getLogger(__name__)

# Timers fire on this grid at the finest: one wake-up then serves all that is due together.
_TIMER_GRAIN = 0.02


class SipServer:
    """One SIP worker: endpoints, stack, core and admission, on one event loop."""

    def __init__(
        self,
        stack: SipStack,
        core: ProxyCore,
        pipeline: AdmissionPipeline,
        accounting: Accounting,
        log: DecisionLog,
        metrics: Metrics,
        ledger: Ledger,
        clock: Callable[[], int],
        known: Callable[[str], bool],
    ) -> None:
        """`clock`: wall time in milliseconds. `known`: whether an address belongs to a trunk or a
        provider."""
        self.stack = stack
        self.core = core
        self.endpoints: ByListener[UdpEndpoint] = ByListener()
        self.streams: ByListener[TcpEndpoint] = ByListener()
        # The UDP endpoints again, for the hot path: most are bound to one address.
        self._bound: dict[tuple[str, int], UdpEndpoint] = {}
        self._pipeline = pipeline
        self._accounting = accounting
        self._log = log
        self._metrics = metrics
        self._ledger = ledger
        self._pumping = False
        self._pressing = False
        self._clock = clock
        self._strangers = Sampler()
        self._shed = Sampler()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(known)
        self._overload = Overload(self._loop.time())
        self._lateness = Lateness()
        # Who asks for calls of other instances; without one, there are none.
        self.fetch: Callable[[str], object] = lambda ref: core.fetched(ref, False, self._loop.time())

    def add_endpoint(self, endpoint: UdpEndpoint) -> None:
        """Send through this endpoint what leaves by its local address."""
        self.endpoints[("udp", endpoint.local)] = self._bound[endpoint.local] = endpoint

    def add_stream(self, endpoint: TcpEndpoint) -> None:
        """The same for connections."""
        self.streams[(endpoint.transport, endpoint.local)] = endpoint

    def forget_peers(self) -> None:
        """Close the connections of those that the policy knows no more and no live call counts on."""
        for endpoint in self.streams.values():
            endpoint.forget_peers()

    def on_closed(self, flow: Flow) -> None:
        """Requests that were sent for this flow will not be answered."""
        now = self._loop.time()
        for event in self.stack.transport_failed(flow, now):
            try:
                self.core.handle(event, now)
            except Exception:
                _log.exception("a broken connection could not be handled")
        self.pump(now)

    def on_datagrams(self, batch: Datagrams) -> None:
        """What arrived on a UDP socket in one go: served at once, or queued when that is too much."""
        now = self._loop.time()
        inbox = self._inbox
        if inbox:
            for data, flow in batch:
                inbox.put(data, flow, now)
        elif len(batch) > SLICE:
            # Until now nothing waited, however long ago the last message came.
            self._overload.caught_up(now)
            for data, flow in batch:
                inbox.put(data, flow, now)
            self._loop.call_soon(self._serve_inbox)
        else:
            self.core.overloaded = False
            for data, flow in batch:
                self._serve(data, flow, now)
            self.pump(now)
            self._overload.caught_up(now)

    def on_messages(self, batch: Datagrams) -> None:
        """What arrived on a connection. A peer that sends faster than we serve is slowed down by its own
        connection, so nothing is queued here; how late timers are tells how long it waited."""
        now = self._loop.time()
        self.core.overloaded = self._lateness.stands(now)
        for data, flow in batch:
            self._serve(data, flow, now)
        self.pump(now)

    def _serve_inbox(self) -> None:
        """One slice of what waits; the loop has its turn before the next."""
        now = self._loop.time()
        inbox = self._inbox
        core = self.core
        overload = self._overload
        stale_before = now - STALE_SECONDS
        taken = inbox.take(stale_before, MOST_NEW if overload.stands(now) else SLICE)
        overload.begin_turn(inbox.urgent, now)
        for since, data, flow in taken:
            core.overloaded = stale = False
            if data.startswith(b"INVITE "):
                stale = since < stale_before
                core.overloaded = not stale and overload.sheds()
            if (stale or core.overloaded) and core.shedder.turn_away(data, flow, stale, now):
                continue
            if not core.shedder.acknowledged(data):
                self._serve(data, flow, now)
        core.overloaded = False
        self.pump(now)
        if inbox:
            self._loop.call_soon(self._serve_inbox)
        else:
            overload.caught_up(now)

    def _serve(self, data: bytes, flow: Flow, now: float) -> None:
        handle = self.core.handle
        try:
            for event in self.stack.receive(data, flow, now):
                handle(event, now)
        except Exception:
            # A defect of ours that one message brought out must not cost the others theirs.
            _log.exception("a message could not be handled")

    def pump(self, now: float) -> None:
        """Send what waits, execute commands, and set the timer for what comes next."""
        core = self.core
        stack = self.stack
        self._pumping = True
        while core.commands or stack.outbox:
            if stack.outbox:
                outbox, stack.outbox = stack.outbox, []
                for data, flow in outbox:
                    self._send(data, flow)
            if core.commands:
                commands, core.commands = core.commands, []
                for command in commands:
                    try:
                        self._execute(command, now)
                    except Exception:
                        _log.exception("%s could not be executed", type(command).__name__)
        self._pumping = False
        if self._pressing:
            self._pressing = False
            self._ledger.flush()
        self._set_timer(now)

    def hang_up(self, session: CallSession, reason: ReasonCode) -> None:
        """End a live call for one of the reasons of the policy, such as a limit reached in mid-call."""
        refusal = self.core.judge.refusal(reason)
        text = f'Q.850;cause={refusal.cause or 31};text="{refusal.phrase}"'
        session.hang_up(text.encode(), self._loop.time())
        self.pump(self._loop.time())

    def hang_up_calls(self, sessions: list[CallSession]) -> None:
        """The panic button: end these calls now."""
        now = self._loop.time()
        for session in sessions:
            try:
                session.hang_up(b'Q.850;cause=31;text="Ended By Operator"', now)
            except Exception:
                _log.exception("call %s could not be hung up", session.ref)
        self.pump(now)

    def close(self) -> None:
        """Close the sockets; calls stay as they are."""
        if self._timer is not None:
            self._timer.cancel()
        for endpoint in self.endpoints.values():
            endpoint.close()

    def _send(self, data: bytes, flow: Flow) -> None:
        if flow.transport == "udp":
            (self._bound.get(flow.local) or self.endpoints[flow[:2]]).send(data, flow)
        else:
            self.streams[flow[:2]].send(data, flow)

    def _execute(self, command: Command, now: float) -> None:
        if isinstance(command, Reserve):
            if command.session.verdict.emergency:
                self._pipeline.emergency(command.session)
                command.session.admitted(now)
            else:
                self.core.judging += 1
                self._pressing = True
                self._pipeline.reserve(command.session, self._decided)
        elif isinstance(command, Answered):
            # Should this instance die now, others must know what they adopt.
            self._pressing = True
            self._accounting.answered(command.session, now)
        elif isinstance(command, Ended):
            self._ended(command.session, now)
        elif isinstance(command, Changed):
            self._pressing = True
            self._accounting.changed(command.session, now)
        elif isinstance(command, Fetch):
            self.fetch(command.ref)
        elif isinstance(command, Refused):
            self._pipeline.refused(command.session)
        elif isinstance(command, StrangerRefused):
            self._metrics.decision(None, "refused", command.verdict.reason)
            if command.verdict.reason is ReasonCode.AUTH:
                return  # each call of a trunk with a login begins so
            unsaid = self._strangers.admit(command.source, now)
            if unsaid is not None:
                _log.warning("no trunk for a call", extra={"source": command.source, "unsaid": unsaid})
        elif isinstance(command, Shed):
            trunk = command.verdict.trunk
            name = None if trunk is None else trunk.name
            self._metrics.decision(name, "refused", ReasonCode.OVERLOAD)
            unsaid = self._shed.admit(name or "", now)
            if unsaid is not None:
                _log.warning(
                    "too much to do: a call was turned away", extra={"trunk": name, "unsaid": unsaid}
                )

    def _decided(self, session: CallSession, reason: ReasonCode | None) -> None:
        """The ledger has answered, in a turn of its own or, when it is away, at once."""
        now = self._loop.time()
        self.core.judging -= 1
        try:
            if reason is None:
                session.admitted(now)
            else:
                session.refused(reason, now)
        except Exception:
            # Not the ledger's fault, whose connection this call stands on.
            _log.exception("call %s could not go on after its decision", session.ref)
            session.hang_up(b'SIP;cause=500;text="Server Internal Error"', now)
        if not self._pumping:
            self.pump(now)

    def _ended(self, session: CallSession, now: float) -> None:
        cost = self._accounting.ended(session)
        trunk = session.verdict.trunk
        self._metrics.call_ended(trunk.name if trunk is not None else "")
        self._log.ended(session, cost, self._clock(), now)

    def _set_timer(self, now: float) -> None:
        at = self.stack.next_timer()
        alarm = self.core.next_alarm()
        if at is None or (alarm is not None and alarm < at):
            at = alarm
        if at is None:
            return
        if self._timer is not None:
            if self._timer_at <= at + _TIMER_GRAIN:
                return
            self._timer.cancel()
        self._timer_at = max(at, now) + _TIMER_GRAIN
        self._timer = self._loop.call_at(self._timer_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._lateness.fired(self._timer_at, now)
        try:
            events = self.stack.handle_timers(now)
        except Exception:
            _log.exception("timers could not be handled")
            events = []
        for event in events:
            try:
                self.core.handle(event, now)
            except Exception:
                _log.exception("%s could not be handled", type(event).__name__)
        try:
            self.core.handle_alarms(now)
        except Exception:
            _log.exception("what was due could not be handled")
        self.pump(now)
