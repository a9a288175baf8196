"""What the core needs others to be: who judges, and who can be woken."""

from __future__ import annotations

from typing import Protocol

from policy.attempt import CallAttempt
from policy.compiled import Policy
from policy.reasons import ReasonCode, Refusal
from policy.verdict import Verdict


class Judge(Protocol):
    """The policy in force, as the core needs it."""

    @property
    def policy(self) -> Policy:
        """The whole."""
        ...

    def judge(self, attempt: CallAttempt) -> Verdict:
        """Pure and total."""
        ...

    def knows(self, source: str) -> bool:
        """Whether the address belongs to any trunk."""
        ...

    def refusal(self, reason: ReasonCode) -> Refusal:
        """What a caller is told, with the operator's overrides."""
        ...


class Sleeper(Protocol):
    """Who can be woken."""

    wake_at: float

    def wake(self, now: float) -> float | None:
        """Act on what is due; when to be woken next, or None."""
        ...
