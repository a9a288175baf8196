"""Logins on the way of a new call: from a verdict that wants one to the verdict on who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy.reasons import ReasonCode
from policy.verdict import REFUSE, Check, Verdict
from proxy.call.authenticator import without_credentials
from proxy.call.refusal import refusal_response
from proxy.sip.malformed import amplifies
from proxy.sip.serialize import build_response

if TYPE_CHECKING:
    from policy.attempt import CallAttempt
    from proxy.call.core import ProxyCore
    from proxy.sip.message import SipRequest

_BAD_CREDENTIALS = Check("source", "", REFUSE, "bad credentials")


def judge_login(
    core: ProxyCore, request: SipRequest, attempt: CallAttempt, asked: Verdict, to_tag: bytes, now: float
) -> tuple[Verdict, bytes]:
    """The verdict on a call of a trunk that wants a login, and what of its credentials is used up by it.
    `asked`, the verdict on the same call without a login, stands where the caller was challenged by this."""
    policy = core.judge.policy
    proof = core.authenticator.examine(policy, request, _status(core), now)
    if proof.outcome in ("challenged", "stale"):
        _challenge_caller(core, request, to_tag, stale=proof.outcome == "stale")
        return asked, b""
    if proof.login is not None:
        attempt.login = proof.login
        verdict = core.judge.judge(attempt)
        if verdict.reason is not ReasonCode.SOURCE:
            return verdict, proof.use
        core.authenticator.misplaced(request, now)
    return Verdict(ReasonCode.SOURCE, [_BAD_CREDENTIALS]), b""


def keep_credentials(core: ProxyCore, request: SipRequest) -> None:
    """Take what answers our challenge out of a request that goes on (RFC 3261 §22.3), also where nobody was
    asked: a user agent with a login may send it with every call."""
    if core.judge.policy.logins:
        request.headers = without_credentials(request.headers, core.judge.policy.realm, _status(core))


def challenge(core: ProxyCore, request: SipRequest, *, stale: bool) -> tuple[bytes, ...]:
    """The lines that ask for credentials."""
    return core.authenticator.challenge(core.judge.policy, request, _status(core), stale)


def _challenge_caller(core: ProxyCore, request: SipRequest, to_tag: bytes, *, stale: bool) -> None:
    """A 407 without state. Where it would be large beside the request, it says no more than it must: one
    algorithm less (hardly anybody has SHA-512-256), then the first one alone, and at last nothing; but nobody
    forges the source of a connection."""
    refusal = core.judge.refusal(ReasonCode.AUTH)
    lines = challenge(core, request, stale=stale)
    usual = tuple(line for line in lines if b"=SHA-512-256" not in line)
    data = refusal_response(request, ReasonCode.AUTH, refusal, to_tag, lines)
    if request.flow.connection == 0:
        for fewer in (lines, usual or lines, lines[:1]):
            if not amplifies(data, request):
                break
            phrase = refusal.phrase.encode()
            data = build_response(request, refusal.status, phrase, to_tag=to_tag, extra=fewer)
        if amplifies(data, request):
            return
    core.stack.respond_stateless(request, data)


def _status(core: ProxyCore) -> int:
    return core.judge.refusal(ReasonCode.AUTH).status
