"""A trunk's rules on caller identity, from the configuration of all who share its numbers."""

from __future__ import annotations

from config.model import Config, ProviderConfig, TrunkConfig
from policy.cli import CliFormat, CliRules, OnMismatch
from policy.numbering.dial_plan import DialPlan


def compile_cli(config: Config, trunk: TrunkConfig, plan: DialPlan, provider: object) -> CliRules | None:
    """The rules of `trunk`; None where there is nothing to judge, to write in another way or to vouch for."""
    action = OnMismatch(trunk.on_cli_mismatch_action)
    own = numbers_of(config, trunk)
    wanted = next((one for one in config.providers if one.name == provider), None)
    formatted = wanted is not None and wanted.cli_format is not None
    if action is OnMismatch.SEND_ORIGINAL and not own and not formatted:
        return None
    return CliRules(
        scope_id=f"trunk:{trunk.name}",
        plan=plan,
        owned=frozenset(own),
        action=action,
        default=trunk.default_did,
        choices=own,
        believes=trunk.trust_identity,
    )


def numbers_of(config: Config, trunk: TrunkConfig) -> tuple[str, ...]:
    """The numbers that a trunk may show, sorted: its own, or with `allow_any_did_as_cli` those of its account
    and of all the account's trunks. Trunks without an account are then taken for one customer's."""
    found = set(trunk.dids)
    if trunk.allow_any_did_as_cli:
        for account in config.accounts:
            if account.name == trunk.account:
                found.update(account.dids)
        for other in config.trunks:
            if other.account == trunk.account:
                found.update(other.dids)
    if trunk.default_did is not None:
        found.add(trunk.default_did)
    return tuple(sorted(found))


def compile_cli_format(provider: ProviderConfig) -> CliFormat | None:
    """How the provider wants callers' numbers written."""
    if provider.cli_format is None:
        return None
    return CliFormat(provider.cli_format, provider.cli_country_code or "", provider.cli_national_prefix)
