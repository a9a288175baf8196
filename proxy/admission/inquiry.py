"""Judging a call that nobody makes: the same policy, and what the ledger would have to say."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from policy.attempt import CallAttempt
from policy.compiled import Policy, Scope
from policy.evaluate import evaluate
from policy.explain import explain
from policy.rating.money import amount
from policy.reasons import ReasonCode
from policy.verdict import PASS, REFUSE, Check, Verdict
from proxy.admission.account import least_block
from proxy.admission.velocity import counted
from proxy.call.attempt import attempt_of
from proxy.call.session_timer import too_small
from proxy.call.validation import unacceptable
from proxy.ledger.ledger import Ledger, ScopeUsage
from proxy.observe.clock import now_ms
from proxy.sip.errors import ParseError
from proxy.sip.message import Flow, SipRequest
from proxy.sip.parse import parse_message

_INQUIRER = "sip:anonymous@anonymous.invalid"
_UNUSABLE = re.compile(r"[\s\x00-\x1f\x7f<>]")


class Unclear(ValueError):
    """What is asked makes no sense; the message says what is wrong."""


def inquire(
    policy: Policy,
    source: str,
    to: str,
    from_uri: str | None = None,
    message: str | None = None,
    user: str | None = None,
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict on `to`, a number or URI, from the address `source`, or on a whole SIP message, and its
    fields: see `judge`. Raises Unclear, also for a message that gets another answer than a verdict's."""
    request = _read(source, to, from_uri, message)
    verdict, fields = judge(policy, _attempt_of(request), user)
    if verdict.reason not in (ReasonCode.SOURCE, ReasonCode.AUTH) and not verdict.emergency:
        _must_not_be(too_small(request, None))
    return verdict, fields


def attempt_from(source: str, to: str, from_uri: str | None, message: str | None) -> CallAttempt:
    """The attempt of `to`, a number or URI, from the address `source`; or of a whole SIP message.

    Raises Unclear. The message goes through the proxy's own parser.
    """
    return _attempt_of(_read(source, to, from_uri, message))


def _attempt_of(request: SipRequest) -> CallAttempt:
    attempt = attempt_of(request, None)
    if attempt is None:
        raise Unclear("the Request-URI has a scheme that is no call: the caller would see 416")
    return attempt


def _must_not_be(refusal: bytes | None) -> None:
    if refusal is not None:
        seen = refusal[8:].partition(b"\r\n")[0].decode()
        raise Unclear(f"no proxy may forward the message: the caller would see {seen}")


def _read(source: str, to: str, from_uri: str | None, message: str | None) -> SipRequest:
    try:
        ipaddress.ip_address(source)
    except ValueError:
        raise Unclear(f"`{source}` is no IP address") from None
    text = message if message is not None else _invite(_uri(to), _checked(from_uri or _INQUIRER))
    data = "\r\n".join(text.split("\n")).replace("\r\r\n", "\r\n").encode("utf-8", "surrogateescape")
    if b"\r\n\r\n" not in data:
        data = data.rstrip() + b"\r\n\r\n"  # the empty line is easily lost where nothing follows it
    try:
        request = parse_message(data, Flow("udp", ("127.0.0.1", 5060), (source, 5060)))
    except ParseError as error:
        raise Unclear(f"not a SIP message that the proxy would read: {error}") from error
    if not isinstance(request, SipRequest) or request.method != b"INVITE":
        raise Unclear("the message is no INVITE: only calls are judged")
    if request.to_tag:
        raise Unclear("the message belongs to a dialog (its To has a tag): the proxy would not judge it")
    _must_not_be(unacceptable(request))
    return request


def judge(policy: Policy, attempt: CallAttempt, user: str | None = None) -> tuple[Verdict, dict[str, Any]]:
    """The verdict, and its fields as `explain` gives them; `headroom`, the ledger's part, is None.

    Where a login is wanted, it is as though `user` had proved it. As on the wire, credentials that nobody
    asks for change nothing.
    """
    attempt.at_ms = now_ms()
    verdict = evaluate(policy, attempt)
    if user is not None and verdict.reason is ReasonCode.AUTH:
        attempt.login = user
        verdict = evaluate(policy, attempt)
    return verdict, {**explain(policy, verdict), "headroom": None}


async def add_headroom(policy: Policy, fields: dict[str, Any], verdict: Verdict, ledger: Ledger) -> None:
    """Put what the ledger holds for the call's scopes into `headroom`, and refuse what has no room there now.

    Nothing is reserved; calls per second are not looked at. Raises LedgerUnavailable.
    """
    trunk = verdict.trunk
    scopes = trunk.scopes_of(verdict.called, verdict.country) if trunk is not None else ()
    usages = await ledger.usage(scopes)
    fields["headroom"] = headroom(scopes, usages)
    if trunk is None or verdict.reason is not None or verdict.emergency:
        return
    full = None
    if verdict.tries is not None:
        for reason, check in counted(verdict.tries, await ledger.tries(verdict.tries)):
            if reason is None:
                fields["checks"].append(check._asdict())
            else:
                full = full or (reason, check)
    full = full or _no_room(scopes, usages, least_block(trunk, verdict.rate)[0])
    if full is None:
        fields["checks"].append(Check("ledger", "", PASS, "room at all scopes")._asdict())
        return
    reason, check = full
    refusal = policy.refusals[reason]
    fields["checks"].append(check._asdict())
    fields.update(
        decision="refused", reason=reason.value, sip_status=refusal.status, sip_reason=refusal.phrase
    )


def _no_room(
    scopes: Sequence[Scope], usages: Sequence[ScopeUsage], hold: int
) -> tuple[ReasonCode, Check] | None:
    """The first scope without room, capacity before money, as the ledger itself judges."""
    for scope, usage in zip(scopes, usages, strict=True):
        limit = scope.capacity_limit
        if limit is not None and usage.active_calls >= limit:
            detail = f"{usage.active_calls} of {limit} calls are up"
            return ReasonCode.CAPACITY, Check("capacity", scope.id, REFUSE, detail)
    for scope, usage in zip(scopes, usages, strict=True):
        threshold, used = scope.threshold, usage.spent + usage.reserved
        if threshold is not None and used + hold > threshold:
            detail = f"{amount(used)} of {amount(threshold)} spent or held, {amount(hold)} more wanted"
            return ReasonCode.SPEND, Check("spend", scope.id, REFUSE, detail)
    return None


def headroom(scopes: Sequence[Scope], usages: Sequence[ScopeUsage]) -> list[dict[str, Any]]:
    """For each scope what is used and what is left; None is unlimited."""
    rows = []
    for scope, usage in zip(scopes, usages, strict=True):
        capacity, threshold = scope.capacity_limit, scope.threshold
        used = usage.spent + usage.reserved
        rows.append(
            {
                "scope": scope.id,
                "active_calls": usage.active_calls,
                "capacity_left": None if capacity is None else max(capacity - usage.active_calls, 0),
                "spent_amount": amount(usage.spent),
                "reserved_amount": amount(usage.reserved),
                "amount_left": None if threshold is None else amount(max(threshold - used, 0)),
            }
        )
    return rows


def _checked(part: str) -> str:
    """What stands between `<` and `>` of a header must not end them."""
    if not part or _UNUSABLE.search(part):
        raise Unclear(f"`{part}` is no number or URI")
    return part


def _uri(to: str) -> str:
    head = _checked(to).partition(":")[0].lower()
    if head in ("sip", "sips", "tel", "urn"):
        return to
    return f"sip:{to}@trunkwarden.invalid"


def _invite(uri: str, from_uri: str) -> str:
    caller = from_uri if ":" in from_uri else f"sip:{from_uri}@trunkwarden.invalid"
    lines = (
        f"INVITE {uri} SIP/2.0",
        "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKexplain",
        f"From: <{caller}>;tag=explain",
        f"To: <{uri}>",
        "Call-ID: explain",
        "CSeq: 1 INVITE",
        "Max-Forwards: 70",
        "Content-Length: 0",
    )
    return "\r\n".join(lines) + "\r\n\r\n"
