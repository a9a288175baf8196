"""What becomes of thresholds on how often somebody is called: what the operator is told of those that were
passed, and what `explain` shows of what is counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from policy.attempts import KINDS, Tries
from policy.reasons import ReasonCode
from policy.verdict import PASS, REFUSE, Check
from proxy.ledger.ledger import Refused, Reservation, TryCounts
from proxy.observe.logs import Sampler
from proxy.observe.metrics import Metrics

_log = logging.getLogger(__name__)

VELOCITY_PASSED = "velocity.threshold_passed"


class VelocityEvents:
    """Counts, and says in the log, what passed a threshold: a few lines each ten seconds for each trunk and
    kind, however many calls there are."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._sampler = Sampler()

    def tell(self, trunk: str, answer: Reservation | Refused, now: float) -> tuple[Check, ...]:
        """The checks for the call's record: soft thresholds that it passed. `now` is monotonic."""
        for noted in answer.noted:
            self._tell(trunk, noted.kind, noted.scope_id, f"more than soft {noted.threshold}", now)
        if isinstance(answer, Refused) and answer.kind:
            self._tell(trunk, answer.kind, answer.scope_id, f"refused: {answer.detail}", now)
        return tuple(
            Check("velocity", noted.scope_id, PASS, f"{noted.kind}: more than soft {noted.threshold}")
            for noted in answer.noted
        )

    def _tell(self, trunk: str, kind: str, scope_id: str, what: str, now: float) -> None:
        self._metrics.velocity_event(trunk, kind)
        facts: dict[str, str | None] = {"kind": kind, "scope": scope_id, "what": what}
        self._metrics.happenings.note(VELOCITY_PASSED, trunk, facts)
        kept_back = self._sampler.admit(f"{trunk} {kind}", now)
        if kept_back is not None:
            _log.warning(
                "a velocity threshold was passed",
                extra={"scope": scope_id, "kind": kind, "what": what, "kept_back": kept_back},
            )


def check_name(kind: str) -> str:
    """Which check of a record tells of `kind`: that of the calling window, or that of velocity."""
    return "velocity" if kind in KINDS else "window"


def counted(tries: Tries, counts: TryCounts) -> Iterator[tuple[ReasonCode | None, Check]]:
    """What an attempt would meet now, as the ledger itself judges it; WINDOW with what would refuse it."""
    if tries.velocity is not None:
        so_far = (counts.callee, counts.callees, counts.run)
        for kind, threshold, count in zip(KINDS, tries.velocity.thresholds, so_far, strict=True):
            if threshold.text:
                refused = threshold.hard is not None and count > threshold.hard
                detail = f"{kind}: {count} with this call; {threshold.text}"
                yield _judged("velocity", tries.scope_id, refused, detail)
    for window, count in zip(tries.windows, counts.in_windows, strict=True):
        detail = f"calls_per_cld: {count} with this call, of {window.limit}"
        yield _judged("window", window.scope_id, count > window.limit, detail)


def _judged(name: str, scope_id: str, refused: bool, detail: str) -> tuple[ReasonCode | None, Check]:
    check = Check(name, scope_id, REFUSE if refused else PASS, detail)
    return ReasonCode.WINDOW if refused else None, check
