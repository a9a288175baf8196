"""evaluate: judge one call attempt by one compiled policy."""

from __future__ import annotations

from policy.attempt import CallAttempt
from policy.compiled import Policy
from policy.verdict import Verdict


def evaluate(policy: Policy, attempt: CallAttempt) -> Verdict:
    """The verdict on `attempt`: total (never raises, whatever the text), traced, and without side effects."""
    raise NotImplementedError
