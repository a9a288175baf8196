"""One call: an initial INVITE, what became of it, and the dialogs that it made.

The session says what happens to the call; `ProxyCore` finds the session of an event and keeps its timers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy.reasons import ReasonCode
from proxy.call.checkup import checkup, next_round, refreshed
from proxy.call.commands import Answered, Changed, Ended, Refused
from proxy.call.dialog import Dialog, calling_party
from proxy.call.hangup import Farewell, end_unacknowledged
from proxy.call.logins import challenge
from proxy.call.presented import restore_party
from proxy.call.privacy import withheld_from_caller
from proxy.call.provider_login import CHALLENGES, number_of
from proxy.call.refusal import refusal_response
from proxy.call.renumber import numbered_as
from proxy.call.session_timer import Asked, pass_on
from proxy.call.states import ADMITTED, HANG_UP, MOVES, OVER, REFUSED, SUCCESS, SURVIVED, CallState
from proxy.call.targets import Targets
from proxy.sip.message import Header, SipRequest, SipResponse
from proxy.sip.serialize import build_response, forward_response, has_another_via

if TYPE_CHECKING:
    from policy.attempt import CallAttempt
    from policy.compiled import Provider
    from policy.verdict import Verdict
    from proxy.call.core import ProxyCore
    from proxy.sip.transaction import ClientTransaction, ServerTransaction

_LONGEST_CALL = b'Q.850;cause=31;text="Longest Call Duration Reached"'


class EndedBy:
    """Who ended a call, as its record says: a closed set."""

    CALLER = "caller"
    PROVIDER = "provider"
    PROXY = "proxy"


class CallSession:
    """A call that passed the policy, from its INVITE to its end.

    `ref` names it to the ledger, `token` and `caller_token` (the ref, signed for either side) to the called
    and the calling side, in Record-Route: what each side is shown tells it nothing of the other's. Times
    are monotonic seconds: `received_at` of the INVITE, `answered_at` of the first 2xx, `ended_at` of the
    end that is charged (None before). `final_status` is the status that the caller was given, 0 before.
    `use` is what its credentials used up, b"" where it showed none. `survivals` counts the hang-ups of ours
    that the far end refused; `bye_at`: when the BYE came, or left, on whose answer the call waits, or None.
    `shown_from`: the From value that the called side knows the caller by; None: the caller's own. `vouched`:
    the Identity headers made for it; None before. `account` is the admission layer's own.
    """

    __slots__ = (
        "account",
        "ack_deadline",
        "answered_at",
        "asked",
        "attempt",
        "bye_at",
        "caller",
        "caller_token",
        "cancel_deadline",
        "cancelled",
        "cancelled_by",
        "checkup_at",
        "client",
        "core",
        "dialogs",
        "ended_at",
        "ended_by",
        "final_status",
        "hangup_reason",
        "max_deadline",
        "no_answer_deadline",
        "probe_at",
        "provider",
        "reason",
        "received_at",
        "record",
        "ref",
        "request",
        "server",
        "shown_from",
        "state",
        "survivals",
        "targets",
        "token",
        "use",
        "verdict",
        "vouched",
        "wake_at",
    )

    def __init__(
        self,
        core: ProxyCore,
        request: SipRequest,
        server: ServerTransaction,
        attempt: CallAttempt,
        verdict: Verdict,
        ref: str,
        token: bytes,
        caller_token: bytes,
        now: float,
    ) -> None:
        self.core = core
        self.request = request
        self.server = server
        self.attempt = attempt
        self.verdict = verdict
        self.ref = ref
        self.token = token
        self.caller_token = caller_token
        self.received_at = now
        self.state = CallState.JUDGING
        self.reason: ReasonCode | None = verdict.reason
        self.caller = calling_party(
            request, None if verdict.trunk is None else verdict.trunk.networks.lookup, core.ways
        )
        self.dialogs: dict[bytes, Dialog] = {}
        self.client: ClientTransaction | None = None
        self.provider: Provider | None = None
        self.shown_from: bytes | None = None
        self.vouched: list[Header] | None = None
        self.targets = Targets()
        self.cancelled = False
        self.cancelled_by = EndedBy.CALLER
        self.survivals = 0
        self.bye_at: float | None = None
        self.hangup_reason: bytes | None = None
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.ended_by = EndedBy.PROXY
        self.final_status = 0
        self.no_answer_deadline: float | None = None
        self.cancel_deadline: float | None = None
        self.ack_deadline: float | None = None
        self.max_deadline: float | None = None
        self.asked: Asked | None = None
        self.checkup_at: float | None = None
        self.probe_at: float | None = None
        self.wake_at = 0.0
        self.account: object = None
        self.use = b""
        self.record: tuple[str, str] | None = None

    # --- the decision ---------------------------------------------------------------------------------------

    def admitted(self, now: float) -> None:
        """The reservation stands: forward to the first target, unless the caller has gone meanwhile."""
        if self.state is not CallState.JUDGING or self.cancelled:
            self._end(now)
            return
        self.state = MOVES[self.state][ADMITTED]
        self.targets.try_next(self, now)

    def refused(self, reason: ReasonCode, now: float) -> None:
        """No place, no money, no ledger: tell the caller why. There is nothing to give back."""
        self.reason = reason
        if not self.cancelled:
            refusal = self.core.judge.refusal(reason)
            # That its credentials were used before, another instance may have found out.
            more = challenge(self.core, self.request, stale=True) if reason is ReasonCode.AUTH else ()
            data = refusal_response(self.request, reason, refusal, self.to_tag, more)
            self._respond(data, refusal.status, now)
        self.state = MOVES[self.state][REFUSED]
        self.core.commands.append(Refused(self))
        self.core.forget(self)

    @property
    def callees_from(self) -> bytes:
        """The From value by which the called side knows the caller."""
        return self.shown_from or self.request.first(b"from") or b""

    @property
    def to_tag(self) -> bytes:
        """The To-tag of the responses that the proxy makes itself for this INVITE: one for all (RFC 3261
        §8.2.6.2)."""
        return b"tw" + self.ref.encode()

    # --- responses of the provider --------------------------------------------------------------------------

    def response(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        """A response to the INVITE (§16.7)."""
        if self.targets.raised:
            response = numbered_as(response, self.request)
        status = response.status
        restore_party(self, self.request, response, True)
        if status != 503:
            self.core.reach.answered(client.flow)
        if client is not self.client:
            if 200 <= status < 300:
                self._late_success(client, response, now)
            return
        if client.flow.hurried:
            self.core.reach.stream_found(client.flow, True, now)
        if status < 200:
            self._provisional(client, response, status, now)
        elif status < 300:
            self._success(client, response, now)
        elif self.state is CallState.FORWARDING and not (
            status in CHALLENGES and not self.cancelled and self.targets.log_in(self, response, now)
        ):
            self._failure(response, status, now)

    def _provisional(self, client: ClientTransaction, response: SipResponse, status: int, now: float) -> None:
        if status == 100 or self.state is not CallState.FORWARDING:
            return
        if not self.cancelled:
            self.no_answer_deadline = now + self.core.settings.no_answer_seconds
        if response.to_tag:
            self._record_dialog(client, response)
        self.core.stack.respond(self.server, self._upstream(response), status, now)

    def _upstream(self, response: SipResponse) -> bytes:
        """The response for the caller: its own token where the called side's stood (§16.7 step 8 lets a proxy
        rewrite its own Record-Route), wherever else that may be quoted."""
        data = forward_response(response, withheld_from_caller(self, response))
        return data.replace(self.token, self.caller_token)

    def _success(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        if self.final_status >= 300 or not response.to_tag:
            self._late_success(client, response, now)
            if self.state is CallState.FORWARDING:
                # Without a To-tag it makes no dialog that anybody could end.
                self._respond_plain(502, b"Bad Gateway", now)
                self.ended_by = EndedBy.PROVIDER
                self._end(now)
            return
        known = self.dialogs.get(response.to_tag)
        heard_of = known is not None and (known.confirmed or known.over) and not known.unwanted
        if self.state > CallState.ANSWERED and not heard_of:
            # A branch that answers when the call is over, or about to be.
            self._late_success(client, response, now)
            return
        dialog = self._record_dialog(client, response)
        data, interval = pass_on(response, self.asked, withheld_from_caller(self, response))
        data = data.replace(self.token, self.caller_token)
        self.core.stack.respond(self.server, data, response.status, now)
        if not (dialog.over or dialog.confirmed):
            dialog.confirmed = True
            refreshed(self, dialog, interval, now)
            if self.state is CallState.ANSWERED:
                self._await_ack(now)
                self.core.commands.append(Changed(self))
        if self.state is CallState.FORWARDING:
            self.state = MOVES[self.state][SUCCESS]
            self.final_status = response.status
            self.answered_at = now
            self.no_answer_deadline = self.cancel_deadline = None
            self._await_ack(now)
            trunk = self.verdict.trunk
            if trunk is not None and not self.verdict.emergency:
                self.max_deadline = now + trunk.max_call_seconds
                self.core.wake(self, self.max_deadline, now)
            next_round(self, now)
            self.core.commands.append(Answered(self))

    def _await_ack(self, now: float) -> None:
        """A branch has answered: its ACK has 64*T1 from now."""
        if self.verdict.trunk is not None and not self.verdict.emergency:
            # An ACK that took another way is no reason to cut an emergency call off.
            self.ack_deadline = now + self.core.settings.ack_seconds
            self.core.wake(self, self.ack_deadline, now)

    def _failure(self, response: SipResponse, status: int, now: float) -> None:
        if has_another_via(response):
            data = self._upstream(response)
        else:
            phrase = b"Request Terminated"
            data = build_response(self.request, status, phrase, to_tag=self.to_tag)
        if status == 503:
            # The fault lies behind this proxy, not in it (§16.7 item 6): a 503 would make the PBX avoid the
            # proxy.
            data = build_response(
                self.request,
                500,
                b"Server Internal Error",
                to_tag=self.to_tag,
                extra=(b'Reason: SIP;cause=503;text="Provider Unavailable"',),
            )
        if self.cancelled:
            self.ended_by = self.cancelled_by
        else:
            self.ended_by = EndedBy.PROVIDER
            if self.targets.refused(self, response, status, data, now):
                return
            if status < 600:
                status, data = self.targets.remember(status, data)
        self.failed(500 if status == 503 else status, data, now)

    def failed(self, status: int, data: bytes, now: float) -> None:
        """No target takes the call: this is the caller's answer."""
        self._respond(data, status, now)
        self._end(now)

    def _late_success(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        """A 2xx that comes too late for the caller: nobody will ever hang that call up, so the proxy does."""
        dialog = self._record_dialog(client, response)
        if not (dialog.confirmed or dialog.over):
            dialog.confirmed = dialog.unwanted = True
            Farewell(self, now).end_unwanted(dialog, client.senders, now)

    def _record_dialog(self, client: ClientTransaction, response: SipResponse) -> Dialog:
        tag = response.to_tag
        dialog = self.dialogs.get(tag)
        if dialog is None:
            dialog = self.dialogs[tag] = Dialog(
                tag, response, client.request.uri, client.flow, self.core.ways
            )
            if self.targets.raised:
                dialog.raise_caller(number_of(client.request) - self.request.cseq)
        elif not (dialog.confirmed or dialog.over):
            dialog.refresh(response)
        return dialog

    def unreachable(self, client: ClientTransaction, now: float) -> None:
        """The provider cannot be reached."""
        if self.cancelled:
            self.no_response(client, now)
        elif client is self.client and self.state is CallState.FORWARDING:
            self.ended_by = EndedBy.PROVIDER
            self.targets.unreachable(self, client, now)

    def no_response(self, client: ClientTransaction, now: float) -> None:
        """The provider sent nothing at all within its time (Timer B), or could not be reached."""
        if client is not self.client or self.state is not CallState.FORWARDING:
            return
        if self.cancelled:
            self._respond_plain(487, b"Request Terminated", now)
            self.ended_by = self.cancelled_by
            self._end(now)
            return
        self.ended_by = EndedBy.PROVIDER
        self.targets.silent(self, client, now)

    # --- the caller gives up, time runs out -----------------------------------------------------------------

    def cancel(self, request: SipRequest | None, reason: bytes | None, now: float) -> None:
        """The caller's CANCEL (§16.10), or our own wish to end a ringing call: the provider is cancelled
        too."""
        if self.cancelled:
            return
        self.cancelled = True
        self.cancelled_by = EndedBy.PROXY if request is None else EndedBy.CALLER
        if reason is None and request is not None:
            reason = b", ".join(request.all(b"reason")) or None  # one of SIP and one of Q.850, often
        if self.state is CallState.JUDGING:
            # The decision is still under way; whatever it reserves is given back when it arrives.
            self._respond_plain(487, b"Request Terminated", now)
            self.ended_by = EndedBy.CALLER
        elif self.state is CallState.FORWARDING and self.client is not None:
            self.core.stack.cancel(self.client, reason, now)
            self.cancel_deadline = now + self.core.settings.ack_seconds
            self.core.wake(self, self.cancel_deadline, now)

    def wake(self, now: float) -> float | None:
        """Act on the deadlines that have passed; when to be woken next, or None."""
        if self.state is CallState.FORWARDING:
            if self.cancel_deadline is not None and now >= self.cancel_deadline:
                self._respond_plain(487, b"Request Terminated", now)
                self.ended_by = self.cancelled_by
                self._end(now)
                return None
            if self.no_answer_deadline is not None and now >= self.no_answer_deadline:
                self.no_answer_deadline = None
                self._timer_c(now)
        elif self.state is CallState.ANSWERED:
            if self.ack_deadline is not None and now >= self.ack_deadline:
                self.ack_deadline = None
                end_unacknowledged(self, now)
            elif self.max_deadline is not None and now >= self.max_deadline:
                self.hang_up(self.hangup_reason or _LONGEST_CALL, now)
            elif self.checkup_at is not None and now >= self.checkup_at:
                self.checkup_at = checkup(self, now)
        if self.state is CallState.FORWARDING:
            deadlines = [self.cancel_deadline, self.no_answer_deadline]
        elif self.state is CallState.ANSWERED:
            deadlines = [self.ack_deadline, self.max_deadline, self.checkup_at]
        else:
            return None
        return min((at for at in deadlines if at is not None), default=None)

    def look_by(self, at: float, now: float) -> None:
        """Give the answered call a checkup at `at`, or sooner."""
        if self.checkup_at is None or at < self.checkup_at:
            self.checkup_at = at
            self.core.wake(self, at, now)

    @property
    def is_answered(self) -> bool:
        """Whether the call has been answered and nobody is ending it."""
        return self.state is CallState.ANSWERED

    def _timer_c(self, now: float) -> None:
        """Timer C (§16.8): CANCEL when the provider was heard of, else as if it had answered 408."""
        if self.client is not None and self.client.provisional_received:
            self.cancel(None, b'SIP;cause=408;text="No Answer"', now)
        elif self.client is not None:
            self.no_response(self.client, now)

    # --- the end --------------------------------------------------------------------------------------------

    def hang_up(self, reason: bytes, now: float) -> None:
        """End the call now: BYE to both sides of an answered call; a ringing one is cancelled and refused.

        `reason` is the value of the Reason header (RFC 3326) that both sides are told.
        """
        if self.state is CallState.ANSWERED:
            self.ending(reason, now)
            Farewell(self, now).end_all(reason, now)
        elif self.state in (CallState.JUDGING, CallState.FORWARDING) and not self.final_status:
            self.hangup_reason = reason
            self.ended_by = EndedBy.PROXY
            self._respond_plain(480, b"Temporarily Unavailable", now, (b"Reason: " + reason,))
            if self.state is CallState.FORWARDING:
                if self.client is not None:
                    self.core.stack.cancel(self.client, reason, now)
                self._end(now)
            self.cancelled = True

    def ending(self, reason: bytes, now: float) -> None:
        """The call's last BYE is on its way."""
        self.state = MOVES[self.state][HANG_UP]
        self.bye_at = self._at_longest(now)
        self.hangup_reason = reason

    def dialog_over(self, ended_at: float, by: str, now: float) -> None:
        """The far end accepted a BYE that arrived at `ended_at`. The call is over with its last confirmed
        dialog: for charging no later than its longest duration, whenever our BYE left."""
        if any(dialog.confirmed and not dialog.unwanted for dialog in self.dialogs.values()):
            self.bye_at = None
        elif self.state in (CallState.ANSWERED, CallState.ENDING):
            self.ended_by = by
            self.ended_at = self._at_longest(ended_at)
            self._end(now)

    def _at_longest(self, at: float) -> float:
        return at if self.survivals or self.max_deadline is None else min(at, self.max_deadline)

    def survived(self, now: float) -> None:
        """The far end refused our BYE: the call lives, and goes on being counted and charged; ask again
        later."""
        if self.state is CallState.ENDING:
            self.state = MOVES[self.state][SURVIVED]
            self.survivals += 1
            self.bye_at = None
            self.max_deadline = now + self.core.settings.ack_seconds
            self.core.wake(self, self.max_deadline, now)

    def resumed(self, probe_at: float, now: float) -> None:
        """The answered call was begun by another instance and goes on here; at `probe_at` both sides are
        asked whether they are there."""
        trunk = self.verdict.trunk
        if trunk is not None and not self.verdict.emergency and self.answered_at is not None:
            # It has talked until now, whatever was planned.
            self.max_deadline = max(self.answered_at + trunk.max_call_seconds, now)
            self.core.wake(self, self.max_deadline, now)
        next_round(self, now)
        self.probe_at = probe_at
        self.look_by(now, now)

    def fenced(self) -> None:
        """Another instance has the call, or ended it: nothing of it is done here any more."""
        if self.state is not CallState.ENDED:
            self.state = MOVES[self.state][OVER]
        self.core.forget(self)

    def _end(self, now: float) -> None:
        if self.state is CallState.ENDED:
            return
        self.state = MOVES[self.state][OVER]
        if self.ended_at is None:
            self.ended_at = now
        self.core.commands.append(Ended(self))
        self.core.forget(self)

    def _respond(self, data: bytes, status: int, now: float) -> None:
        if self.final_status:
            return
        self.final_status = status
        self.core.stack.respond(self.server, data, status, now)

    def _respond_plain(self, status: int, phrase: bytes, now: float, extra: tuple[bytes, ...] = ()) -> None:
        data = build_response(self.request, status, phrase, to_tag=self.to_tag, extra=extra)
        self._respond(data, status, now)
