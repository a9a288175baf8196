"""DecisionLog: one record of each decision, and one of each admitted call when it ends.

A record is one JSON object on one line of printable ASCII, with the same fields in both kinds; what is not
known yet is null. The text is put together from encoded parts: a record is written for every call, and a
general encoder would cost more than the judgement that it tells of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii as quote

from policy.rating.money import amount
from policy.reasons import ReasonCode
from policy.verdict import Check
from proxy.call.session import CallSession
from proxy.observe.clock import iso_ms

Sink = Callable[[str, list[bytes]], None]

_MOST_CHECKS = 4096


class DecisionLog:
    """Collects lines and hands them to the sinks when `flush` is called. `sinks` get a stream's name,
    `decisions` or `calls`, and its lines."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.sinks: list[Sink] = []
        self._decisions: list[bytes] = []
        self._calls: list[bytes] = []
        self._checks: dict[Check, str] = {}

    def decided(
        self,
        session: CallSession,
        policy_version: str,
        reason: ReasonCode | None,
        ledger_checks: tuple[Check, ...],
        at_ms: int,
        sip_status: int | None,
    ) -> None:
        """The call was admitted (`reason` is None) or refused with `sip_status`, at the wall time `at_ms`."""
        caller, judged = self._facts(session, policy_version, reason, ledger_checks, at_ms)
        providers = session.verdict.providers
        provider = _text(providers[0].name if providers else None)
        status = "null" if sip_status is None else sip_status
        line = (
            f'{{"record":"decision",{caller},"provider":{provider},{judged},"answered_at":null,"ended_at":null,'
            f'"duration_ms":null,"billed_seconds":null,"cost":null,"sip_status":{status},"ended_by":null}}'
        )
        self._decisions.append(line.encode("ascii"))
        session.record = (caller, judged)
        session.verdict.checks = []  # a live call need not hold them twice

    def ended(self, session: CallSession, cost: int, at_ms: int, now: float) -> None:
        """An admitted call is over and cost `cost` micro-units. `at_ms` is the wall time of the monotonic
        moment `now`; durations are monotonic."""
        if session.record is None:
            return
        caller, judged = session.record
        session.record = None
        finish = session.ended_at if session.ended_at is not None else now
        end_ms = at_ms - round((now - finish) * 1000)
        answered, duration, billed = "null", 0, 0
        buying, bought = session.verdict.buying, 0
        if session.answered_at is not None:
            duration = round((finish - session.answered_at) * 1000)
            answered = f'"{iso_ms(end_ms - duration)}"'
            rate = session.verdict.rate
            billed = 0 if rate is None or rate.spares(duration) else rate.billed_seconds(duration)
            if buying is not None:
                bought = buying.cost(duration)
        charged = "" if buying is None else f',"provider_cost":"{amount(bought)}"'
        provider = _text(session.provider.name if session.provider is not None else None)
        line = (
            f'{{"record":"call",{caller},"provider":{provider},{judged},"answered_at":{answered},'
            f'"ended_at":"{iso_ms(end_ms)}","duration_ms":{duration},"billed_seconds":{billed},'
            f'"cost":"{amount(cost)}"{charged},"sip_status":{session.final_status or "null"},'
            f'"ended_by":"{session.ended_by}"}}'
        )
        self._calls.append(line.encode("ascii"))

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
        at_ms: int,
    ) -> tuple[str, str]:
        """What stays the same in both records: before the provider, and after it."""
        verdict = session.verdict
        attempt = session.attempt
        trunk = verdict.trunk
        rate = verdict.rate
        if trunk is None:
            names = '"trunk":null,"account":null,"profile":null'
        else:
            account, profile = _text(trunk.account), _text(trunk.profile)
            names = f'"trunk":{quote(trunk.name)},"account":{account},"profile":{profile}'
        caller = f'"call_id":{quote(session.request.call_id.decode("latin-1"))},"ref":"{session.ref}",{names}'
        outcome = (
            '"decision":"admitted","reason":null'
            if reason is None
            else f'"decision":"refused","reason":"{reason.value}"'
        )
        checks = self._encoded((*verdict.checks, *ledger_checks))
        judged = (
            f'"source":{quote(attempt.source)},"transport":"{attempt.transport}","cli":{quote(attempt.cli)},'
            f'"cli_sent":{_text(_sent(session))},"dialled":{quote(attempt.user)},"called":{_text(verdict.called)},'
            f'"country":{_text(verdict.country)},"destination":{_text(verdict.destination)},{outcome},'
            f'"checks":[{checks}],'
        )
        return caller, (
            f'{judged}"policy_version":{quote(policy_version)},"decided_at":"{iso_ms(at_ms)}",'
            f'"rate":{_text(None if rate is None else rate.per_minute_text)},"currency":"{self.currency}"'
        )

    def _encoded(self, checks: Iterable[Check]) -> str:
        """The checks as JSON objects. Most of them are the same few for every call of a trunk, and
        remembered."""
        known = self._checks
        texts = []
        for check in checks:
            text = known.get(check)
            if text is None:
                text = (
                    f'{{"name":{quote(check.name)},"scope":{quote(check.scope)},'
                    f'"outcome":{quote(check.outcome)},"detail":{quote(check.detail)}}}'
                )
                if len(known) >= _MOST_CHECKS:
                    known.clear()
                known[check] = text
            texts.append(text)
        return ",".join(texts)


def _sent(session: CallSession) -> str | None:
    """The number that the far end is told in place of the caller's; None: what the caller said."""
    cli = session.verdict.cli
    return cli.told(session.ref) if cli is not None and cli.replaced else None


def _text(value: str | None) -> str:
    return "null" if value is None else quote(value)
