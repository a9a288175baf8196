"""Refusals on the wire: status line, Reason (RFC 3326), Warning (RFC 3261 §20.43) and Retry-After."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from policy.reasons import ReasonCode, Refusal
from proxy.sip.message import SipRequest
from proxy.sip.serialize import build_response


@lru_cache(maxsize=256)
def refusal_lines(code: ReasonCode, refusal: Refusal) -> tuple[bytes, ...]:
    """The header lines that explain a refusal. They never say what would have been allowed."""
    text = refusal.phrase
    lines = []
    if refusal.cause is not None:
        lines.append(f'Reason: Q.850;cause={refusal.cause};text="{text}"')
    lines.append(f'Warning: 399 trunkwarden "{code.value} {text}"')
    if refusal.retry_after is not None:
        lines.append(f"Retry-After: {refusal.retry_after}")
    return tuple(line.encode() for line in lines)


def refusal_response(
    request: SipRequest, code: ReasonCode, refusal: Refusal, to_tag: bytes, more: tuple[bytes, ...] = ()
) -> bytes:
    """The final response that refuses `request`; `more` are whole header lines, such as a challenge."""
    return build_response(
        request,
        refusal.status,
        refusal.phrase.encode(),
        to_tag=to_tag,
        extra=(*refusal_lines(code, refusal), *more) if more else refusal_lines(code, refusal),
    )


@lru_cache(maxsize=256)
def _spread_lines(code: ReasonCode, refusal: Refusal, more: int) -> tuple[bytes, ...]:
    seconds = refusal.retry_after or 0
    return refusal_lines(code, replace(refusal, retry_after=(seconds + 1) // 2 + more))


def spread_lines(code: ReasonCode, refusal: Refusal, share: int) -> tuple[bytes, ...]:
    """The same for one of many who are refused at once, and shall not all come back at once: Retry-After lies
    between half and one and a half of the usual one, by `share`, any number that differs among them."""
    if refusal.retry_after is None:
        return refusal_lines(code, refusal)
    return _spread_lines(code, refusal, share % (refusal.retry_after + 1))
