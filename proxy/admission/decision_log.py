"""DecisionLog: one record of each decision, and one of each admitted call when it ends.

A record is one JSON object on one line, with the same fields in both; what is not known yet is null.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from policy.reasons import ReasonCode
from policy.verdict import Check
from proxy.call.session import CallSession
from proxy.observe.clock import iso

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode
# Escapes keep every line one line of printable ASCII, whatever a peer wrote into its headers; DEL is the
# exception.
_DEL = str.maketrans({"\x7f": "\\u007f"})

Sink = Callable[[str, list[bytes]], None]


def money(micro: int) -> str:
    """Micro-units as a decimal string without an exponent: 1_500_000 → `1.5`, 0 → `0`."""
    whole, rest = divmod(abs(micro), 1_000_000)
    text = f"{whole}.{rest:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if micro < 0 else text


class DecisionLog:
    """Collects lines and hands them to the sinks when `flush` is called. `sinks` get a stream's name,
    `decisions` or `calls`, and its lines."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.sinks: list[Sink] = []
        self._decisions: list[bytes] = []
        self._calls: list[bytes] = []

    def decided(
        self,
        session: CallSession,
        policy_version: str,
        reason: ReasonCode | None,
        ledger_checks: tuple[Check, ...],
        at: datetime,
        sip_status: int | None,
    ) -> None:
        """The call was admitted (`reason` is None) or refused with `sip_status`."""
        fields = self._facts(session, policy_version, reason, ledger_checks, at)
        fields["sip_status"] = sip_status
        self._decisions.append(_line(fields))
        session.record = fields

    def ended(self, session: CallSession, cost: int, ended_at: datetime, now: float) -> None:
        """An admitted call is over. `ended_at` is the wall time of the moment `now`; durations are
        monotonic."""
        fields = session.record
        if fields is None:
            return
        finish = session.ended_at if session.ended_at is not None else now
        end = ended_at - timedelta(seconds=now - finish)
        fields["record"] = "call"
        fields["provider"] = session.provider.name if session.provider is not None else None
        fields["ended_at"] = iso(end)
        if session.answered_at is not None:
            duration = round((finish - session.answered_at) * 1000)
            fields["answered_at"] = iso(end - timedelta(milliseconds=duration))
            fields["duration_ms"] = duration
            rate = session.verdict.rate
            fields["billed_seconds"] = 0 if rate is None else rate.billed_seconds(duration)
        else:
            fields["duration_ms"] = fields["billed_seconds"] = 0
        fields["cost"] = money(cost)
        fields["sip_status"] = session.final_status or None
        fields["ended_by"] = session.ended_by
        self._calls.append(_line(fields))
        session.record = None

    def flush(self) -> None:
        """Hand over what was collected."""
        for stream, lines in (("decisions", self._decisions), ("calls", self._calls)):
            if lines:
                for sink in self.sinks:
                    sink(stream, lines)
        self._decisions = []
        self._calls = []

    def _facts(
        self,
        session: CallSession,
        policy_version: str,
        reason: ReasonCode | None,
        ledger_checks: tuple[Check, ...],
        at: datetime,
    ) -> dict[str, object]:
        verdict = session.verdict
        attempt = session.attempt
        trunk = verdict.trunk
        providers = verdict.providers
        return {
            "record": "decision",
            "call_id": session.request.call_id.decode("latin-1"),
            "ref": session.ref,
            "trunk": trunk.name if trunk is not None else None,
            "account": trunk.account if trunk is not None else None,
            "profile": trunk.profile if trunk is not None else None,
            "provider": providers[0].name if providers else None,
            "source": attempt.source,
            "transport": attempt.transport,
            "cli": attempt.cli,
            "dialled": attempt.user,
            "called": verdict.called,
            "country": verdict.country,
            "destination": verdict.destination,
            "decision": "admitted" if reason is None else "refused",
            "reason": None if reason is None else reason.value,
            "checks": [
                {"name": check.name, "scope": check.scope, "outcome": check.outcome, "detail": check.detail}
                for check in (*verdict.checks, *ledger_checks)
            ],
            "policy_version": policy_version,
            "decided_at": iso(at),
            "answered_at": None,
            "ended_at": None,
            "duration_ms": None,
            "billed_seconds": None,
            "rate": None if verdict.rate is None else verdict.rate.per_minute_text,
            "cost": None,
            "currency": self.currency,
            "sip_status": None,
            "ended_by": None,
        }


def _line(fields: dict[str, object]) -> bytes:
    return _encode(fields).translate(_DEL).encode("ascii")
