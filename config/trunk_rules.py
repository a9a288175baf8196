"""Rules of one trunk together with the account, profile, provider and deck that it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from config.address import Network
from config.attempts import VelocityThresholds
from config.credential_rules import check_trunk_credentials
from config.model import DialPlanConfig, TrunkConfig, unenforced_fields
from config.problem import join
from config.scopes import Report, Scopes


def check_trunk(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    """Every rule of this module that reads no faulty field."""
    faulty = scopes.faulty(path)
    for rule, fields in _RULES:
        if faulty.isdisjoint(fields):
            rule(trunk, path, scopes, report)


def _check_names(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    scopes.refer(report, "accounts", trunk.account, join(path, "account"))
    scopes.refer(report, "profiles", trunk.profile, join(path, "profile"))
    scopes.refer(report, "providers", trunk.provider, join(path, "provider"))
    scopes.refer(report, "rate_decks", trunk.rate_deck, join(path, "rate_deck"))


def _check_route(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    name = trunk.provider or scopes.default_provider
    if name is None:
        report.warn(
            path, "names no `provider` and there is no `default_provider`: its calls are refused (ROUTE)"
        )
        return
    provider = scopes.providers.get(name)
    if provider is not None and provider.status == "blocked":
        report.warn(
            join(path, "provider"), f"`{name}` is blocked: the calls of this trunk are refused (ROUTE)"
        )


def _check_sources(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    below = join(path, "allowed_sip_ips")
    if not trunk.allowed_sip_ips and trunk.auth != "digest":
        report.problem(below, "is required: the addresses that this trunk's calls come from")
    if len(set(trunk.allowed_sip_ips)) < len(trunk.allowed_sip_ips):
        report.warn(below, "lists an address or network twice")
    if trunk.allow_any_source:
        return
    for network in _collapsed(trunk.allowed_sip_ips):
        if network.prefixlen == 0:
            text = f"covers every address (`{network}`); `allow_any_source: true` if that is meant"
            report.problem(below, text)


def _collapsed(networks: Sequence[Network]) -> list[Network]:
    if len(networks) < 2:
        return list(networks)
    old = collapse_addresses([network for network in networks if isinstance(network, IPv4Network)])
    new = collapse_addresses([network for network in networks if isinstance(network, IPv6Network)])
    return [*old, *new]


def _check_countries(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    account = scopes.accounts.get(trunk.account or "")
    profile = scopes.profiles.get(trunk.profile or "")
    lists = [scope.destination_whitelist for scope in (account, profile, trunk) if scope is not None]
    given = [frozenset(countries) for countries in lists if countries is not None]
    unjudged = (trunk.account and account is None) or (trunk.profile and profile is None)
    if not given:
        if not trunk.allow_any_country and not unjudged:
            text = "has no `destination_whitelist`, nor has its account or profile: list the countries"
            report.problem(path, f"{text}, or say `allow_any_country: true`")
        return
    below = join(path, "destination_whitelist")
    if trunk.destination_whitelist == ():
        report.warn(below, "is empty: every call of this trunk is refused")
    elif all(given) and not frozenset.intersection(*given):
        report.warn(
            below, "and those of its account and profile have no country in common: every call is refused"
        )


def _check_prefixes(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    below = join(path, "dst_prefixes")
    for index, prefix in enumerate(trunk.dst_prefixes.deny):
        if prefix in trunk.dst_prefixes.allow:
            report.problem(join(join(below, "deny"), index), f"`{prefix}` is in `allow` too")
    if trunk.default_dst_action == "reject_all" and not trunk.dst_prefixes.allow:
        text = "`reject_all` without `dst_prefixes.allow`: every call of this trunk is refused"
        report.warn(join(path, "default_dst_action"), text)


def _check_rates(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    if trunk.rate_deck is not None or scopes.default_rate_deck is not None:
        return
    account = scopes.accounts.get(trunk.account or "")
    profile = scopes.profiles.get(trunk.profile or "")
    wanting = [
        f"`{key}`" for key in ("threshold_amount", "max_destination_rate") if getattr(trunk, key) is not None
    ]
    if account is not None and account.threshold_amount is not None:
        wanting.append(f"`threshold_amount` of account `{account.name}`")
    if any(limit.threshold_amount is not None for limit in trunk.destination_limits):
        wanting.append("`threshold_amount` of `destination_limits`")
    if profile is not None and profile.daily_spend_limit_enabled:
        wanting.append(f"`daily_spend_limit` of profile `{profile.name}`")
    if profile is not None and profile.max_destination_rate is not None:
        wanting.append(f"`max_destination_rate` of profile `{profile.name}`")
    if wanting:
        text = f"needs a `rate_deck` for {', '.join(wanting)}: without one every call is refused (NO_RATE)"
        report.problem(path, text)


def _check_margin(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    if trunk.refuse_below_margin is None:
        return
    below = join(path, "refuse_below_margin")
    if trunk.rate_deck is None and scopes.default_rate_deck is None:
        report.problem(below, "needs a `rate_deck`: what the trunk's calls are sold for")
    name = trunk.provider or scopes.default_provider or ""
    provider = scopes.providers.get(name)
    if provider is not None and provider.rate_deck is None:
        report.problem(below, f"needs a `rate_deck` of provider `{name}`: what its calls are bought for")


def _check_dial_plan(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    if trunk.dial_plan is not None:
        _check_readings(trunk.dial_plan, join(path, "dial_plan"), report)


def _check_readings(plan: DialPlanConfig, path: str, report: Report) -> None:
    international, national = plan.international_prefixes, plan.national_prefixes
    for key, prefixes in (("international_prefixes", international), ("national_prefixes", national)):
        for index, prefix in enumerate(prefixes):
            if prefix in prefixes[:index]:
                report.problem(join(join(path, key), index), f"`{prefix}` is listed twice")
    for index, prefix in enumerate(national):
        if prefix in international:
            text = f'"{prefix}" is in `international_prefixes` too: what is dialled could be read in two ways'
            report.problem(join(join(path, "national_prefixes"), index), text)
    if "" in international:
        text = (
            "the empty prefix is for `national_prefixes`; international numbers without `+` are `bare_e164`"
        )
        report.problem(join(path, "international_prefixes"), text)
    if "" in national and plan.bare_e164:
        text = 'cannot be together with "" in `national_prefixes`: what is dialled could be read in two ways'
        report.problem(join(path, "bare_e164"), text)
    if national and plan.country_code is None:
        report.problem(
            path, "`national_prefixes` need `country_code`, the country that national numbers are in"
        )
    if plan.country_code is not None and not national:
        report.warn(join(path, "country_code"), "has no effect without `national_prefixes`")


def _check_ledger_mode(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    limit = trunk.local_capacity_limit
    if (
        trunk.on_ledger_unavailable == "admit"
        and limit is None
        and scopes.ledger.local_capacity_limit is None
    ):
        text = (
            "`admit` needs `local_capacity_limit`, here or in `ledger`: the calls an instance may then hold"
        )
        report.problem(join(path, "on_ledger_unavailable"), text)
    if limit is not None and (trunk.on_ledger_unavailable or scopes.ledger.on_unavailable) == "reject":
        report.warn(join(path, "local_capacity_limit"), "has no effect while a lost ledger means `reject`")


def _check_identity(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    if trunk.allow_any_did_as_cli and trunk.dids:
        text = "lists numbers while `allow_any_did_as_cli` is true: one excludes the other"
        report.problem(join(path, "dids"), text)
    action = trunk.on_cli_mismatch_action
    below = join(path, "on_cli_mismatch_action")
    if action == "replace_cli" and trunk.default_did is None:
        report.problem(below, "`replace_cli` needs `default_did`")
    numbers = trunk.dids or trunk.default_did or trunk.allow_any_did_as_cli
    if action == "randomize_cli" and not numbers:
        report.problem(below, "`randomize_cli` needs `dids` to choose from")
    if action == "reject_call" and not numbers:
        report.warn(below, "`reject_call` without `dids`: every call of this trunk is refused (CLI)")
    if trunk.identity_header in ("verify", "require") and not scopes.stir_trusted:
        below = join(path, "identity_header")
        report.problem(
            below, f"`{trunk.identity_header}` needs `stir.trusted`: the certificates to verify by"
        )


def _check_unenforced(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    account = scopes.accounts.get(trunk.account or "")
    for field in unenforced_fields(trunk, account):
        below = join(path, "account" if field == "codecs" else field)
        named = f"`{field}` of its account" if field == "codecs" else f"`{field}`"
        if field in scopes.accepted:
            report.warn(below, f"{named} is not enforced by this version, as `accept_unenforced` says")
        else:
            text = (
                f"{named} is not enforced by this version, so all calls of this trunk are refused (DISABLED)"
            )
            report.warn(below, f"{text}, unless `accept_unenforced` lists `{field}`")


def _check_whose_profile(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    profile = scopes.profiles.get(trunk.profile or "")
    if profile is not None and profile.account not in (None, trunk.account):
        text = f"`{profile.name}` serves the trunks of account `{profile.account}` only"
        report.problem(join(path, "profile"), text)


def _check_profile_of_one_account(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    """With `shard_by: account` a profile is counted where its account is."""
    if trunk.profile is None or scopes.ledger.shard_by != "account":
        return
    other = scopes.profile_users.setdefault(trunk.profile, trunk)
    if other is not trunk and (trunk.account is None or trunk.account != other.account):
        owner = f"of account `{other.account}`" if other.account is not None else "of no account"
        text = (
            f"with `ledger.shard_by: account` a profile serves the trunks of one account only, and trunk"
            f" `{other.name}` {owner} uses `{trunk.profile}`, too; give each account its own"
        )
        report.problem(join(path, "profile"), text)


def _check_destinations(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    seen: dict[str, str] = {}
    for index, limit in enumerate(trunk.destination_limits):
        below = join(join(path, "destination_limits"), index)
        other = seen.setdefault(limit.label, below)
        if other != below:
            what = "is named" if limit.name is not None else "covers"
            report.problem(below, f"{what} `{limit.label}` as {other} is: they would share one count")


def _check_velocity(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    velocity = trunk.velocity
    if velocity is None:
        return
    below = join(path, "velocity")
    parts = [
        (below, velocity),
        *((join(join(below, "by_country"), country), own) for country, own in velocity.by_country.items()),
    ]
    for place, part in parts:
        if not any(getattr(part, kind) is not None for kind in VelocityThresholds.model_fields):
            if part is velocity and velocity.by_country:
                continue
            known = ", ".join(f"`{kind}`" for kind in VelocityThresholds.model_fields)
            report.problem(place, f"has no threshold: give one of {known}")


_Rule = Callable[[TrunkConfig, str, Scopes, Report], None]

_RULES: tuple[tuple[_Rule, tuple[str, ...]], ...] = (
    (_check_names, ()),
    (_check_route, ("provider",)),
    (_check_sources, ("allowed_sip_ips", "allow_any_source", "auth")),
    (_check_countries, ("destination_whitelist", "allow_any_country", "account", "profile")),
    (_check_prefixes, ("dst_prefixes", "default_dst_action")),
    (_check_rates, ("rate_deck", "destination_limits")),
    (_check_margin, ("refuse_below_margin", "rate_deck", "provider")),
    (_check_dial_plan, ()),
    (_check_destinations, ("destination_limits",)),
    (_check_velocity, ("velocity",)),
    (_check_ledger_mode, ("on_ledger_unavailable", "local_capacity_limit")),
    (check_trunk_credentials, ("auth", "username", "password", "password_file", "ha1")),
    (
        _check_identity,
        ("dids", "allow_any_did_as_cli", "on_cli_mismatch_action", "default_did", "identity_header"),
    ),
    (_check_unenforced, ("account",)),
    (_check_whose_profile, ("profile", "account")),
    (_check_profile_of_one_account, ("account", "profile")),
)
"""Each rule with the fields that it cannot do without."""
