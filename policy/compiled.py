"""The compiled policy: plain tables that judge a call without parsing, validating or allocating.

`policy.compile` makes these from the configuration model; `policy.evaluate` reads them; nothing changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from policy.cidr_table import CidrTable
from policy.numbering.dial_plan import DialPlan
from policy.prefix_table import PrefixRules
from policy.rating.deck import RateTable
from policy.reasons import ReasonCode, Refusal


class Window(StrEnum):
    """How a spend threshold looks back."""

    ROLLING_24H = "rolling_24h"
    UTC_DAY = "utc_day"


class OnThreshold(StrEnum):
    CUT_OFF = "cut_off"
    FINISH = "finish"


class OnLedgerUnavailable(StrEnum):
    REJECT = "reject"
    ADMIT = "admit"


@dataclass(frozen=True, slots=True)
class Scope:
    """One place where limits are counted. `id` is `kind:name` and names the scope's keys in the ledger.

    Limits of None are unlimited. `threshold` is in micro-units of the accounting currency.
    """

    id: str
    kind: str
    name: str
    capacity_limit: int | None = None
    cps_limit: int | None = None
    threshold: int | None = None
    window: Window = Window.ROLLING_24H


@dataclass(frozen=True, slots=True)
class Provider:
    """The far end of a forced route."""

    name: str
    host: str
    port: int | None
    transport: str
    tech_prefix: str
    tech_postfix: str
    tech_headers: tuple[tuple[str, str], ...]
    strip_plus: bool
    active: bool
    networks: CidrTable[bool] | None
    scope: Scope

    def request_uri(self, called: str) -> str:
        """The Request-URI of a call to the canonical number `called`: prefix, number, postfix, at this provider."""
        number = called[1:] if self.strip_plus and called.startswith("+") else called
        host = f"[{self.host}]" if ":" in self.host else self.host
        authority = host if self.port is None else f"{host}:{self.port}"
        return f"sip:{self.tech_prefix}{number}{self.tech_postfix}@{authority}"


@dataclass(frozen=True, slots=True)
class CountryRule:
    """The countries that one scope allows, as upper-case ISO 3166 alpha-2."""

    scope_id: str
    countries: frozenset[str]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The highest price that one scope allows, in the accounting currency: `per_minute_nano` are 10^-9 units a minute."""

    scope_id: str
    per_minute_nano: int


@dataclass(frozen=True, slots=True)
class Trunk:
    """A customer's connection, with everything that judges its calls folded in.

    `disabled_by` names what switches it off (`trunk:x is blocked`, `profile:y is disabled`, a restricting field that is
    not enforced), or is None. `scopes` are account, profile, trunk and, when it has a forced provider, provider, in that
    order: the claim of a call. `needs_rate` says that a spend or rate limit is set somewhere.
    """

    name: str
    account: str | None
    profile: str | None
    disabled_by: str | None
    provider: Provider | None
    networks: CidrTable[bool]
    tech_prefix: str | None
    dial_plan: DialPlan
    country_rules: tuple[CountryRule, ...]
    prefix_rules: PrefixRules
    rate_limits: tuple[RateLimit, ...]
    rates: RateTable | None
    needs_rate: bool
    scopes: tuple[Scope, ...]
    trust_identity: bool
    on_threshold: OnThreshold
    reserve_seconds: int
    max_call_seconds: int
    call_probe_seconds: int
    on_ledger_unavailable: OnLedgerUnavailable
    local_capacity_limit: int | None

    @property
    def scope(self) -> Scope:
        """The trunk's own scope."""
        return next(scope for scope in self.scopes if scope.kind == "trunk")


@dataclass(frozen=True, slots=True)
class Policy:
    """One compiled configuration. `version` is a digest of what it was compiled from."""

    version: str
    loaded_at: datetime
    currency: str
    trunks: Mapping[str, Trunk]
    providers: Mapping[str, Provider]
    sources: CidrTable[tuple[Trunk, ...]]
    emergency_numbers: frozenset[str]
    emergency_providers: tuple[Provider, ...]
    refusals: Mapping[ReasonCode, Refusal]
    _source_cache: dict[str, tuple[Trunk, ...]] = field(default_factory=dict)

    def candidates(self, source: str) -> tuple[Trunk, ...]:
        """The trunks of the most specific network that holds `source`; empty for an unknown or malformed address.

        Known sources are remembered by their text, so that the hot path pays one dict lookup; strangers are not, so
        that they cannot fill the cache.
        """
        found = self._source_cache.get(source)
        if found is None:
            found = self.sources.lookup(source) or ()
            if found and len(self._source_cache) < 4096:
                self._source_cache[source] = found
        return found
