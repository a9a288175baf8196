"""A verdict as the fields that `explain` and `POST /v1/explain` answer with."""

from __future__ import annotations

from policy.compiled import Policy
from policy.verdict import Verdict


def explain(policy: Policy, verdict: Verdict) -> dict[str, object]:
    """JSON-ready fields of the contract, without `headroom`, which only the ledger knows.

    sip_status and sip_reason are what a refused caller sees, None for a call that the policy lets pass.
    provider and request_uri are of the first target. rate is the price of a minute in the accounting
    currency, a decimal string. kinds is empty for an ordinary number, and where no scope denies any kind.
    """
    refusal = None if verdict.reason is None else policy.refusals[verdict.reason]
    provider = verdict.providers[0] if verdict.providers else None
    request_uri = None
    if provider is not None and verdict.called is not None:
        request_uri = provider.request_uri(verdict.called)
    return {
        "decision": "admitted" if verdict.reason is None else "refused",
        "reason": None if verdict.reason is None else verdict.reason.value,
        "sip_status": None if refusal is None else refusal.status,
        "sip_reason": None if refusal is None else refusal.phrase,
        "trunk": None if verdict.trunk is None else verdict.trunk.name,
        "provider": None if provider is None else provider.name,
        "called": verdict.called,
        "country": verdict.country,
        "kinds": sorted(verdict.kinds),
        "destination": verdict.destination,
        "rate": None if verdict.rate is None else verdict.rate.per_minute_text,
        "request_uri": request_uri,
        "checks": [check._asdict() for check in verdict.checks],
        "policy_version": policy.version,
    }
