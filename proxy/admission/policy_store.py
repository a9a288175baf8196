"""PolicyStore: the policy in force. A reload puts another one in its place, all at once."""

from __future__ import annotations

from policy.attempt import CallAttempt
from policy.compiled import Policy
from policy.evaluate import evaluate
from policy.reasons import ReasonCode, Refusal
from policy.verdict import Verdict


class PolicyStore:
    """One snapshot at a time: whoever judges a call takes `policy` once and keeps to it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def replace(self, policy: Policy) -> None:
        """Put another policy in force, from the next call on."""
        self.policy = policy

    def judge(self, attempt: CallAttempt) -> Verdict:
        """The verdict of the policy in force: pure and total."""
        return evaluate(self.policy, attempt)

    def knows(self, source: str) -> bool:
        """Whether the address belongs to any trunk."""
        return bool(self.policy.candidates(source))

    def refusal(self, reason: ReasonCode) -> Refusal:
        """What a caller is told for `reason`."""
        return self.policy.refusals[reason]
