"""PrefixRules: allowed and denied destination prefixes, the longest match of both lists decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrefixDecision:
    """What the rules say of a number. `prefix` is the digits of the rule that decided; None: the default
    action did."""

    allowed: bool
    prefix: str | None

    @property
    def rule(self) -> str:
        """The deciding rule in words, such as `deny +1900` or `default_dst_action allow_all`."""
        if self.prefix is None:
            return f"default_dst_action {'allow_all' if self.allowed else 'reject_all'}"
        return f"{'allow' if self.allowed else 'deny'} +{self.prefix}"


class PrefixRules:
    """An immutable pair of allow and deny lists with a default.

    Prefixes and numbers are digits of an international number; one leading plus is ignored. A prefix that
    stands in both lists is denied. Numbers that no prefix matches follow `allow_by_default`.
    """

    __slots__ = ("_default", "_lengths", "_rules")

    def __init__(
        self, allow: Iterable[str] = (), deny: Iterable[str] = (), *, allow_by_default: bool = True
    ) -> None:
        rules: dict[str, PrefixDecision] = {}
        for allowed, prefixes in ((True, allow), (False, deny)):
            for prefix in prefixes:
                digits = prefix.removeprefix("+")
                if not (digits.isascii() and digits.isdigit()):
                    raise ValueError(f"not a number prefix: {prefix!r}")
                rules[digits] = PrefixDecision(allowed, digits)
        self._rules = rules
        self._lengths = tuple(sorted({len(prefix) for prefix in rules}, reverse=True))
        self._default = PrefixDecision(allow_by_default, None)

    def decide(self, number: str) -> PrefixDecision:
        """The decision on `number`. The same object for the same rule, so that callers may keep tables of
        them."""
        digits = number[1:] if number.startswith("+") else number
        rules = self._rules
        for length in self._lengths:
            decision = rules.get(digits[:length])
            if decision is not None:
                return decision
        return self._default

    def decisions(self) -> tuple[PrefixDecision, ...]:
        """Every decision that `decide` can return, the default last."""
        return (*self._rules.values(), self._default)
