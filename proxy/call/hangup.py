"""Calls that the proxy ends itself.

A proxy does not send BYE (RFC 3261 §16); this one must be able to, or a limit that is reached in mid-call
would limit nothing. It speaks for the other side, with a CSeq above all that it has seen from that side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.call.dialog import Dialog, other_way
from proxy.call.forwarding import originate
from proxy.sip.serialize import serialize_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.call.session import CallSession
    from proxy.sip.message import SipResponse
    from proxy.sip.transaction import ClientTransaction

ENDING_STATUSES = frozenset({408, 481})


def ends_dialog(status: int) -> bool:
    """Whether this final answer to a BYE means that the far end has no such dialog any more."""
    return 200 <= status < 300 or status in ENDING_STATUSES


class FarewellLeg:
    """One BYE of ours: owner of its client transaction."""

    __slots__ = ("dialog", "farewell", "towards_callee")

    def __init__(self, farewell: Farewell, dialog: Dialog, towards_callee: bool) -> None:
        self.farewell = farewell
        self.dialog = dialog
        self.towards_callee = towards_callee

    def response(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        """The far end's answer decides whether the call is over."""
        if response.status >= 200:
            self.farewell.answered(self, ends_dialog(response.status), now)

    def unreachable(self, client: ClientTransaction, now: float) -> None:
        """The connection is gone."""
        session = self.farewell.session
        flow = None if self.towards_callee else other_way(session.caller, client.flow, session.core.ways)
        if flow is None:
            self.no_response(client, now)
            return
        session.caller.flow = flow
        self.farewell.bye_caller(self.dialog, session.hangup_reason or b"SIP;cause=200", now)

    def no_response(self, client: ClientTransaction, now: float) -> None:
        """No answer counts as 408: that side is gone."""
        self.farewell.answered(self, True, now)


class Farewell:
    """The BYEs of one call. Charging stops when they are sent; the place is free when the provider's side has
    answered."""

    __slots__ = ("session", "started_at")

    def __init__(self, session: CallSession, now: float) -> None:
        self.session = session
        self.started_at = now

    def end_all(self, reason: bytes, now: float) -> None:
        """BYE to both sides of every confirmed dialog."""
        for dialog in list(self.session.dialogs.values()):
            if dialog.confirmed:
                self._bye_callee(dialog, reason, now)
                self.bye_caller(dialog, reason, now)

    def end_unwanted(self, dialog: Dialog, senders: Callable[[str], object] | None, now: float) -> None:
        """A dialog that the caller never learned of: acknowledge it and end it. `senders`: true of the
        addresses whose answers are taken; None: of all. Its provider need not be the call's any more."""
        client = self._bye_callee(dialog, b'SIP;cause=487;text="Call Completed Elsewhere"', now)
        client.senders = senders

    def end_unheard(self, dialog: Dialog, now: float) -> None:
        """A dialog whose BYE the provider did not answer."""
        self._bye_callee(dialog, b'SIP;cause=408;text="BYE Never Answered"', now)

    def answered(self, leg: FarewellLeg, over: bool, now: float) -> None:
        """One side answered its BYE, or never will."""
        if not leg.towards_callee:
            return
        if over:
            leg.dialog.end()
            self.session.dialog_over(self.started_at, "proxy", now)
        else:
            self.session.survived(now)

    def _bye_callee(self, dialog: Dialog, reason: bytes, now: float) -> ClientTransaction:
        session = self.session
        core = session.core
        party = dialog.callee(session.token)
        identity = core.identity(party.flow)
        from_value = session.request.first(b"from") or b""
        call_id = session.request.call_id
        if not dialog.acknowledged:
            ack = originate(
                b"ACK",
                party,
                core.branch(),
                identity,
                from_value,
                dialog.to_header(),
                call_id,
                session.request.cseq,
                None,
            )
            dialog.acknowledged = True
            core.stack.send(serialize_request(ack), party.flow)
        session.caller.cseq += 1
        bye = originate(
            b"BYE",
            party,
            core.branch(),
            identity,
            from_value,
            dialog.to_header(),
            call_id,
            session.caller.cseq,
            reason,
        )
        client = core.stack.send_request(bye, party.flow, now, owner=FarewellLeg(self, dialog, True))
        core.believe_provider(client, session)
        return client

    def bye_caller(self, dialog: Dialog, reason: bytes, now: float) -> None:
        session = self.session
        core = session.core
        party = session.caller
        callee = dialog.callee(session.token)
        callee.cseq += 1
        bye = originate(
            b"BYE",
            party,
            core.branch(),
            core.identity(party.flow),
            dialog.to_header(),
            session.request.first(b"from") or b"",
            session.request.call_id,
            callee.cseq,
            reason,
        )
        core.stack.send_request(bye, party.flow, now, owner=FarewellLeg(self, dialog, False))
