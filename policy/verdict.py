"""Verdict: the policy's answer to a CallAttempt, with its trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from policy.reasons import ReasonCode

if TYPE_CHECKING:
    from policy.attempts import Tries
    from policy.cli import Caller
    from policy.compiled import Provider, Trunk
    from policy.rating.rate import Rate

PASS: Final = "pass"
REFUSE: Final = "refuse"
SKIP: Final = "skip"


class Check(NamedTuple):
    """One step of a judgement.

    name: `source`, `number`, `emergency`, `gate`, `status`, `country`, `prefix`, `kind`, `high_risk`, `cli`,
        `rate`, `margin`, `window`, `velocity`, `route`, and of the ledger `auth`, `window`, `velocity`,
        `cps`, `capacity`, `spend`.
    scope: what was asked, such as `trunk:office-pbx` or `profile:office`; empty for the instance itself.
    outcome: `pass`, `refuse` or `skip`.
    detail: the rule that decided, in words for an operator; never sent to the caller.
    """

    name: str
    scope: str
    outcome: str
    detail: str


@dataclass(slots=True)
class Verdict:
    """`reason` is None when the policy lets the call pass; the ledger may still refuse it.

    `checks` end with the one that decided. `trunk` is None for an unknown source, and for a number that
    carries none of the technical prefixes by which several trunks of one network are told apart. `providers`
    is the
    target set in the order in which it is tried: one forced provider, or those configured for emergency
    calls. `called` is canonical E.164 with its plus, or the bare emergency number. `country` is upper-case
    ISO 3166 alpha-2; None where no country can be told. `destination` is the rate deck's name for what is
    called. `rate` is what the call is sold for, `buying` what the provider charges. `kinds` is empty for
    an ordinary number, and where no scope denies any kind.
    `cli` is what the far end is told of the caller; None: whatever the caller says.
    `tries` is what the ledger is to count of the attempt beside its scopes.
    """

    reason: ReasonCode | None
    checks: list[Check]
    trunk: Trunk | None = None
    providers: tuple[Provider, ...] = ()
    called: str | None = None
    country: str | None = None
    destination: str | None = None
    rate: Rate | None = None
    buying: Rate | None = None
    emergency: bool = False
    kinds: frozenset[str] = frozenset()
    cli: Caller | None = None
    tries: Tries | None = None
