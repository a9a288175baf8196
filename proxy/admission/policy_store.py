"""PolicyStore: the policy in force. A reload puts another one in its place, all at once."""

from __future__ import annotations

from collections.abc import Callable

from policy.attempt import CallAttempt
from policy.compiled import Policy
from policy.evaluate import evaluate
from policy.reasons import ReasonCode, Refusal
from policy.verdict import Verdict
from proxy.observe.clock import now_ms


class PolicyStore:
    """One snapshot at a time: whoever judges a call takes `policy` once and keeps to it."""

    def __init__(self, policy: Policy, clock: Callable[[], int] = now_ms) -> None:
        """`clock`: wall time in milliseconds."""
        self.policy = policy
        self._clock = clock

    def replace(self, policy: Policy) -> None:
        """Put another policy in force, from the next call on."""
        self.policy = policy

    def judge(self, attempt: CallAttempt) -> Verdict:
        """The verdict of the policy in force, now."""
        attempt.at_ms = self._clock()
        return evaluate(self.policy, attempt)

    def knows(self, source: str) -> bool:
        """Whether the address belongs to any trunk."""
        return bool(self.policy.candidates(source))

    def refusal(self, reason: ReasonCode) -> Refusal:
        """What a caller is told for `reason`."""
        return self.policy.refusals[reason]
