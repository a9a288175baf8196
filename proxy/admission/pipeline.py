"""AdmissionPipeline: from a verdict that lets a call pass to a reservation, or to the reason why there is
none."""

from __future__ import annotations

import logging
from collections.abc import Callable

from policy.compiled import OnLedgerUnavailable, Trunk
from policy.reasons import ReasonCode
from policy.verdict import Check
from proxy.admission.account import first_block, least_block
from proxy.admission.accounting import Accounting
from proxy.admission.decision_log import DecisionLog
from proxy.admission.description import description
from proxy.admission.policy_store import PolicyStore
from proxy.admission.velocity import VelocityEvents, check_name
from proxy.call.session import CallSession
from proxy.ledger.ledger import Claim, Ledger, LedgerUnavailable, Refused, Reservation
from proxy.observe.metrics import Metrics

_log = logging.getLogger(__name__)

WHITELIST_REJECTED = "call.outbound_whitelist_rejected"

_RESERVED = (Check("ledger", "", "pass", "reserved at all scopes"),)
_NO_LEDGER = (Check("ledger", "", "pass", "ledger unavailable: admitted within the local capacity"),)
_NO_ADDRESS = (Check("route", "", "refuse", "no provider has an address that can be used now"),)
_WHITELIST = (ReasonCode.COUNTRY, ReasonCode.COUNTRY_UNKNOWN)
_EMERGENCY = (Check("ledger", "", "skip", "an emergency call waits for no ledger"),)


class AdmissionPipeline:
    """Reserves, and records every decision. `clock` gives the wall time of records, `monotonic` that of
    durations."""

    def __init__(
        self,
        store: PolicyStore,
        ledger: Ledger,
        accounting: Accounting,
        log: DecisionLog,
        metrics: Metrics,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._accounting = accounting
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._events = VelocityEvents(metrics)

    def reserve(self, session: CallSession, done: Callable[[CallSession, ReasonCode | None], None]) -> None:
        """Ask the ledger once, then tell `done`: None is an admitted call, which holds its first block."""
        verdict = session.verdict
        trunk = verdict.trunk
        if trunk is None:  # the policy admits no call without a trunk
            done(session, ReasonCode.SOURCE)
            return
        hold, seconds = first_block(trunk, verdict.rate)

        def answered(answer: Reservation | Refused | LedgerUnavailable) -> None:
            try:
                reason = self._judged(session, trunk, hold, seconds, answer)
            except Exception:
                # The ledger's connection, on which this runs, is not to blame; nobody else answers the
                # caller.
                _log.exception("call %s could not be decided", session.ref)
                self._accounting.ended(session)
                self._ledger.release(session.ref)
                reason = ReasonCode.LEDGER
            done(session, reason)

        try:
            least, _ = least_block(trunk, verdict.rate)
            scopes = trunk.scopes_of(verdict.called, verdict.country)
            record = description(session)
            claim = Claim(session.ref, trunk.name, scopes, hold, record, session.use, least, verdict.tries)
            self._ledger.ask(claim, answered)
        except ValueError as error:  # an amount that no ledger can keep, whatever the mode
            self._decided(session, ReasonCode.LEDGER, (Check("ledger", "", "refuse", str(error)),))
            done(session, ReasonCode.LEDGER)

    def _judged(
        self,
        session: CallSession,
        trunk: Trunk,
        hold: int,
        seconds: float,
        answer: Reservation | Refused | LedgerUnavailable,
    ) -> ReasonCode | None:
        if isinstance(answer, Reservation):
            if answer.hold < hold:  # money is short: one increment, and from there on one after the other
                hold, seconds = least_block(trunk, session.verdict.rate)
            noted = self._events.tell(trunk.name, answer, self._monotonic()) if answer.noted else ()
            self._admit(session, hold, seconds, True, (*noted, *_RESERVED) if noted else _RESERVED)
            return None
        if isinstance(answer, Refused):
            name = check_name(answer.kind) if answer.kind else answer.reason.value.lower()
            noted = self._events.tell(trunk.name, answer, self._monotonic())
            check = Check(name, answer.scope_id, "refuse", answer.detail)
            if answer.reason is ReasonCode.SPEND and answer.scope_id == trunk.scope.id:
                self._metrics.happenings.short(trunk.name, least_block(trunk, session.verdict.rate)[0])
            self._decided(session, answer.reason, (*noted, check))
            return answer.reason
        return self._without_ledger(session, trunk, hold, seconds, answer)

    def emergency(self, session: CallSession) -> None:
        """Admit at once: nothing of ours refuses an emergency call, and its cost stays out of every
        window."""
        trunk = session.verdict.trunk
        self._admit(session, 0, float(trunk.max_call_seconds if trunk else 0), False, _EMERGENCY)

    def refused(self, session: CallSession) -> None:
        """The call was refused before the ledger was asked: record it."""
        if session.record is None:
            routeless = session.reason is ReasonCode.ROUTE and session.verdict.reason is None
            self._decided(session, session.reason, _NO_ADDRESS if routeless else ())

    def _without_ledger(
        self, session: CallSession, trunk: Trunk, hold: int, seconds: float, error: LedgerUnavailable
    ) -> ReasonCode | None:
        if trunk.on_ledger_unavailable is OnLedgerUnavailable.ADMIT:
            room = trunk.local_capacity_limit or 0
            if self._accounting.uncounted.get(trunk.name, 0) < room:
                self._admit(session, hold, seconds, False, _NO_LEDGER)
                return None
        if error.sent:  # whether the claim was written is unknown; giving it back is right in either case
            self._ledger.release(session.ref)
        check = Check("ledger", "", "refuse", f"unavailable: {error.kind}")
        self._decided(session, ReasonCode.LEDGER, (check,))
        return ReasonCode.LEDGER

    def _admit(
        self, session: CallSession, hold: int, seconds: float, counted: bool, checks: tuple[Check, ...]
    ) -> None:
        now = self._monotonic()
        self._accounting.admitted(session, hold, seconds, counted, now)
        self._decided(session, None, checks)
        trunk = session.verdict.trunk
        self._metrics.call_started(trunk.name if trunk is not None else "")

    def _decided(self, session: CallSession, reason: ReasonCode | None, checks: tuple[Check, ...]) -> None:
        trunk = session.verdict.trunk
        self._metrics.admission_seconds.observe(self._monotonic() - session.received_at)
        self._metrics.decision(
            trunk.name if trunk is not None else None,
            "admitted" if reason is None else "refused",
            None if reason is None else reason.value,
        )
        if reason in _WHITELIST and trunk is not None:
            self._metrics.happenings.note(WHITELIST_REJECTED, trunk.name, _facts(session))
        policy = self._store.policy
        # Who was cancelled meanwhile has his answer already.
        status = None if reason is None else session.final_status or policy.refusals[reason].status
        self._log.decided(session, policy.version, reason, checks, self._clock(), status)


def _facts(session: CallSession) -> dict[str, str | None]:
    """Of a call that its countries refused, what whoever looks into it wants to know."""
    attempt, verdict = session.attempt, session.verdict
    return {
        "source": attempt.source,
        "cli": attempt.cli,
        "called": verdict.called,
        "country": verdict.country,
        "call_id": session.request.call_id.decode("latin-1"),
    }
