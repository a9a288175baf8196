"""ProxyCore: finds the call of each event, and judges what belongs to none."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from policy.compiled import Provider
from policy.reasons import ReasonCode
from policy.verdict import Verdict
from proxy.call.attempt import attempt_of
from proxy.call.authenticator import Authenticator
from proxy.call.commands import Command, Reserve, StrangerRefused
from proxy.call.dialog import Dialog
from proxy.call.elsewhere import Elsewhere
from proxy.call.forwarding import Identity
from proxy.call.hangup import FarewellLeg
from proxy.call.logins import judge_login, keep_credentials
from proxy.call.overload import MOST_CALLS, MOST_JUDGED, MOST_TRANSACTIONS
from proxy.call.probe import ProbeLeg
from proxy.call.reach import Hop, Reachability
from proxy.call.refusal import refusal_response
from proxy.call.registration import Registration
from proxy.call.relay import Relay, relay_request
from proxy.call.roles import Judge, Sleeper
from proxy.call.session import CallSession
from proxy.call.session_timer import DEFAULT_SECONDS, too_small
from proxy.call.shedding import Shedder
from proxy.call.validation import STATELESS_TAG, bad_extension, unacceptable
from proxy.call.ways import Ways
from proxy.sip.events import (
    AckReceived,
    CancelReceived,
    ClientTimedOut,
    Event,
    RequestReceived,
    ResponseReceived,
    ServerTerminated,
    TransportFailed,
)
from proxy.sip.malformed import amplifies
from proxy.sip.message import Flow, Header, SipRequest
from proxy.sip.serialize import build_response
from proxy.sip.stack import SipStack
from proxy.sip.transaction import ClientTransaction
from proxy.sip.transaction_tables import TERMINATED

ALLOW = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, MESSAGE"
BRANCH_MARK = b"z9hG4bKtw"
# Our Route parameter: the call's ref and one side's signature, base64url around a full stop.
_TOKEN = re.compile(rb";tw=(([A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_-]{1,64})")
# What can be understood, if not called.
_SCHEMES = frozenset({b"sip", b"sips", b"tel", b"urn"})
# In-dialog requests may fill what new calls leave.
_MOST_TRANSACTIONS_IN_DIALOGS = MOST_TRANSACTIONS + MOST_TRANSACTIONS // 4
_CLIENT_OWNERS = (CallSession, Relay, FarewellLeg, ProbeLeg, Registration)
# How long what is over may stay in the timer heap.
_LONGEST_NAP = 60.0


def _token_of(request: SipRequest) -> re.Match[bytes] | None:
    for name, line in request.headers:
        if name == b"route":
            found = _TOKEN.search(line)
            if found is not None:
                return found
    return _TOKEN.search(request.uri)


def _unsupported_scheme(request: SipRequest) -> bytes:
    return build_response(request, 416, b"Unsupported URI Scheme", to_tag=STATELESS_TAG)


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Times in seconds: how long a provider may be silent, how long it may ring, how long an ACK may take
    (64·T1). `session_expires_seconds`: the longest session interval (RFC 4028); 0: none is asked for.
    `drop_strangers`: who belongs to no trunk gets no answer at all."""

    provider_response_seconds: float = 6.0
    no_answer_seconds: float = 185.0
    ack_seconds: float = 32.0
    drop_strangers: bool = False
    session_expires_seconds: int = DEFAULT_SECONDS


class ProxyCore:
    """All calls of one instance.

    `judge` is the policy in force; `routes` gives the hops of a provider in the order in which one call tries
    them, none while it has no usable address; `leads_to` says whether a provider's name leads to a host;
    `mint` draws a fresh ref and its two tokens, the called side's and the calling side's, of one length;
    `identities` name the proxy, by our own address of a flow. `gate` is set while no new calls are
    taken, `overloaded` while the message at hand waited so long that a new call is shed; `judging` is how
    many calls wait for the ledger. `elsewhere` keeps requests for calls of other instances; None: they are
    refused. `commands` is emptied by the server after each batch of events.
    """

    def __init__(
        self,
        stack: SipStack,
        judge: Judge,
        routes: Callable[[Provider], Sequence[Hop]],
        leads_to: Callable[[Provider, str], bool],
        mint: Callable[[], tuple[str, bytes, bytes]],
        identities: Mapping[tuple[str, tuple[str, int]], Identity],
        settings: CallSettings,
        authenticator: Authenticator,
    ) -> None:
        self.stack = stack
        self.judge = judge
        self.routes = routes
        self.reach = Reachability()
        self.leads_to = leads_to
        self.mint = mint
        self.identities = identities
        self.ways = Ways(identities)
        self.settings = settings
        self.authenticator = authenticator
        self.gate: ReasonCode | None = None
        self.overloaded = False
        self.judging = 0
        self.commands: list[Command] = []
        self.sessions: dict[str, CallSession] = {}
        # Several where a call spirals.
        self._under_way: dict[tuple[bytes, bytes, int], list[CallSession]] = {}
        self._alarms: list[tuple[float, int, Sleeper]] = []
        self._count = 0
        # As random as a token, and never given to anybody.
        self._branch_key = mint()[1]
        tag = blake2b(b"shed", key=self._branch_key, digest_size=6).hexdigest()
        self.elsewhere: Elsewhere | None = None
        self.shedder = Shedder(self, b"tws" + tag.encode())

    # --- events ---------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> None:
        """React to one event of the stack."""
        if isinstance(event, ResponseReceived):
            owner = event.transaction.owner
            if isinstance(owner, _CLIENT_OWNERS):
                owner.response(event.transaction, event.response, now)
        elif isinstance(event, RequestReceived):
            self._request(event.request, now)
        elif isinstance(event, AckReceived):
            self._in_dialog(event.request, now)
        elif isinstance(event, CancelReceived):
            owner = event.transaction.owner
            if isinstance(owner, (CallSession, Relay)):
                owner.cancel(event.request, None, now)
        elif isinstance(event, (ClientTimedOut, TransportFailed)):
            owner = event.transaction.owner
            if event.transaction.state == TERMINATED:
                # It lets go of its call, so that both are freed without the cyclic collector.
                event.transaction.owner = None
            if isinstance(owner, _CLIENT_OWNERS):
                if isinstance(event, TransportFailed):
                    owner.unreachable(event.transaction, now)
                else:
                    owner.no_response(event.transaction, now)
        elif isinstance(event, ServerTerminated):
            self._server_over(event)

    def _request(self, request: SipRequest, now: float) -> None:
        if request.to_tag:
            if self.stack.transactions >= _MOST_TRANSACTIONS_IN_DIALOGS and request.method != b"BYE":
                self.stack.respond_stateless(request, build_response(request, 503, b"Service Unavailable"))
            else:
                self._in_dialog(request, now)
        elif request.method == b"INVITE":
            self._invite(request, now)
        elif (found := self._session_of(request)) is not None and not found[0].request.from_tag:
            # A caller of RFC 2543 has no tag that its callee could name (§12.1.1).
            relay_request(self, *found, request, now)
        elif not self.judge.knows(request.flow.remote[0]):
            self._refuse_stranger(request)
        else:
            self._other_method(request)

    def _in_dialog(self, request: SipRequest, now: float) -> None:
        """Pass a request on within its call. A call that is not here is asked for, and the request held."""
        found = self._session_of(request)
        if found is not None:
            relay_request(self, *found, request, now)
        elif self.elsewhere is None or not self.elsewhere.holds(request, _token_of(request)):
            self.no_such_dialog(request)

    def _session_of(self, request: SipRequest) -> tuple[CallSession, bool] | None:
        """The call that our own Record-Route in the request names (in Route, or, behind a strict router, the
        Request-URI), and whether the token is the caller's. The other side never sees it: who has it, is of
        that side."""
        found = _token_of(request)
        if found is None:
            return None
        token, ref = found.groups()
        session = self.sessions.get(ref.decode("ascii"))
        if session is None:
            return None
        if compare_digest(token, session.caller_token):
            return session, True
        return (session, False) if compare_digest(token, session.token) else None

    def _server_over(self, event: ServerTerminated) -> None:
        owner = event.transaction.owner
        event.transaction.owner = None
        if isinstance(owner, CallSession):
            request = owner.request
            key = (request.call_id, request.from_tag, request.cseq)
            sessions = self._under_way.get(key, [])
            if owner in sessions:
                sessions.remove(owner)
                if not sessions:
                    del self._under_way[key]

    # --- a new call -----------------------------------------------------------------------------------------

    def _invite(self, request: SipRequest, now: float) -> None:
        attempt = attempt_of(request, self._gate())
        if attempt is None:
            if self.judge.knows(request.flow.remote[0]):
                self.stack.respond_stateless(request, _unsupported_scheme(request))
            else:
                self._refuse_stranger(request)
            return
        verdict, use = self.judge.judge(attempt), b""
        if verdict.reason is ReasonCode.AUTH:
            verdict, use = judge_login(self, request, attempt, verdict, STATELESS_TAG, now)
        if verdict.reason in (ReasonCode.SOURCE, ReasonCode.AUTH):
            if verdict.reason is ReasonCode.SOURCE:
                self._refuse_stranger(request)
            self.commands.append(StrangerRefused(attempt.source, verdict))
            return
        if verdict.reason is ReasonCode.OVERLOAD or (
            not verdict.emergency and self.shedder.was_shed(request, now)
        ):
            self.shedder.shed(request, verdict, now)
            return
        refusal = unacceptable(request) or self._repeated(request)
        if refusal is None and not verdict.emergency:
            refusal = too_small(request, STATELESS_TAG)
        if refusal is not None:
            self.stack.respond_stateless(request, refusal)
            return
        keep_credentials(self, request)
        ref, token, caller_token = self.mint()
        server = self.stack.accept(request, now)
        session = CallSession(self, request, server, attempt, verdict, ref, token, caller_token, now)
        server.owner = session
        session.use = use
        if verdict.reason is not None:
            session.refused(verdict.reason, now)
            return
        if not self._has_route(verdict):
            session.refused(ReasonCode.ROUTE, now)
            return
        self.stack.respond(server, build_response(request, 100, b"Trying"), 100, now)
        self.sessions[ref] = session
        self._under_way.setdefault((request.call_id, request.from_tag, request.cseq), []).append(session)
        self.commands.append(Reserve(session))

    def _gate(self) -> ReasonCode | None:
        """Why no new call is taken now, if it is no emergency call."""
        if self.gate is None and (
            self.overloaded
            or self.judging >= MOST_JUDGED
            or len(self.sessions) >= MOST_CALLS
            or self.stack.transactions >= MOST_TRANSACTIONS
        ):
            return ReasonCode.OVERLOAD
        return self.gate

    def _has_route(self, verdict: Verdict) -> bool:
        """Whether any target has a usable address now: else there is nothing to reserve for."""
        return any(self.routes(provider) for provider in verdict.providers)

    def _repeated(self, request: SipRequest) -> bytes | None:
        """482 for a loop (the request came back through us unchanged, RFC 5393) and for a merged request (it
        came twice by different ways, RFC 3261 §8.2.2.2); a spiral with another Request-URI is a call of its
        own."""
        sessions = self._under_way.get((request.call_id, request.from_tag, request.cseq))
        if sessions is None:
            return None
        came_back = any(BRANCH_MARK in line for name, line in request.headers if name == b"via")
        if came_back and all(request.uri != session.request.uri for session in sessions):
            return None
        phrase = b"Loop Detected" if came_back else b"Request Merged"
        return build_response(request, 482, phrase, to_tag=STATELESS_TAG)

    # --- what is refused without state ----------------------------------------------------------------------

    def no_such_dialog(self, request: SipRequest) -> None:
        """481, without state: no dialog of ours, or not from a side of it. An ACK is dropped."""
        if request.method == b"ACK":
            return
        data = build_response(request, 481, b"Call/Transaction Does Not Exist")
        if self.judge.knows(request.flow.remote[0]):
            self.stack.respond_stateless(request, data)
        elif not self.settings.drop_strangers or (
            _token_of(request) is not None and self.stack.heeds(request.flow)
        ):
            # A provider is none of the trunks, and may be late.
            self._tell_stranger(request, data)

    def _refuse_stranger(self, request: SipRequest) -> None:
        if self.settings.drop_strangers and not self.judge.knows(request.flow.remote[0]):
            return
        refusal = self.judge.refusal(ReasonCode.SOURCE)
        data = refusal_response(request, ReasonCode.SOURCE, refusal, STATELESS_TAG)
        if amplifies(data, request):
            data = build_response(request, refusal.status, refusal.phrase.encode(), to_tag=STATELESS_TAG)
        self._tell_stranger(request, data)

    def _tell_stranger(self, request: SipRequest, data: bytes) -> None:
        """Nothing where the answer is large beside the request: whoever forges a source gains nothing by
        us."""
        if not amplifies(data, request):
            self.stack.respond_stateless(request, data)

    def _other_method(self, request: SipRequest) -> None:
        if request.parsed_uri.scheme not in _SCHEMES:
            self.stack.respond_stateless(request, _unsupported_scheme(request))
            return
        for_us = request.method == b"OPTIONS" and not request.parsed_uri.user
        # What asks for the proxy itself goes no hop further (§16.3 item 3).
        data = None if for_us and request.max_forwards == 0 else unacceptable(request)
        if data is None and for_us and (wanted := request.all(b"require")):
            # Here the proxy is the user agent that has to know them (§8.2.2.3).
            data = bad_extension(request, wanted)
        if data is None:
            tag = STATELESS_TAG
            if for_us:
                data = build_response(
                    request, 200, b"OK", to_tag=tag, extra=(ALLOW, b"Accept: application/sdp")
                )
            elif request.method.upper() == b"REFER":  # as within a call
                data = build_response(request, 403, b"Transfer Not Allowed", to_tag=tag)
            else:
                data = build_response(request, 405, b"Method Not Allowed", to_tag=tag, extra=(ALLOW,))
        self.stack.respond_stateless(request, data)

    # --- what sessions ask of the core ----------------------------------------------------------------------

    def identity(self, flow: Flow) -> Identity:
        """How the proxy names itself towards the peer of this flow."""
        return self.identities[flow[:2]]

    def counts_on(self, flow: Flow) -> bool:
        """Whether a live call has no other way to its caller than this connection. Asked of idle connections
        only."""
        return any(session.caller.flow == flow for session in self.sessions.values())

    def branch(self) -> bytes:
        """A branch that never comes again, and that only the peer which receives it knows.

        It is what a response is believed by: a caller that could guess the branch of a BYE on its way to the
        provider could answer that BYE itself. So nothing that peers see (the ref, other branches) tells it.
        """
        self._count += 1
        digest = blake2b(b"%x" % self._count, key=self._branch_key, digest_size=12).hexdigest()
        return BRANCH_MARK + digest.encode("ascii")

    def tech_headers(self, provider: Provider) -> list[Header]:
        """The provider's own headers, as lines."""
        return [(name.lower().encode(), f"{name}: {value}".encode()) for name, value in provider.tech_headers]

    def is_caller(self, session: CallSession, host: str) -> bool:
        """Whether the address may act in the call's dialogs for the calling side: the INVITE's source, and
        all of its trunk."""
        trunk = session.verdict.trunk
        return host == session.request.flow.remote[0] or (
            trunk is not None and trunk.networks.lookup(host) is not None
        )

    def is_callee(self, session: CallSession, dialog: Dialog, host: str) -> bool:
        """Whether the address may act in the dialog for the called side.

        The provider's networks decide. Without them it is where the provider's name leads, where the answer
        came from and where requests in the dialog go. The caller knows all that a request in the dialog
        contains: whoever may speak for the called side can end the call in our books.
        """
        provider = session.provider
        if provider is None:
            return False
        if provider.networks is not None:
            return provider.networks.lookup(host) is not None
        return host in (
            dialog.came_from,
            dialog.callee(session.token).flow.remote[0],
        ) or self.leads_to(provider, host)

    def believe_provider(self, client: ClientTransaction, session: CallSession) -> None:
        """Take the responses to a request for the called side from the provider's networks only, where it has
        any."""
        provider = session.provider
        if provider is not None and provider.networks is not None:
            client.senders = provider.networks.lookup

    def wake(self, sleeper: Sleeper, at: float, now: float) -> None:
        """Call `sleeper.wake` at `at`, or sooner."""
        at = min(at, now + _LONGEST_NAP)
        if sleeper.wake_at == 0.0 or at < sleeper.wake_at:
            sleeper.wake_at = at
            self._count += 1
            heapq.heappush(self._alarms, (at, self._count, sleeper))

    def resume(self, session: CallSession, probe_at: float, now: float) -> None:
        """Go on with a call that another instance began; at `probe_at` ask both sides whether they are
        there."""
        self.sessions[session.ref] = session
        session.resumed(probe_at, now)

    def fetched(self, ref: str, known: bool, now: float) -> None:
        """A call was asked for. `known` is False when nobody could say whether there is one."""
        if self.elsewhere is None:
            return
        if not known:
            self.elsewhere.unavailable(ref)
        for request in self.elsewhere.take(ref):
            if ref in self.sessions:
                self._in_dialog(request, now)
            else:
                self.no_such_dialog(request)

    def forget(self, session: CallSession) -> None:
        """The call is over: no request can reach it any more."""
        self.sessions.pop(session.ref, None)

    # --- what the server asks of the core -------------------------------------------------------------------

    def session(self, ref: str) -> CallSession | None:
        """The live call with this ref."""
        return self.sessions.get(ref)

    def next_alarm(self) -> float | None:
        """When `handle_alarms` has something to do."""
        return self._alarms[0][0] if self._alarms else None

    def handle_alarms(self, now: float) -> None:
        """Wake those whose deadlines have passed."""
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            at, _, sleeper = heapq.heappop(alarms)
            if at != sleeper.wake_at:
                continue
            sleeper.wake_at = 0.0
            following = sleeper.wake(now)
            if following is not None:
                self.wake(sleeper, following, now)
