"""One trunk's configuration, with what its account, profile and provider add, as a compiled Trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Protocol, TypeVar

from config.model import (
    AccountConfig,
    Config,
    DialPlanConfig,
    ProfileConfig,
    TrunkConfig,
    unenforced_fields,
)
from policy.cidr_table import CidrTable, Network
from policy.cli import Vouching
from policy.compile_attempts import calling_windows, destinations, velocity_rules
from policy.compile_cli import CliCompiler
from policy.compile_emergency import dial_plan
from policy.compile_scopes import country_rules, high_risk_rules, kind_rules, rate_limits, scopes_of
from policy.compiled import OnLedgerUnavailable, OnThreshold, Provider, Trunk
from policy.prefix_table import PrefixRules
from policy.rating.compile_deck import nano
from policy.rating.deck import RateTable
from policy.verdict import PASS, REFUSE, Check

Finding = tuple[str, str]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


class TrunkCompiler:
    """Compiles the trunks of one configuration; what is wrong goes to `problems`."""

    def __init__(
        self,
        config: Config,
        decks: Mapping[str, RateTable],
        providers: Mapping[str, Provider],
        problems: list[Finding],
        vouching: Vouching | None = None,
    ) -> None:
        self._config = config
        self._decks = decks
        self._providers = providers
        self._accounts = {account.name: account for account in config.accounts}
        self._profiles = {profile.name: profile for profile in config.profiles}
        self._problems = problems
        self._cli = CliCompiler(config, vouching)

    def trunk(self, index: int) -> Trunk | None:
        """The trunk at `index` of the configuration; None when it has a problem."""
        config = self._config.trunks[index]
        path = f"trunks[{index}]"
        found_before = len(self._problems)
        account = self._named(self._accounts, config.account, f"{path}.account", "account")
        profile = self._named(self._profiles, config.profile, f"{path}.profile", "profile")
        deck = config.rate_deck or self._config.default_rate_deck
        rates = self._named(
            self._decks, deck, f"{path}.rate_deck" if config.rate_deck else "default_rate_deck", "rate deck"
        )
        where = f"{path}.provider" if config.provider else "default_provider"
        wanted = config.provider or self._config.default_provider
        provider = self._named(self._providers, wanted, where, "provider")
        buying = self._buying(config, wanted, path)
        self._check_sources(config, path)
        self._check_dial_plan(config.dial_plan, f"{path}.dial_plan")
        countries = country_rules(config, account, profile)
        if not countries and not config.allow_any_country:
            message = "no scope has a whitelist: list the countries, or say `allow_any_country: true`"
            self._problems.append((f"{path}.destination_whitelist", message))
        mode, local_capacity = self._ledger_mode(config, path)
        if len(self._problems) > found_before:
            return None
        limits = rate_limits(config, profile, self._config.currency)
        by_account = self._config.ledger.shard_by == "account"
        scopes = scopes_of(config, account, profile, provider, by_account=by_account)
        own = next(scope for scope in scopes if scope.kind == "trunk")
        prefix_rules = _prefix_rules(config)
        plan = dial_plan(config.dial_plan)
        return Trunk(
            name=config.name,
            account=config.account,
            profile=config.profile,
            status=self._status(config, account, profile),
            provider=provider,
            networks=CidrTable((network, True) for network in config.allowed_sip_ips),
            tech_prefix=config.tech_prefix or None,
            dial_plan=plan,
            country_rules=countries,
            allow_non_geographic=frozenset(config.allow_non_geographic),
            prefix_rules=prefix_rules,
            prefix_checks=_prefix_checks(prefix_rules, own.id),
            kind_rules=kind_rules(config, account, profile),
            high_risk_rules=high_risk_rules(config, account, profile),
            rate_limits=limits,
            rates=rates,
            buying=buying,
            margin_nano=None if config.refuse_below_margin is None else nano(config.refuse_below_margin),
            needs_rate=bool(limits) or any(scope.threshold is not None for scope in scopes),
            scope=own,
            scopes=scopes,
            route=_route(provider, own.id),
            trust_identity=config.trust_identity,
            on_threshold=OnThreshold(config.on_threshold),
            reserve_seconds=config.reserve_seconds,
            max_call_seconds=config.max_call_seconds,
            call_probe_seconds=config.call_probe_seconds,
            on_ledger_unavailable=mode,
            local_capacity_limit=local_capacity,
            cli=self._cli.rules(config, plan, wanted),
            login=None if config.auth == "ip" else config.username,
            windows=calling_windows(config, profile),
            velocity=velocity_rules(config),
            destinations=destinations(config, scopes),
        )

    def _named(self, known: Mapping[str, N], name: str | None, path: str, kind: str) -> N | None:
        if name is None:
            return None
        found = known.get(name)
        if found is None and (path, f"there is no {kind} `{name}`") not in self._problems:
            self._problems.append((path, f"there is no {kind} `{name}`"))
        return found

    def _buying(self, config: TrunkConfig, provider: str | None, path: str) -> RateTable | None:
        """The deck of the trunk's provider, which a margin cannot do without."""
        names = {section.name: section.rate_deck for section in self._config.providers}
        table = self._decks.get(names.get(provider or "") or "")
        sold_by = config.rate_deck or self._config.default_rate_deck
        if config.refuse_below_margin is not None and (table is None or sold_by is None):
            message = "needs a `rate_deck` of the trunk and one of its provider"
            self._problems.append((f"{path}.refuse_below_margin", message))
        return table

    def _check_sources(self, config: TrunkConfig, path: str) -> None:
        path = f"{path}.allowed_sip_ips"
        if not config.allowed_sip_ips and config.auth != "digest":
            self._problems.append((path, "names no address, so that no call could come"))
        if config.allow_any_source:
            return
        for network in _collapsed(config.allowed_sip_ips):
            if network.prefixlen == 0:
                message = f"covers every address ({network}): if that is meant, say `allow_any_source: true`"
                self._problems.append((path, message))

    def _check_dial_plan(self, plan: DialPlanConfig | None, path: str) -> None:
        if plan is None:
            return
        if "" in plan.international_prefixes:
            message = "an empty prefix reads every number as international: say `bare_e164: true` for that"
            self._problems.append((f"{path}.international_prefixes", message))
        for prefix in plan.national_prefixes:
            if prefix and prefix in plan.international_prefixes:
                message = f"`{prefix}` is an international prefix, too: it cannot mean both"
                self._problems.append((f"{path}.national_prefixes", message))
        if plan.national_prefixes and plan.country_code is None:
            self._problems.append((f"{path}.country_code", "national numbers need a country_code"))

    def _ledger_mode(self, config: TrunkConfig, path: str) -> tuple[OnLedgerUnavailable, int | None]:
        everywhere = self._config.ledger
        mode = OnLedgerUnavailable(config.on_ledger_unavailable or everywhere.on_unavailable)
        limit = config.local_capacity_limit
        if limit is None:
            limit = everywhere.local_capacity_limit
        if mode is OnLedgerUnavailable.ADMIT and limit is None:
            message = "`admit` needs a local_capacity_limit, here or at `ledger`"
            self._problems.append((f"{path}.on_ledger_unavailable", message))
        return mode, limit

    def _status(
        self, config: TrunkConfig, account: AccountConfig | None, profile: ProfileConfig | None
    ) -> Check:
        own = f"trunk:{config.name}"
        if config.status != "active":
            return Check("status", own, REFUSE, f"{own} is {config.status}")
        if account is not None and account.status != "active":
            scope = f"account:{account.name}"
            return Check("status", scope, REFUSE, f"{scope} is {account.status}")
        if profile is not None and not profile.enabled:
            scope = f"profile:{profile.name}"
            return Check("status", scope, REFUSE, f"{scope} is disabled")
        accepted = self._config.accept_unenforced
        fields = [name for name in unenforced_fields(config, account) if name not in accepted]
        if fields:
            return Check("status", own, REFUSE, f"{', '.join(fields)}: restricts, but is not enforced yet")
        return Check("status", own, PASS, "active")


def _collapsed(networks: Sequence[Network]) -> list[Network]:
    """`networks` with neighbours merged, so that two halves of everything show as everything."""
    if len(networks) < 2:
        return list(networks)
    v4 = collapse_addresses([network for network in networks if isinstance(network, IPv4Network)])
    v6 = collapse_addresses([network for network in networks if isinstance(network, IPv6Network)])
    return [*v4, *v6]


def _route(provider: Provider | None, own: str) -> Check:
    if provider is None:
        return Check("route", own, REFUSE, "no provider")
    if not provider.active:
        return Check("route", provider.scope.id, REFUSE, f"{provider.scope.id} is blocked")
    return Check("route", own, PASS, f"forced provider {provider.name}")


def _prefix_rules(trunk: TrunkConfig) -> PrefixRules:
    return PrefixRules(
        trunk.dst_prefixes.allow,
        trunk.dst_prefixes.deny,
        allow_by_default=trunk.default_dst_action == "allow_all",
    )


def _prefix_checks(rules: PrefixRules, own: str) -> dict[str | None, Check]:
    return {
        decision.prefix: Check("prefix", own, PASS if decision.allowed else REFUSE, decision.rule)
        for decision in rules.decisions()
    }
