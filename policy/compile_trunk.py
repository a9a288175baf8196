"""One trunk's configuration, with what its account, profile and provider add, as a compiled Trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from config.model import (
    AccountConfig,
    Config,
    DialPlanConfig,
    ProfileConfig,
    ProviderConfig,
    TrunkConfig,
    unenforced_fields,
)
from policy.cidr_table import CidrTable
from policy.compiled import (
    CountryRule,
    OnLedgerUnavailable,
    OnThreshold,
    Provider,
    RateLimit,
    Scope,
    Trunk,
    Window,
)
from policy.numbering.dial_plan import DialPlan
from policy.prefix_table import PrefixRules
from policy.rating.compile_deck import micro, nano
from policy.rating.deck import RateTable
from policy.verdict import PASS, REFUSE, Check

Finding = tuple[str, str]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def compile_provider(provider: ProviderConfig) -> Provider:
    """The far end that `provider` describes."""
    networks = None
    if provider.networks is not None:
        networks = CidrTable((network, True) for network in provider.networks)
    name = provider.name
    return Provider(
        name=name,
        host=provider.host,
        port=provider.port,
        transport=provider.transport,
        tech_prefix=provider.tech_prefix,
        tech_postfix=provider.tech_postfix,
        tech_headers=tuple(provider.tech_headers.items()),
        strip_plus=provider.strip_plus,
        active=provider.status == "active",
        networks=networks,
        scope=Scope(
            f"provider:{name}", "provider", name,
            capacity_limit=provider.capacity_limit, cps_limit=provider.cps_limit,
        ),
    )  # fmt: skip


class TrunkCompiler:
    """Compiles the trunks of one configuration; findings go to the two lists."""

    def __init__(
        self,
        config: Config,
        decks: Mapping[str, RateTable],
        providers: Mapping[str, Provider],
        problems: list[Finding],
        warnings: list[Finding],
    ) -> None:
        self._config = config
        self._decks = decks
        self._providers = providers
        self._accounts = {account.name: account for account in config.accounts}
        self._profiles = {profile.name: profile for profile in config.profiles}
        self._problems = problems
        self._warnings = warnings

    def trunk(self, index: int) -> Trunk | None:
        """The trunk at `index` of the configuration; None when a reference of it leads nowhere."""
        config = self._config.trunks[index]
        path = f"trunks[{index}]"
        found_before = len(self._problems)
        account = self._named(self._accounts, config.account, f"{path}.account", "account")
        profile = self._named(self._profiles, config.profile, f"{path}.profile", "profile")
        rates = self._named(self._decks, config.rate_deck, f"{path}.rate_deck", "rate deck")
        wanted = config.provider or self._config.default_provider
        where = f"{path}.provider" if config.provider else "default_provider"
        provider = self._named(self._providers, wanted, where, "provider")
        self._check_sources(config, path)
        self._check_dial_plan(config.dial_plan, f"{path}.dial_plan")
        country_rules = _country_rules(config, account, profile)
        if not country_rules and not config.allow_any_country:
            message = (
                "no scope has a whitelist: list the countries that may be called here, at the account or at the"
                " profile, or say `allow_any_country: true`"
            )
            self._problems.append((f"{path}.destination_whitelist", message))
        on_unavailable = config.on_ledger_unavailable or self._config.ledger.on_unavailable
        local_capacity = config.local_capacity_limit
        if local_capacity is None:
            local_capacity = self._config.ledger.local_capacity_limit
        if on_unavailable == "admit" and local_capacity is None:
            message = "`admit` needs a local_capacity_limit, here or at `ledger`"
            self._problems.append((f"{path}.on_ledger_unavailable", message))
        if len(self._problems) > found_before:
            return None
        rate_limits = _rate_limits(config, profile, self._config.currency)
        scopes = _scopes(config, account, profile, provider)
        needs_rate = bool(rate_limits) or any(scope.threshold is not None for scope in scopes)
        if needs_rate and rates is None:
            message = "a spend or rate limit is set, but no rate deck: every call is refused (NO_RATE)"
            self._warnings.append((f"{path}.rate_deck", message))
        prefix_rules = PrefixRules(
            config.dst_prefixes.allow,
            config.dst_prefixes.deny,
            allow_by_default=config.default_dst_action == "allow_all",
        )
        own = f"trunk:{config.name}"
        return Trunk(
            name=config.name,
            account=config.account,
            profile=config.profile,
            status=self._status(config, account, profile, path),
            provider=provider,
            networks=CidrTable((network, True) for network in config.allowed_sip_ips),
            tech_prefix=config.tech_prefix or None,
            dial_plan=_dial_plan(config.dial_plan),
            country_rules=country_rules,
            allow_non_geographic=frozenset(f"+{c.removeprefix('+')}" for c in config.allow_non_geographic),
            prefix_rules=prefix_rules,
            prefix_checks={
                decision.prefix: Check("prefix", own, PASS if decision.allowed else REFUSE, decision.rule)
                for decision in prefix_rules.decisions()
            },
            rate_limits=rate_limits,
            rates=rates,
            needs_rate=needs_rate,
            scope=next(scope for scope in scopes if scope.kind == "trunk"),
            scopes=scopes,
            route=self._route(provider, own, path),
            trust_identity=config.trust_identity,
            on_threshold=OnThreshold(config.on_threshold),
            reserve_seconds=config.reserve_seconds,
            max_call_seconds=config.max_call_seconds,
            call_probe_seconds=config.call_probe_seconds,
            on_ledger_unavailable=OnLedgerUnavailable(on_unavailable),
            local_capacity_limit=local_capacity,
        )

    def _named(self, known: Mapping[str, N], name: str | None, path: str, kind: str) -> N | None:
        if name is None:
            return None
        found = known.get(name)
        if found is None and (path, f"there is no {kind} `{name}`") not in self._problems:
            self._problems.append((path, f"there is no {kind} `{name}`"))
        return found

    def _check_sources(self, config: TrunkConfig, path: str) -> None:
        if not config.allowed_sip_ips:
            self._problems.append((f"{path}.allowed_sip_ips", "names no address, so that no call could come"))
        for index, network in enumerate(config.allowed_sip_ips):
            if network.prefixlen == 0 and not config.allow_any_source:
                message = f"{network} is every address: if that is meant, say `allow_any_source: true`"
                self._problems.append((f"{path}.allowed_sip_ips[{index}]", message))

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
            message = "national numbers need a country_code"
            self._problems.append((f"{path}.country_code", message))
        if plan.bare_e164 and "" in plan.national_prefixes:
            message = "bare digits are national and international at once: NUMBER, unless both are the same"
            self._warnings.append((f"{path}.bare_e164", message))

    def _status(
        self, config: TrunkConfig, account: AccountConfig | None, profile: ProfileConfig | None, path: str
    ) -> Check:
        own = f"trunk:{config.name}"
        unenforced = [
            name for name in unenforced_fields(config, account) if name not in self._config.accept_unenforced
        ]
        for name in unenforced:
            message = (
                "not enforced yet, so every call is refused (DISABLED) unless accept_unenforced lists it"
            )
            self._warnings.append((f"{path}.{name}", message))
        if config.status != "active":
            return Check("status", own, REFUSE, f"{own} is {config.status}")
        if account is not None and account.status != "active":
            scope = f"account:{account.name}"
            return Check("status", scope, REFUSE, f"{scope} is {account.status}")
        if profile is not None and not profile.enabled:
            scope = f"profile:{profile.name}"
            return Check("status", scope, REFUSE, f"{scope} is disabled")
        if unenforced:
            fields = ", ".join(unenforced)
            return Check(
                "status", own, REFUSE, f"{fields}: restricts and is not enforced (accept_unenforced)"
            )
        return Check("status", own, PASS, "active")

    def _route(self, provider: Provider | None, own: str, path: str) -> Check:
        if provider is None:
            message = "names no provider, and there is no default_provider: every call is refused (ROUTE)"
            self._warnings.append((f"{path}.provider", message))
            return Check("route", own, REFUSE, "no provider")
        if not provider.active:
            return Check("route", provider.scope.id, REFUSE, f"{provider.scope.id} is blocked")
        return Check("route", own, PASS, f"forced provider {provider.name}")


def _dial_plan(plan: DialPlanConfig | None) -> DialPlan:
    if plan is None:
        return DialPlan()
    return DialPlan(
        country_code=plan.country_code,
        international_prefixes=plan.international_prefixes,
        national_prefixes=plan.national_prefixes,
        bare_e164=plan.bare_e164,
    )


def _country_rules(
    trunk: TrunkConfig, account: AccountConfig | None, profile: ProfileConfig | None
) -> tuple[CountryRule, ...]:
    rules: list[CountryRule] = []
    for kind, section in (("account", account), ("profile", profile), ("trunk", trunk)):
        if section is not None and section.destination_whitelist is not None:
            scope = f"{kind}:{section.name}"
            rules.append(CountryRule(scope, _country_checks(scope, section.destination_whitelist)))
    return tuple(rules)


def _country_checks(scope: str, countries: Sequence[str]) -> dict[str, Check]:
    codes = [country.upper() for country in countries]
    return {code: Check("country", scope, PASS, f"{code} is in destination_whitelist") for code in codes}


def _rate_limits(trunk: TrunkConfig, profile: ProfileConfig | None, currency: str) -> tuple[RateLimit, ...]:
    limits: list[RateLimit] = []
    for kind, section in (("profile", profile), ("trunk", trunk)):
        if section is not None and section.max_destination_rate is not None:
            scope = f"{kind}:{section.name}"
            highest = section.max_destination_rate
            passed = Check("rate", scope, PASS, f"at most {highest} {currency} a minute")
            limits.append(RateLimit(scope, nano(highest), passed))
    return tuple(limits)


def _scopes(
    trunk: TrunkConfig,
    account: AccountConfig | None,
    profile: ProfileConfig | None,
    provider: Provider | None,
) -> tuple[Scope, ...]:
    scopes: list[Scope] = []
    if account is not None:
        threshold = account.threshold_amount
        scopes.append(
            Scope(
                f"account:{account.name}", "account", account.name, account.capacity_limit, account.cps_limit,
                None if threshold is None else micro(threshold), Window(account.threshold_window),
            )
        )  # fmt: skip
    if profile is not None:
        threshold = profile.daily_spend_limit if profile.daily_spend_limit_enabled else None
        scopes.append(
            Scope(
                f"profile:{profile.name}", "profile", profile.name, profile.concurrent_call_limit,
                profile.cps_limit, None if threshold is None else micro(threshold),
                Window(profile.threshold_window),
            )
        )  # fmt: skip
    threshold = trunk.threshold_amount
    scopes.append(
        Scope(
            f"trunk:{trunk.name}", "trunk", trunk.name, trunk.capacity_limit, trunk.cps_limit,
            None if threshold is None else micro(threshold), Window(trunk.threshold_window),
        )
    )  # fmt: skip
    if provider is not None:
        scopes.append(provider.scope)
    return tuple(scopes)
