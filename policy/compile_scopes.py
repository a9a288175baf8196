"""What each scope adds to a trunk: countries, highest prices, and the limits that the ledger counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from decimal import Decimal

from config.model import AccountConfig, ProfileConfig, ProviderConfig, TrunkConfig
from policy.cidr_table import CidrTable
from policy.compile_cli import compile_cli_format
from policy.compile_emergency import never_sent
from policy.compile_logins import provider_login
from policy.compiled import CountryRule, HighRiskRule, KindRule, Provider, RateLimit, Scope, Window
from policy.numbering.high_risk import HighRisk
from policy.numbering.kind import wholly
from policy.rating.compile_deck import micro, nano
from policy.verdict import PASS, Check

_DENIED_UNLESS_SAID = ("premium", "satellite")


def compile_provider(
    provider: ProviderConfig, emergency: Collection[str], *, by_account: bool = False
) -> Provider:
    """The far end that `provider` describes. `emergency`: the emergency numbers as dialled; `by_account` as
    in `scopes_of`."""
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
        trusted=provider.trusted,
        cli_format=compile_cli_format(provider),
        login=provider_login(provider),
        register_seconds=provider.register_seconds,
        active=provider.status == "active",
        networks=networks,
        never=never_sent(provider, emergency),
        scope=Scope(
            f"provider:{name}", "provider", name,
            capacity_limit=provider.capacity_limit, cps_limit=provider.cps_limit,
            shard=f"provider:{name}" if by_account else "",
        ),
    )  # fmt: skip


def country_rules(
    trunk: TrunkConfig, account: AccountConfig | None, profile: ProfileConfig | None
) -> tuple[CountryRule, ...]:
    """The whitelists of account, profile and trunk, those that there are."""
    rules: list[CountryRule] = []
    for kind, section in (("account", account), ("profile", profile), ("trunk", trunk)):
        if section is not None and section.destination_whitelist is not None:
            scope = f"{kind}:{section.name}"
            rules.append(CountryRule(scope, _country_checks(scope, section.destination_whitelist)))
    return tuple(rules)


def _country_checks(scope: str, countries: Sequence[str]) -> dict[str, Check]:
    codes = [country.upper() for country in countries]
    return {code: Check("country", scope, PASS, f"{code} is in destination_whitelist") for code in codes}


def kind_rules(
    trunk: TrunkConfig, account: AccountConfig | None, profile: ProfileConfig | None
) -> tuple[KindRule, ...]:
    """The kinds that account, profile and trunk deny. A trunk that says nothing denies those that fraud
    lives on, but not the calling codes that it allows by name, nor the prefixes that are all of that kind."""
    rules: list[KindRule] = []
    for kind, section in (("account", account), ("profile", profile), ("trunk", trunk)):
        if section is None:
            continue
        denied, spared, meant = section.deny_kinds, frozenset[str](), frozenset[str | None]()
        if denied is None:
            denied, spared = _DENIED_UNLESS_SAID, frozenset(trunk.allow_non_geographic)
            prefixes = [prefix.removeprefix("+") for prefix in trunk.dst_prefixes.allow]
            meant = frozenset(prefix for prefix in prefixes if wholly(prefix, frozenset(denied)))
        if denied:
            scope = f"{kind}:{section.name}"
            passed = Check("kind", scope, PASS, f"none of {', '.join(denied)}")
            rules.append(KindRule(scope, frozenset(denied), passed, spared, meant))
    return tuple(rules)


def high_risk_rules(
    trunk: TrunkConfig, account: AccountConfig | None, profile: ProfileConfig | None
) -> tuple[HighRiskRule, ...]:
    """The ranges known for fraud that account, profile and trunk deny."""
    rules: list[HighRiskRule] = []
    for kind, section in (("account", account), ("profile", profile), ("trunk", trunk)):
        if section is not None and section.high_risk:
            scope = f"{kind}:{section.name}"
            passed = Check("high_risk", scope, PASS, f"in no range of {', '.join(section.high_risk)}")
            rules.append(HighRiskRule(scope, HighRisk(section.high_risk), passed))
    return tuple(rules)


def rate_limits(trunk: TrunkConfig, profile: ProfileConfig | None, currency: str) -> tuple[RateLimit, ...]:
    """The highest prices of profile and trunk, those that there are."""
    limits: list[RateLimit] = []
    for kind, section in (("profile", profile), ("trunk", trunk)):
        if section is not None and section.max_destination_rate is not None:
            scope = f"{kind}:{section.name}"
            highest = section.max_destination_rate
            passed = Check("rate", scope, PASS, f"at most {highest} {currency} a minute")
            limits.append(RateLimit(scope, nano(highest), passed))
    return tuple(limits)


def scopes_of(
    trunk: TrunkConfig,
    account: AccountConfig | None,
    profile: ProfileConfig | None,
    provider: Provider | None,
    *,
    by_account: bool = False,
) -> tuple[Scope, ...]:
    """The scopes at which a call over `trunk` is counted, in the order of a claim. With `by_account` each
    account has a part of the ledger, and so have a trunk without account and a provider."""
    scopes: list[Scope] = []
    if account is not None:
        scopes.append(_scope("account", account, account.capacity_limit, account.threshold_amount))
    if profile is not None:
        threshold = profile.daily_spend_limit if profile.daily_spend_limit_enabled else None
        scopes.append(_scope("profile", profile, profile.concurrent_call_limit, threshold))
    scopes.append(_scope("trunk", trunk, trunk.capacity_limit, trunk.threshold_amount))
    if by_account:
        shard = scopes[0].id if account is not None else scopes[-1].id
        scopes = [replace(scope, shard=shard) for scope in scopes]
    if provider is not None:
        scopes.append(provider.scope)
    return tuple(scopes)


def _scope(
    kind: str,
    section: AccountConfig | ProfileConfig | TrunkConfig,
    capacity: int | None,
    threshold: Decimal | None,
) -> Scope:
    return Scope(
        f"{kind}:{section.name}",
        kind,
        section.name,
        capacity,
        section.cps_limit,
        None if threshold is None else micro(threshold),
        Window(section.threshold_window),
    )
