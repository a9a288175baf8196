"""Calls that the proxy ends itself.

A proxy does not send BYE (RFC 3261 §16); this one must be able to, or a limit that is reached in mid-call
would limit nothing. It speaks for the other side, with a CSeq above all that it has seen from that side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.call.dialog import Dialog, other_way
from proxy.call.forwarding import originate
from proxy.call.large import fitting
from proxy.call.provider_login import CHALLENGES, answer_challenge

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.call.dialog import Party
    from proxy.call.session import CallSession
    from proxy.sip.message import Flow, Header, SipResponse
    from proxy.sip.serialize import OutgoingRequest
    from proxy.sip.transaction import ClientTransaction

ENDING_STATUSES = frozenset({408, 481})
UNHEARD = b'SIP;cause=408;text="BYE Never Answered"'
UNKNOWN = b'SIP;cause=481;text="BYE Of No Known Call"'
UNWANTED_TRIES = 5
"""How often the BYE is sent to a branch that nobody wanted and that refuses it, 64*T1 apart."""


_UNACKNOWLEDGED = b'SIP;cause=408;text="ACK Never Came"'
_UNWANTED = b'SIP;cause=487;text="Call Completed Elsewhere"'


def believed(session: CallSession) -> Callable[[str], object] | None:
    """True of the addresses whose answers for the called side are taken; None: of all."""
    networks = None if session.provider is None else session.provider.networks
    return None if networks is None else networks.lookup


def ends_dialog(status: int) -> bool:
    """Whether this final answer to a BYE means that the far end has no such dialog any more."""
    return 200 <= status < 300 or status in ENDING_STATUSES


def end_dialog(session: CallSession, dialog: Dialog, reason: bytes, now: float) -> None:
    """End one dialog of an answered call with BYE to both sides; the call too, when it has no other."""
    if _others(session, dialog):
        Farewell(session, now).end_one(dialog, reason, now)
    else:
        session.hang_up(reason, now)


def end_unheard(session: CallSession, dialog: Dialog, reason: bytes, now: float) -> None:
    """The provider did not answer the caller's BYE, or knew no call that it was of.

    The caller may have written it so that the provider drops it, or reads another tag in it than we, and talk
    on: the call is charged until now and ended in words of our own, whose answer frees its place.
    """
    if not dialog.confirmed or not session.is_answered:
        return
    farewell = Farewell(session, now, "caller")
    session.bye_at = None
    if not _others(session, dialog):
        session.ending(reason, now)
    farewell.bye_callee(dialog, reason, now)


def end_unacknowledged(session: CallSession, now: float) -> None:
    """End the call that nobody acknowledged, or those of its branches that nobody did: a caller that knows no
    forking passes them over, and would never hang them up."""
    if not any(dialog.acknowledged for dialog in session.dialogs.values()):
        session.hang_up(_UNACKNOWLEDGED, now)
        return
    for dialog in list(session.dialogs.values()):
        if dialog.confirmed and not dialog.acknowledged:
            end_dialog(session, dialog, _UNACKNOWLEDGED, now)


def _others(session: CallSession, dialog: Dialog) -> bool:
    """Whether the call has another dialog that keeps it alive."""
    return any(
        other.confirmed and not other.unwanted for other in session.dialogs.values() if other is not dialog
    )


class FarewellLeg:
    """One BYE of ours: owner of its client transaction. `wake_at` belongs to the core's alarms."""

    __slots__ = (
        "again_at", "answered", "dialog", "farewell", "login", "reason", "senders", "towards_callee", "tries",
        "wake_at",
    )  # fmt: skip

    def __init__(self, farewell: Farewell, dialog: Dialog, reason: bytes, towards_callee: bool) -> None:
        self.farewell = farewell
        self.dialog = dialog
        self.reason = reason
        self.towards_callee = towards_callee
        self.senders: Callable[[str], object] | None = None
        self.tries = 0
        self.answered = 0
        self.login: Header | None = None
        self.again_at = 0.0
        self.wake_at = 0.0

    def response(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        """The far end's answer decides whether the call is over."""
        if client.flow.hurried:
            self.farewell.session.core.reach.stream_found(client.flow, True, now)
        if response.status in CHALLENGES and self.towards_callee:
            session = self.farewell.session
            login = answer_challenge(session.core, session.provider, response, client.request, self.answered)
            if login is not None:
                self.answered += 1
                self.login = login
                self.farewell.tell_callee(self, now)
                return
        if response.status >= 200:
            self.farewell.answered(self, ends_dialog(response.status), now)

    def unreachable(self, client: ClientTransaction, now: float) -> None:
        """The connection is gone."""
        session = self.farewell.session
        if client.flow.hurried:
            session.core.reach.stream_found(client.flow, False, now)
            if self.towards_callee:
                self.farewell.tell_callee(self, now)
            else:
                self.farewell.bye_caller(self.dialog, self.reason, now)
            return
        flow = None if self.towards_callee else other_way(session.caller, client.flow, session.core.ways)
        if flow is None:
            self.no_response(client, now)
            return
        session.caller.flow = flow
        self.farewell.bye_caller(self.dialog, self.reason, now)

    def no_response(self, client: ClientTransaction, now: float) -> None:
        """No answer counts as 408: that side is gone."""
        self.farewell.answered(self, True, now)

    def wake(self, now: float) -> float | None:
        """Say a refused farewell again."""
        if now < self.again_at:
            return self.again_at
        self.farewell.tell_callee(self, now)
        return None


class Farewell:
    """The BYEs of one call, or of one dialog of it. Charging stops when they are sent; the place is free when
    the provider's side has answered. `by` is who ended the call, as its record says. Its legs hold it, the
    call does not: that would be a cycle (ADR 18)."""

    __slots__ = ("by", "session", "started_at")

    def __init__(self, session: CallSession, now: float, by: str = "proxy") -> None:
        self.session = session
        self.started_at = now
        self.by = by

    def end_all(self, reason: bytes, now: float) -> None:
        """BYE to both sides of every confirmed dialog."""
        for dialog in list(self.session.dialogs.values()):
            if dialog.confirmed:
                self.end_one(dialog, reason, now)

    def end_one(self, dialog: Dialog, reason: bytes, now: float) -> None:
        """BYE to both sides of one dialog."""
        self.bye_callee(dialog, reason, now)
        self.bye_caller(dialog, reason, now)

    def end_unwanted(self, dialog: Dialog, senders: Callable[[str], object] | None, now: float) -> None:
        """A dialog that the caller never learned of: acknowledge it and end it. `senders`: true of the
        addresses whose answers are taken; None: of all. Its provider need not be the call's any more."""
        leg = FarewellLeg(self, dialog, _UNWANTED, True)
        leg.senders = senders
        self.tell_callee(leg, now)

    def answered(self, leg: FarewellLeg, over: bool, now: float) -> None:
        """One side answered its BYE, or never will."""
        if not leg.towards_callee:
            return
        dialog = leg.dialog
        if over:
            dialog.end()
            self.session.dialog_over(self.started_at, self.by, now)
        elif not dialog.unwanted:
            self.session.survived(now)
        elif leg.tries < UNWANTED_TRIES and not dialog.over:
            core = self.session.core
            leg.again_at = now + core.settings.ack_seconds
            core.wake(leg, leg.again_at, now)

    def bye_callee(self, dialog: Dialog, reason: bytes, now: float) -> None:
        """BYE to the called side, after the ACK that it still waits for."""
        leg = FarewellLeg(self, dialog, reason, True)
        leg.senders = believed(self.session)
        self.tell_callee(leg, now)

    def tell_callee(self, leg: FarewellLeg, now: float) -> None:
        """Send the leg's BYE, once more where it was refused."""
        leg.tries += 1
        session, dialog = self.session, leg.dialog
        core = session.core
        party = dialog.callee(session.token)
        call_id = session.request.call_id
        if not dialog.acknowledged:
            dialog.acknowledged = True
            number = dialog.number(session.request.cseq, True)
            login = session.targets.login

            def ack(flow: Flow) -> OutgoingRequest:
                made = originate(
                    b"ACK",
                    party,
                    core.branch(),
                    core.identity(flow),
                    session.callees_from,
                    dialog.to_header(),
                    call_id,
                    number,
                    None,
                )
                if login is not None:
                    made.headers.append(login[1])
                return made

            _, data, flow = fitting(core, party, ack, now, surely=True)
            core.stack.send(data, flow)
        number = dialog.own_number(session.caller, True)
        client = self._send(leg, party, session.callees_from, dialog.to_header(), number, now)
        client.senders = leg.senders

    def bye_caller(self, dialog: Dialog, reason: bytes, now: float) -> None:
        """BYE to the calling side."""
        session = self.session
        number = dialog.own_number(dialog.callee(session.token), False)
        leg = FarewellLeg(self, dialog, reason, False)
        callers = session.request.first(b"from") or b""
        self._send(leg, session.caller, dialog.to_header(), callers, number, now)

    def _send(
        self,
        leg: FarewellLeg,
        party: Party,
        from_value: bytes,
        to_value: bytes,
        number: int,
        now: float,
    ) -> ClientTransaction:
        core, call_id = self.session.core, self.session.request.call_id

        def bye(flow: Flow) -> OutgoingRequest:
            made = originate(
                b"BYE",
                party,
                core.branch(),
                core.identity(flow),
                from_value,
                to_value,
                call_id,
                number,
                leg.reason,
            )
            if leg.login is not None:
                made.headers.append(leg.login)
            return made

        request, data, flow = fitting(core, party, bye, now)
        return core.stack.send_request(request, flow, now, owner=leg, data=data)
