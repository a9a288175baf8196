"""Targets: where one call goes, and where next when that fails (RFC 3261 §16.6 and §16.7, RFC 3263 §4.3).

A call's target set is the policy's list of providers; each leads to one or several hops. A call tries the
hops of one provider, each with a branch of its own, before the next provider; its reservation stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from policy.reasons import ReasonCode
from proxy.call.forwarding import forward_invite
from proxy.call.presented import introduce, show_caller
from proxy.call.privacy import withheld_from_callee
from proxy.call.provider_login import answer_challenge, renumbered_as, with_login
from proxy.call.reach import LARGEST_DATAGRAM, Hop
from proxy.call.refusal import refusal_response
from proxy.call.session_timer import ask
from proxy.call.vouched import vouch
from proxy.sip.headers import delta_seconds
from proxy.sip.message import Flow, Header, SipResponse
from proxy.sip.serialize import OutgoingRequest, build_response, serialize_request

if TYPE_CHECKING:
    from policy.compiled import Provider
    from proxy.call.session import CallSession
    from proxy.sip.transaction import ClientTransaction

MOST_HOPS: Final = 3
"""Hops of one provider that one call tries: a caller does not wait for ever."""


class Targets:
    """What one call still has to try, and the best answer of what it has tried.

    raised: by how much the CSeq towards the provider is above the caller's, since challenges were answered.
    login: the credentials that the ACK repeats, with the caller's CSeq of the INVITE that they were for.
    """

    __slots__ = ("_answered", "_at", "_best", "_hop", "_hops", "login", "raised")

    def __init__(self) -> None:
        self._at = 0
        self._hops: Sequence[Hop] = ()
        self._hop: Hop | None = None
        self._best: tuple[int, bytes] | None = None
        self._answered = 0
        self.raised = 0
        self.login: tuple[int, Header] | None = None

    def try_next(self, session: CallSession, now: float) -> None:
        """Send the INVITE to the next hop; when there is none left, give the call up."""
        core = session.core
        providers = session.verdict.providers
        while not self._hops:
            if self._at >= len(providers):
                self._give_up(session, now)
                return
            self._hops = core.reach.ordered(core.routes(providers[self._at]), now)[:MOST_HOPS]
            self._at += 1
        self._hop, self._hops = self._hops[0], self._hops[1:]
        self._answered, self.login = 0, None
        self._forward(session, self._hop, now)

    def _forward(self, session: CallSession, hop: Hop, now: float) -> None:
        """What is too large for UDP goes by TCP, unless that was tried lately in vain (§18.1.1)."""
        core = session.core
        provider = session.provider = session.verdict.providers[self._at - 1]
        flow, stream = hop
        invite = _invite(session, provider, flow)
        data = serialize_request(invite)
        if len(data) > LARGEST_DATAGRAM and stream is not None and core.reach.may_stream(stream, now):
            flow = stream
            invite = _invite(session, provider, flow)
            data = serialize_request(invite)
        session.client = core.stack.send_request(
            invite, flow, now, owner=session, timeout=core.settings.provider_response_seconds, data=data
        )
        core.believe_provider(session.client, session)
        session.no_answer_deadline = now + core.settings.no_answer_seconds
        core.wake(session, session.no_answer_deadline, now)

    def log_in(self, session: CallSession, response: SipResponse, now: float) -> bool:
        """Answer the provider's challenge: the INVITE once more, with the next CSeq. False where that cannot
        be answered."""
        client, hop = session.client, self._hop
        if client is None or hop is None:
            return False
        provider = session.provider
        line = answer_challenge(session.core, provider, response, client.request, self._answered)
        if line is None:
            return False
        self._answered += 1
        self.raised += 1
        self.login = (session.request.cseq, line)
        self._forward(session, hop, now)
        return True

    def refused(
        self, session: CallSession, response: SipResponse, status: int, data: bytes, now: float
    ) -> bool:
        """The final answer of the current hop, with `status` and as `data` to the caller. False when it is to
        be passed on as it is: there is nothing else to try for such an answer.

        503 means this hop (RFC 3263 §4.3), for as long as its Retry-After says; another 5xx, 404 and 408 the
        provider.
        """
        if not (500 <= status < 600 or status in (404, 408)):
            return False
        if status != 503:
            self._hops = ()
        elif session.client is not None:
            session.core.reach.failed(session.client.flow, now, delta_seconds(response.first(b"retry-after")))
        self.remember(500 if status == 503 else status, data)
        self.try_next(session, now)
        return True

    def unreachable(self, session: CallSession, client: ClientTransaction, now: float) -> None:
        """The connection failed: as if the hop had answered 503 (§16.9), which goes upstream as 500. A mere
        try of TCP is followed by UDP."""
        core = session.core
        if client.flow.hurried and not client.provisional_received and self._hop is not None:
            core.reach.stream_found(client.flow, False, now)
            self._forward(session, self._hop, now)
            return
        core.reach.failed(client.flow, now)
        reason = b'Reason: SIP;cause=503;text="Provider Unreachable"'
        data = build_response(
            session.request, 500, b"Server Internal Error", to_tag=session.to_tag, extra=(reason,)
        )
        self.remember(500, data)
        self.try_next(session, now)

    def silent(self, session: CallSession, client: ClientTransaction, now: float) -> None:
        """The hop sent no final response, or nothing at all within its time: as if it had answered 408."""
        if not client.provisional_received:
            session.core.reach.failed(client.flow, now)
        self.remember(408, build_response(session.request, 408, b"Request Timeout", to_tag=session.to_tag))
        self.try_next(session, now)

    def remember(self, status: int, data: bytes) -> tuple[int, bytes]:
        """Keep the best answer of the hops tried so far, the last of the lowest class (§16.7 item 6); which
        that is."""
        if self._best is None or status // 100 <= self._best[0] // 100:
            self._best = (status, data)
        return self._best

    def _give_up(self, session: CallSession, now: float) -> None:
        """Nothing is left to try: the best of the answers, or 404 when there was none."""
        if self._best is None:
            refusal = session.core.judge.refusal(ReasonCode.ROUTE)
            data = refusal_response(session.request, ReasonCode.ROUTE, refusal, session.to_tag)
            session.failed(refusal.status, data, now)
        else:
            session.failed(*self._best, now)


def _invite(session: CallSession, provider: Provider, flow: Flow) -> OutgoingRequest:
    core = session.core
    drop = withheld_from_callee(session, session.request)
    told, added = introduce(session, provider, core.identity(flow), drop)
    kept, vouched = vouch(session, provider)
    drop |= told | kept
    added += vouched
    tech_headers = core.tech_headers(provider)
    if tech_headers:
        # The provider reads the operator's word, not what the caller wrote under the same name.
        names = {name for name, _ in tech_headers}
        drop |= names
        added = [header for header in added if header[0] not in names] + tech_headers
    uri = provider.request_uri(session.verdict.called or "").encode()
    if session.attempt.scheme == "sips" and flow.transport == "tls" and uri.startswith(b"sip:"):
        # Who asked for TLS all the way asks the next hop for it, too (§16.5, RFC 5630 §5.3). Without TLS only
        # an emergency call goes on.
        uri = b"sips:" + uri[4:]
    if not session.verdict.emergency:  # one goes out as it came
        session.asked = ask(session.request, core.settings.session_expires_seconds)
        if session.asked is not None:
            drop |= session.asked.drop
            added += session.asked.added
    invite = forward_invite(
        session.request,
        uri,
        core.branch(),
        session.token,
        core.identity(flow),
        core.identity(session.request.flow),
        drop,
        added,
    )
    show_caller(invite.headers, session)
    targets = session.targets
    if targets.raised:
        number = session.request.cseq + targets.raised
        if targets.login is None:
            renumbered_as(invite, number)
        else:
            with_login(invite, targets.login[1], number)
    return invite
