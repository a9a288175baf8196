"""Requests within a dialog: from either side, always to the other side's recorded target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.call.dialog import Dialog, Party, contact_uri, flow_towards
from proxy.call.forwarding import forward_in_dialog
from proxy.call.hangup import ends_dialog
from proxy.sip.message import SipRequest, SipResponse
from proxy.sip.serialize import build_response, forward_response, serialize_request
from proxy.sip.transaction_tables import CALLING, PROCEEDING

if TYPE_CHECKING:
    from proxy.call.core import ProxyCore
    from proxy.call.session import CallSession
    from proxy.sip.transaction import ClientTransaction, ServerTransaction

TARGET_REFRESH = frozenset({b"INVITE", b"UPDATE", b"SUBSCRIBE", b"NOTIFY"})


class Relay:
    """One in-dialog request under way: owner of its server and client transactions.

    `no_answer_deadline` is Timer C of an INVITE (§16.6 item 11); `wake_at` belongs to the core's alarms.
    """

    __slots__ = (
        "arrived_at",
        "client",
        "dialog",
        "from_caller",
        "no_answer_deadline",
        "server",
        "session",
        "wake_at",
    )

    def __init__(
        self, session: CallSession, dialog: Dialog, from_caller: bool, server: ServerTransaction, now: float
    ) -> None:
        self.session = session
        self.dialog = dialog
        self.from_caller = from_caller
        self.server = server
        self.client: ClientTransaction | None = None
        self.arrived_at = now
        self.no_answer_deadline = now + session.core.settings.no_answer_seconds
        self.wake_at = 0.0

    def response(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        """Forward the answer; a BYE that was accepted ends the dialog, counted from the BYE's arrival."""
        status = response.status
        if status == 100:
            return
        core = self.session.core
        core.stack.respond(self.server, forward_response(response), status, now)
        if status < 200:
            self.no_answer_deadline = now + core.settings.no_answer_seconds
            return
        method = self.server.request.method
        if method == b"BYE":
            if ends_dialog(status):
                self._over(now)
        elif 200 <= status < 300 and method in TARGET_REFRESH:
            self._refresh(self.dialog.callee(self.session.token), response, self.session.caller)

    def no_response(self, client: ClientTransaction, now: float) -> None:
        """The far side is silent. Only an INVITE may be told so (RFC 4320 §4.2); for a BYE it means the
        end."""
        request = self.server.request
        if request.method == b"INVITE":
            data = build_response(request, 408, b"Request Timeout")
            self.session.core.stack.respond(self.server, data, 408, now)
        elif request.method == b"BYE":
            self._over(now)

    def cancel(self, request: SipRequest | None, reason: bytes | None, now: float) -> None:
        """The sender takes a re-INVITE back."""
        if self.client is not None:
            if reason is None and request is not None:
                reason = request.first(b"reason")
            self.session.core.stack.cancel(self.client, reason, now)

    def wake(self, now: float) -> float | None:
        """Timer C (§16.8): a re-INVITE that is never answered is cancelled; the stack gives it up after
        that."""
        if self.client is None or self.client.state not in (CALLING, PROCEEDING):
            return None
        if now < self.no_answer_deadline:
            return self.no_answer_deadline
        self.session.core.stack.cancel(self.client, b'SIP;cause=408;text="No Answer"', now)
        return None

    def _over(self, now: float) -> None:
        self.dialog.end()
        self.session.dialog_over(self.arrived_at, "caller" if self.from_caller else "provider", now)

    def _refresh(self, callee: Party, response: SipResponse, caller: Party) -> None:
        """Both ends of a target refresh that was accepted now have the target that they announced
        (§12.2.1.2)."""
        request = self.server.request
        sender, answerer = (caller, callee) if self.from_caller else (callee, caller)
        for party, message in ((sender, request), (answerer, response)):
            target = contact_uri(message)
            if target is not None and target != party.target:
                party.retarget(target)
                if party is callee and not party.route_set:
                    party.flow = flow_towards(target, party.flow) or party.flow


def relay_request(core: ProxyCore, session: CallSession, request: SipRequest, now: float) -> None:
    """Pass an in-dialog request on, or refuse it. ACK goes on without state or is dropped."""
    method = request.method
    from_caller = request.from_tag == session.request.from_tag
    dialog = session.dialogs.get(request.to_tag if from_caller else request.from_tag)
    if (
        dialog is None
        or request.call_id != session.request.call_id
        or (not from_caller and request.to_tag != session.request.from_tag)
        or not core.may_speak(session, request, from_caller)
        or (method == b"BYE" and not dialog.confirmed)
    ):
        core.no_such_dialog(request)
        return
    callee = dialog.callee(session.token)
    caller = session.caller
    sender, receiver = (caller, callee) if from_caller else (callee, caller)
    if request.cseq > sender.cseq:
        sender.cseq = request.cseq
    if from_caller:
        # A PBX behind NAT is reached by the way that it last used.
        caller.flow = request.flow
    if method == b"ACK":
        dialog.acknowledged = True
        if request.max_forwards != 0:
            outgoing = forward_in_dialog(
                request, receiver, core.branch(), core.identities[receiver.flow.local]
            )
            core.stack.send(serialize_request(outgoing), receiver.flow)
        return
    refusal = core.unacceptable(request)
    if refusal is None and method == b"REFER" and from_caller:
        # The provider would place the call that a transfer asks for, outside of every limit.
        refusal = build_response(request, 403, b"Transfer Not Allowed")
    if refusal is not None:
        core.stack.respond_stateless(request, refusal)
        return
    relay = Relay(session, dialog, from_caller, core.stack.accept(request, now), now)
    relay.server.owner = relay
    if method == b"INVITE":
        core.stack.respond(relay.server, build_response(request, 100, b"Trying"), 100, now)
    outgoing = forward_in_dialog(request, receiver, core.branch(), core.identities[receiver.flow.local])
    relay.client = core.stack.send_request(outgoing, receiver.flow, now, owner=relay)
    if method == b"INVITE":
        core.wake(relay, relay.no_answer_deadline, now)
