"""The compiled policy: plain tables that judge a call without parsing, validating or allocating.

`policy.compile` makes these from the configuration model; `policy.evaluate` reads them; nothing changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from policy.attempts import CallingWindow, VelocityRules
from policy.cidr_table import CidrTable
from policy.cli import CliFormat, CliRules
from policy.destinations import Destinations
from policy.digest import Login
from policy.numbering.dial_plan import DialPlan
from policy.numbering.high_risk import HighRisk
from policy.prefix_table import PrefixRules
from policy.rating.deck import RateTable
from policy.reasons import ReasonCode, Refusal
from policy.verdict import Check

# unreserved and user-unreserved of RFC 3261 §25.1, without "%": what may stand in a user part as it is.
_USER_CHARACTERS = frozenset(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.!~*'()&=+$,;?/"
)


class Window(StrEnum):
    """How a spend threshold looks back."""

    ROLLING_24H = "rolling_24h"
    UTC_DAY = "utc_day"


class OnThreshold(StrEnum):
    """What happens to live calls when the money ends: they end with it, or only new ones are refused."""

    CUT_OFF = "cut_off"
    FINISH = "finish"


class OnLedgerUnavailable(StrEnum):
    """What becomes of a new call while the ledger does not answer."""

    REJECT = "reject"
    ADMIT = "admit"


@dataclass(frozen=True, slots=True)
class Scope:
    """One place where limits are counted. `id` is `kind:name` and names the scope's keys in the ledger.

    Limits of None are unlimited. `threshold` is in micro-units of the accounting currency. `shard` names the
    part of the ledger in which it is counted; empty where the ledger has no parts.
    """

    id: str
    kind: str
    name: str
    capacity_limit: int | None = None
    cps_limit: int | None = None
    threshold: int | None = None
    window: Window = Window.ROLLING_24H
    shard: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """The far end of a forced route. `host` is a name or an address, IPv6 without brackets. `trusted`: of the
    trust domain of RFC 3325. `never`: international numbers that it would be sent as emergency numbers.
    `cli_format`: how it wants callers' numbers written; None: as they come. `login` answers its challenges;
    `register_seconds`: how long a registration there lasts, 0: it wants none."""

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
    trusted: bool = field(default=True, kw_only=True)
    never: frozenset[str] = field(default=frozenset(), kw_only=True)
    cli_format: CliFormat | None = field(default=None, kw_only=True)
    login: Login | None = field(default=None, kw_only=True)
    register_seconds: int = field(default=0, kw_only=True)
    _before: str = field(init=False, repr=False, compare=False)
    _after: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        authority = host if self.port is None else f"{host}:{self.port}"
        object.__setattr__(self, "_before", "sip:" + _escaped(self.tech_prefix))
        object.__setattr__(self, "_after", f"{_escaped(self.tech_postfix)}@{authority}")

    def request_uri(self, called: str) -> str:
        """The Request-URI of a call to the canonical number `called`: prefix, number, postfix, this host.

        A URN (RFC 5031) stays as it is: it is the next hop's to resolve.
        """
        if called.startswith("urn:"):
            return called
        number = called[1:] if self.strip_plus and called.startswith("+") else called
        return f"{self._before}{number}{self._after}"


def _escaped(text: str) -> str:
    return "".join(char if char in _USER_CHARACTERS else f"%{ord(char):02X}" for char in text)


@dataclass(frozen=True, slots=True)
class CountryRule:
    """The countries that one scope allows, as upper-case ISO 3166 alpha-2, each with the check that says
    so."""

    scope_id: str
    passes: Mapping[str, Check]

    @property
    def countries(self) -> frozenset[str]:
        return frozenset(self.passes)


@dataclass(frozen=True, slots=True)
class KindRule:
    """The kinds of numbers that one scope denies. `passed` is the check of a number that is of none of them.
    `spared`: calling codes (`+870`) that it does not judge; `meant`: digits of allowing prefix rules that can
    only mean these kinds, so that what one of them lets pass is not judged either."""

    scope_id: str
    denied: frozenset[str]
    passed: Check
    spared: frozenset[str] = frozenset()
    meant: frozenset[str | None] = frozenset()


@dataclass(frozen=True, slots=True)
class HighRiskRule:
    """The ranges known for fraud that one scope denies. `passed` is the check of a number in none of them."""

    scope_id: str
    ranges: HighRisk
    passed: Check


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The highest price that one scope allows: `per_minute_nano` are 10^-9 units of the accounting currency a
    minute; `passed` is the check of a price that keeps to it."""

    scope_id: str
    per_minute_nano: int
    passed: Check


@dataclass(frozen=True, slots=True)
class Trunk:
    """A customer's connection, with everything that judges its calls folded in.

    status: the check of its own, its account's and its profile's status, and of restricting fields that are
        not enforced; its outcome refuses when one of them switches the trunk off.
    provider: the forced provider, also when it is blocked; None: there is none, and calls have no route.
    allow_non_geographic: calling codes without a country (`+870`) that may be called.
    country_rules: one for each scope that has a whitelist. rate_limits: one for each scope that has a highest
        price. needs_rate: a spend or rate limit is set somewhere, so that a call without a rate is refused.
    buying: what the provider charges. margin_nano: by how much a minute's price must be above that, in 10^-9
        units of the accounting currency.
    scopes: account, profile, trunk and, when it has a provider, provider, in that order: those of every call.
    kind_rules: one for each scope that denies kinds of numbers. high_risk_rules: one for each that denies
        ranges known for fraud.
    prefix_checks: the check of every rule of `prefix_rules`, by its digits; None for the default action.
    route: the check of the provider.
    cli: what callers may be called; None: nothing is judged, changed or vouched for.
    login: the user name that its callers prove; None: none is asked for.
    windows: calling windows of profile and trunk; a call needs all of them.
    velocity, destinations: None where the trunk has none.
    """

    name: str
    account: str | None
    profile: str | None
    status: Check
    provider: Provider | None
    networks: CidrTable[bool]
    tech_prefix: str | None
    dial_plan: DialPlan
    country_rules: tuple[CountryRule, ...]
    allow_non_geographic: frozenset[str]
    prefix_rules: PrefixRules
    prefix_checks: Mapping[str | None, Check]
    kind_rules: tuple[KindRule, ...]
    high_risk_rules: tuple[HighRiskRule, ...]
    rate_limits: tuple[RateLimit, ...]
    rates: RateTable | None
    buying: RateTable | None
    margin_nano: int | None
    needs_rate: bool
    scope: Scope
    scopes: tuple[Scope, ...]
    route: Check
    trust_identity: bool
    on_threshold: OnThreshold
    reserve_seconds: int
    max_call_seconds: int
    call_probe_seconds: int
    on_ledger_unavailable: OnLedgerUnavailable
    local_capacity_limit: int | None
    cli: CliRules | None = None
    login: str | None = field(default=None, kw_only=True)
    windows: tuple[CallingWindow, ...] = field(default=(), kw_only=True)
    velocity: VelocityRules | None = field(default=None, kw_only=True)
    destinations: Destinations | None = field(default=None, kw_only=True)

    def scopes_of(self, called: str | None, country: str | None) -> tuple[Scope, ...]:
        """The scopes of a call to the canonical number `called` in `country`: what is claimed for it."""
        if self.destinations is None or called is None:
            return self.scopes
        return self.destinations.scopes_of(called, country)

    @property
    def all_scopes(self) -> tuple[Scope, ...]:
        """Every scope that a call of the trunk can have."""
        if self.destinations is None:
            return self.scopes
        return (*self.scopes, *(limit.scope for limit in self.destinations.limits))

    @property
    def disabled_by(self) -> str | None:
        """What switches the trunk off, such as `trunk:x is blocked`; None: nothing does."""
        return self.status.detail if self.status.outcome == "refuse" else None


@dataclass(frozen=True, slots=True)
class SourceMatch:
    """The trunks of one network, those with the longest tech_prefix first, the one without any last.

    `passed` are the checks of their source, in the same order. `by_login` holds for each user name the
    trunks of its own; who has not proved one, and would be of such a trunk, is asked to if `challenges`.
    """

    network: str
    trunks: tuple[Trunk, ...]
    passed: tuple[Check, ...]
    by_login: Mapping[str, SourceMatch] = field(default_factory=dict)
    challenges: bool = False


_CACHED_SOURCES = 4096


@dataclass(frozen=True, slots=True)
class Policy:
    """One compiled configuration. `version` is a digest of what it was compiled from.

    emergency_called: what is called for `urn:service:sos`: the first configured number. emergency_providers:
    in configured order, blocked ones last. realm, algorithms: of the challenges to callers; logins: who may
    answer them, by user name. roaming: the trunks without addresses of their own, by user name.

    """

    version: str
    loaded_at: datetime
    currency: str
    trunks: Mapping[str, Trunk]
    providers: Mapping[str, Provider]
    sources: CidrTable[SourceMatch]
    emergency_numbers: frozenset[str]
    emergency_called: str | None
    emergency_providers: tuple[Provider, ...]
    refusals: Mapping[ReasonCode, Refusal]
    decks: Mapping[str, RateTable] = field(default_factory=dict)
    realm: str = "trunkwarden"
    algorithms: tuple[str, ...] = ()
    logins: Mapping[str, Login] = field(default_factory=dict, repr=False)
    roaming: Mapping[str, SourceMatch] = field(default_factory=dict)
    _source_cache: dict[str, SourceMatch] = field(default_factory=dict, repr=False, compare=False)

    def prices_at(self, now: datetime, most: int) -> bool:
        """Bring the prices into force that decks have dated, at most `most` of each deck; whether some are
        left to do. Costs next to nothing when none has to change."""
        left = False
        for deck in self.decks.values():
            if deck.switches_at is not None and deck.switches_at <= now:
                deck.prices_at(now, most)
                left = left or (deck.switches_at is not None and deck.switches_at <= now)
        return left

    def match_source(self, source: str) -> SourceMatch | None:
        """The most specific network that holds `source`; None for an unknown or malformed address.

        Known sources are remembered by their text, so that the hot path pays one dict lookup; strangers are
        not, so that they cannot fill the cache.
        """
        found = self._source_cache.get(source)
        if found is None:
            found = self.sources.lookup(source)
            if found is not None and len(self._source_cache) < _CACHED_SOURCES:
                self._source_cache[source] = found
        return found

    def match_login(self, source: SourceMatch | None, username: str) -> SourceMatch | None:
        """The trunks of a user name that was proved: those of the source's network, else those of any
        address."""
        own = None if source is None else source.by_login.get(username)
        return self.roaming.get(username) if own is None else own

    def candidates(self, source: str) -> tuple[Trunk, ...]:
        """The trunks of the most specific network that holds `source`; empty for an unknown or malformed
        address."""
        found = self.match_source(source)
        return () if found is None else found.trunks
