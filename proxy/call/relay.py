"""Requests within a dialog: from either side, always to the other side's recorded target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.call.checkup import refreshed
from proxy.call.commands import Changed
from proxy.call.dialog import Dialog, Party, contact_uri, other_way
from proxy.call.forwarding import rewrite_token
from proxy.call.hangup import UNHEARD, UNKNOWN, end_unheard, ends_dialog
from proxy.call.large import request_towards
from proxy.call.logins import keep_credentials
from proxy.call.presented import as_shown, restore_party, withheld_in_dialog
from proxy.call.privacy import withheld_from_caller
from proxy.call.provider_login import CHALLENGES, answer_challenge
from proxy.call.renumber import numbered_as
from proxy.call.session_timer import REFRESHES, Asked, ask, pass_on, too_small
from proxy.call.validation import unacceptable
from proxy.sip.message import Header, SipRequest, SipResponse
from proxy.sip.serialize import build_response, forward_response
from proxy.sip.transaction_tables import CALLING, PROCEEDING
from proxy.sip.via import response_flow

if TYPE_CHECKING:
    from proxy.call.core import ProxyCore
    from proxy.call.session import CallSession
    from proxy.sip.transaction import ClientTransaction, ServerTransaction

# `BYE` with `Also` is how transfers were asked for before REFER, and some user agents still obey it.
_BEYOND_LIMITS = frozenset({b"also"})
TARGET_REFRESH = frozenset({b"INVITE", b"UPDATE", b"SUBSCRIBE", b"NOTIFY"})


class Relay:
    """One in-dialog request under way: owner of its server and client transactions.

    `no_answer_deadline` is Timer C of an INVITE (§16.6 item 11); `wake_at` belongs to the core's alarms.
    """

    __slots__ = (
        "arrived_at",
        "asked",
        "client",
        "dialog",
        "drop",
        "from_caller",
        "login",
        "logins",
        "no_answer_deadline",
        "renumbered",
        "sent_again",
        "server",
        "session",
        "wake_at",
    )

    def __init__(
        self,
        session: CallSession,
        dialog: Dialog,
        from_caller: bool,
        server: ServerTransaction,
        drop: frozenset[bytes],
        now: float,
    ) -> None:
        self.session = session
        self.drop = drop
        self.dialog = dialog
        self.from_caller = from_caller
        self.server = server
        self.client: ClientTransaction | None = None
        self.arrived_at = now
        self.asked: Asked | None = None
        self.renumbered = False
        self.login: Header | None = None
        self.logins = 0
        self.sent_again = False
        self.no_answer_deadline = now + session.core.settings.no_answer_seconds
        self.wake_at = 0.0

    def send(self, now: float) -> None:
        """Send the request to the other side."""
        session = self.session
        core = session.core
        party = self.dialog.callee(session.token) if self.from_caller else session.caller
        request = self.server.request
        if request.method == b"BYE" and session.bye_at is None:
            session.bye_at = self.arrived_at
        outgoing, data, flow = request_towards(
            session, request, party, self.drop, now, self.dialog, self.from_caller
        )
        self.renumbered = self.dialog.number(request.cseq, self.from_caller) != request.cseq
        self.client = core.stack.send_request(outgoing, flow, now, owner=self, data=data)
        if self.from_caller:
            core.believe_provider(self.client, session)

    def response(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        """Forward the answer; a BYE that was accepted ends the dialog, counted from the BYE's arrival.

        A 408 is no answer, and to a request other than INVITE must not be passed on (RFC 4320 §4.2); a 503
        goes back as 500.
        """
        status = response.status
        if status == 100 or client is not self.client:
            return
        if client.flow.hurried:
            self.session.core.reach.stream_found(client.flow, True, now)
        if status == 408 and self.server.request.method != b"INVITE":
            self.no_response(client, now)
            return
        if status in CHALLENGES and self.from_caller and self._log_in(client, response, now):
            return
        core = self.session.core
        method = self.server.request.method
        if status == 503:
            # The fault lies behind this proxy (§16.7 item 6): a 503 would make either side avoid it.
            reason = (b'Reason: SIP;cause=503;text="Service Unavailable"',)
            data = build_response(self.server.request, 500, b"Server Internal Error", extra=reason)
            core.stack.respond(self.server, data, 500, now)
        else:
            core.stack.respond(self.server, self._forwarded(response, method, now), status, now)
        if status < 200:
            self.no_answer_deadline = now + core.settings.no_answer_seconds
            if method == b"INVITE" and response.first(b"rseq") is not None:
                # A reliable provisional refreshes the targets, whatever the final answer will be (RFC 6141
                # §4.6).
                self._refresh(self.dialog.callee(self.session.token), response, self.session.caller)
            return
        if method == b"BYE":
            if status == 481 and self.from_caller:
                end_unheard(self.session, self.dialog, UNKNOWN, now)
            elif ends_dialog(status):
                self._over(self.arrived_at, now)
            elif self.session.is_answered:
                self.session.bye_at = None
        elif 200 <= status < 300 and method in TARGET_REFRESH:
            self._refresh(self.dialog.callee(self.session.token), response, self.session.caller)

    def _log_in(self, client: ClientTransaction, response: SipResponse, now: float) -> bool:
        """Answer the provider's challenge in the caller's place: it has no password of the provider's."""
        session, request = self.session, self.server.request
        line = answer_challenge(session.core, session.provider, response, client.request, self.logins)
        if line is None or not self.dialog.step_aside(request.cseq):
            return False
        self.logins += 1
        request.headers = [header for header in request.headers if header is not self.login]
        request.headers.append(line)
        self.login = line
        if request.method == b"INVITE":
            session.targets.login = (request.cseq, line)
        self.send(now)
        return True

    def _forwarded(self, response: SipResponse, method: bytes, now: float) -> bytes:
        """The response for the side that asked: with its own token and numbers, and without what is kept from
        it."""
        session = self.session
        restore_party(session, self.server.request, response, self.from_caller)
        if self.renumbered:
            response = numbered_as(response, self.server.request)
        if self.from_caller:
            withheld = withheld_from_caller(session, response)
            seen, shown = session.token, session.caller_token
        else:
            withheld = withheld_in_dialog(session, response)
            response = as_shown(session, response)
            seen, shown = session.caller_token, session.token
        if 200 <= response.status < 300 and method in REFRESHES:
            data, interval = pass_on(response, self.asked, withheld)
            if self.dialog.confirmed:
                refreshed(session, self.dialog, interval, now)
        else:
            data = forward_response(response, withheld)
        return data.replace(seen, shown)

    def unreachable(self, client: ClientTransaction, now: float) -> None:
        """The connection is gone, and the request perhaps with it. It is sent once more (RFC 3263 §4.3): a
        try of TCP by UDP; to the provider over a new connection; to a caller, whose own it may have been,
        where it listens. A BYE that was read the first time gets 481 then. In the end its sender is told (RFC
        3261 §16.9: as by a 503, which goes back as 500)."""
        session = self.session
        again = client.flow.hurried
        if again:
            session.core.reach.stream_found(client.flow, False, now)
        elif self.from_caller:
            again = not self.sent_again
            self.sent_again = True
        else:
            flow = other_way(session.caller, client.flow, session.core.ways)
            if flow is not None:
                again = True
                session.caller.flow = flow
        if again and not client.provisional_received:
            self.send(now)
            return
        data = build_response(self.server.request, 500, b"Server Internal Error")
        session.core.stack.respond(self.server, data, 500, now)
        self._unheard(now)

    def no_response(self, client: ClientTransaction, now: float) -> None:
        """The far side is silent. Only an INVITE may be told so (RFC 4320 §4.2); a BYE ends the call."""
        request = self.server.request
        if request.method == b"INVITE":
            data = build_response(request, 408, b"Request Timeout")
            self.session.core.stack.respond(self.server, data, 408, now)
        self._unheard(now)

    def _unheard(self, now: float) -> None:
        """A BYE that nobody will answer ends the call all the same.

        The caller may have written its BYE such that the provider drops it, and talk on: the call is charged
        until now, and ended in words of our own.
        """
        if self.server.request.method == b"BYE":
            if self.from_caller:
                end_unheard(self.session, self.dialog, UNHEARD, now)
            else:
                self._over(self.arrived_at, now)

    def cancel(self, request: SipRequest | None, reason: bytes | None, now: float) -> None:
        """The sender takes a re-INVITE back."""
        if self.client is not None:
            if reason is None and request is not None:
                reason = b", ".join(request.all(b"reason")) or None  # one of SIP and one of Q.850, often
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

    def _over(self, ended_at: float, now: float) -> None:
        self.dialog.end()
        self.session.dialog_over(ended_at, "caller" if self.from_caller else "provider", now)

    def _refresh(self, callee: Party, response: SipResponse, caller: Party) -> None:
        """Both ends of a target refresh that was accepted now have the target that they announced
        (§12.2.1.2)."""
        request, session = self.server.request, self.session
        sender, answerer = (caller, callee) if self.from_caller else (callee, caller)
        for party, message in ((sender, request), (answerer, response)):
            target = contact_uri(message)
            if target is not None and target != party.target:
                party.retarget(target)
                if session.is_answered:
                    session.core.commands.append(Changed(session))
                if party is callee and not party.route_set:
                    self._move(callee, target)

    def _move(self, callee: Party, target: bytes) -> None:
        """Send to the callee's new target. A request may not lead elsewhere than to the called side: whoever
        forged it would from then on answer our BYEs; a response is the provider's own."""
        session = self.session
        flow = session.core.ways.towards(target, callee.flow)
        if flow is not None and (
            self.from_caller or session.core.is_callee(session, self.dialog, flow.remote[0])
        ):
            callee.flow = flow


def _may_speak(
    core: ProxyCore, session: CallSession, dialog: Dialog, request: SipRequest, from_caller: bool
) -> bool:
    """Whether the request's source may act for the side that its token is of."""
    source = request.flow.remote[0]
    if from_caller:
        return core.is_caller(session, source)
    return core.is_callee(session, dialog, source)


def relay_request(
    core: ProxyCore, session: CallSession, from_caller: bool, request: SipRequest, now: float
) -> None:
    """Pass an in-dialog request on, or refuse it. `from_caller`: of which side its token is. ACK goes on
    without state or is dropped."""
    method = request.method
    own_tag, far_tag = request.from_tag, request.to_tag
    if not from_caller:
        own_tag, far_tag = far_tag, own_tag
    dialog = session.dialogs.get(far_tag)
    if (
        dialog is None
        or request.call_id != session.request.call_id
        or own_tag != session.request.from_tag
        or not _may_speak(core, session, dialog, request, from_caller)
        or (method == b"BYE" and not dialog.confirmed)
    ):
        core.no_such_dialog(request)
        return
    if from_caller:
        keep_credentials(core, request)
        rewrite_token(request, session.caller_token, session.token)
    else:
        rewrite_token(request, session.token, session.caller_token)
    callee = dialog.callee(session.token)
    caller = session.caller
    sender, receiver = (caller, callee) if from_caller else (callee, caller)
    if from_caller and caller.roams:
        # A PBX behind NAT is reached by the way that it last used.
        caller.flow = response_flow(request)
    if from_caller:
        drop = _BEYOND_LIMITS | withheld_in_dialog(session, request)
    else:
        drop = withheld_from_caller(session, request)
    if method == b"ACK":
        _pass_ack(session, request, receiver, drop, now, dialog, from_caller)
        return
    refreshes = method in REFRESHES and not session.verdict.emergency
    refusal = _refusal(request, from_caller, refreshes)
    if refusal is not None:
        if method == b"INVITE":
            # Its ACK is ours to take, not the far side's.
            status = int(refusal[8:11])
            core.stack.respond(core.stack.accept(request, now), refusal, status, now)
        else:
            core.stack.respond_stateless(request, refusal)
        return
    if request.cseq > sender.cseq:
        sender.cseq = request.cseq
    relay = Relay(session, dialog, from_caller, core.stack.accept(request, now), drop, now)
    relay.server.owner = relay
    if refreshes:
        relay.asked = asked = ask(request, core.settings.session_expires_seconds)
        if asked is not None:
            request.headers = [header for header in request.headers if header[0] not in asked.drop]
            request.headers += asked.added
    if method == b"INVITE":
        core.stack.respond(relay.server, build_response(request, 100, b"Trying"), 100, now)
    relay.send(now)
    if method == b"INVITE":
        core.wake(relay, relay.no_answer_deadline, now)


def _pass_ack(
    session: CallSession,
    request: SipRequest,
    receiver: Party,
    drop: frozenset[bytes],
    now: float,
    dialog: Dialog,
    from_caller: bool,
) -> None:
    if from_caller and request.cseq == session.request.cseq:
        dialog.acknowledged = True
    login = session.targets.login
    if login is not None and from_caller and request.cseq == login[0]:
        request.headers.append(login[1])  # RFC 3261 §22.1
    if request.max_forwards != 0:
        _, data, flow = request_towards(
            session, request, receiver, drop, now, dialog, from_caller, surely=True
        )
        session.core.stack.send(data, flow)


def _refusal(request: SipRequest, from_caller: bool, refreshes: bool) -> bytes | None:
    """The answer to a request that is not passed on."""
    refusal = unacceptable(request)
    if refusal is None and from_caller and request.method.upper() == b"REFER":
        # The provider would place the call that a transfer asks for, outside of every limit.
        refusal = build_response(request, 403, b"Transfer Not Allowed")
    if refusal is None and refreshes:
        refusal = too_small(request, None)
    return refusal
