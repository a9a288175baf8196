"""Judging a call that nobody makes: the same policy, and what the ledger would have to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policy.attempt import CallAttempt
from policy.compiled import Policy, Scope
from policy.evaluate import evaluate
from policy.explain import explain
from policy.rating.money import amount
from policy.verdict import Verdict
from proxy.call.attempt import attempt_of
from proxy.ledger.ledger import Ledger, ScopeUsage
from proxy.sip.errors import ParseError
from proxy.sip.message import Flow, SipRequest
from proxy.sip.parse import parse_message

_INQUIRER = "sip:anonymous@anonymous.invalid"


def attempt_from(source: str, to: str, from_uri: str | None, message: str | None) -> CallAttempt:
    """The attempt of `to`, a number or URI, from the address `source`; or of a whole SIP message.

    Raises ValueError with what is wrong. The message goes through the proxy's own parser.
    """
    text = message if message is not None else _invite(_uri(to), from_uri or _INQUIRER)
    data = "\r\n".join(text.split("\n")).replace("\r\r\n", "\r\n").encode("utf-8", "surrogateescape")
    try:
        request = parse_message(data, Flow("udp", ("127.0.0.1", 5060), (source, 5060)))
    except ParseError as error:
        raise ValueError(f"not a SIP message that the proxy would read: {error}") from error
    if not isinstance(request, SipRequest):
        raise ValueError("the message is a response, not a request")
    attempt = attempt_of(request, None)
    if attempt is None:
        raise ValueError("the Request-URI has a scheme that is no call: the caller would see 416")
    return attempt


def judge(policy: Policy, attempt: CallAttempt) -> tuple[Verdict, dict[str, Any]]:
    """The verdict, and its fields as `explain` gives them, without the ledger's part."""
    verdict = evaluate(policy, attempt)
    return verdict, explain(policy, verdict)


async def add_headroom(fields: dict[str, Any], verdict: Verdict, ledger: Ledger) -> None:
    """Put what the ledger holds for the call's scopes into `headroom`. Raises LedgerUnavailable."""
    scopes = verdict.trunk.scopes if verdict.trunk is not None else ()
    usages = await ledger.usage(scopes)
    fields["headroom"] = headroom(scopes, usages)


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


def _uri(to: str) -> str:
    head = to.partition(":")[0].lower()
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
