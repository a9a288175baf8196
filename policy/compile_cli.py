"""A trunk's rules on caller identity, from the configuration of all who share its numbers."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import NAMESPACE_DNS, uuid5

from config.model import Config, ProviderConfig, TrunkConfig
from config.signing import StirFiles
from policy.cli import CliFormat, CliRules, IdentityHeader, OnMismatch, Vouching
from policy.numbering.dial_plan import DialPlan
from policy.passport import Signer, Trusted, Verifier


def compile_cli(
    config: Config, trunk: TrunkConfig, plan: DialPlan, provider: object, vouching: Vouching | None
) -> CliRules | None:
    """The rules of `trunk`; None where there is nothing to judge, to write in another way or to vouch for."""
    action = OnMismatch(trunk.on_cli_mismatch_action)
    own, default = numbers_of(config, trunk), trunk.default_did
    account = next((one for one in config.accounts if one.name == trunk.account), None)
    if action is OnMismatch.SEND_ORIGINAL and account is not None and account.default_did is not None:
        action, default = OnMismatch.REPLACE, account.default_did
        own = tuple(sorted({*_all_numbers(config, account.name), *own, default}))
    wanted = next((one for one in config.providers if one.name == provider), None)
    formatted = wanted is not None and wanted.cli_format is not None
    header = IdentityHeader(trunk.identity_header)
    judged = action is not OnMismatch.SEND_ORIGINAL or bool(own)
    if not (judged or formatted or vouching is not None or header is not IdentityHeader.PASS):
        return None
    return CliRules(
        scope_id=f"trunk:{trunk.name}",
        plan=plan,
        owned=frozenset(own),
        action=action,
        default=default,
        choices=own,
        believes=trunk.trust_identity,
        identity=header,
        vouching=vouching,
        origid=_origid(config, trunk),
    )


def compile_vouching(config: Config, files: StirFiles | None) -> Vouching | None:
    """What calls are signed with, and whose signatures are believed."""
    if config.stir is None or files is None:
        return None
    signer = None
    if files.key is not None and files.own is not None and config.stir.x5u is not None:
        own = files.own
        signer = Signer(files.key, config.stir.x5u, own.starts.timestamp(), own.ends.timestamp())
    trusted = {
        x5u: Trusted(one.key, one.starts.timestamp(), one.ends.timestamp())
        for x5u, one in files.trusted.items()
    }
    return Vouching(signer, Verifier(trusted))


def _origid(config: Config, trunk: TrunkConfig) -> str:
    """The same for all calls of a trunk, for as long as it keeps its name and the certificate its host."""
    host = urlsplit(config.stir.x5u or "").hostname if config.stir is not None else None
    return str(uuid5(uuid5(NAMESPACE_DNS, host or "trunkwarden.invalid"), trunk.name))


def numbers_of(config: Config, trunk: TrunkConfig) -> tuple[str, ...]:
    """The numbers that a trunk may show, sorted: its own, or with `allow_any_did_as_cli` those of its account
    and of all the account's trunks. Trunks without an account are then taken for one customer's."""
    found = set(trunk.dids)
    if trunk.allow_any_did_as_cli:
        found.update(_all_numbers(config, trunk.account))
    if trunk.default_did is not None:
        found.add(trunk.default_did)
    return tuple(sorted(found))


def _all_numbers(config: Config, account: str | None) -> set[str]:
    found: set[str] = set()
    for one in config.accounts:
        if one.name == account:
            found.update(one.dids)
    for trunk in config.trunks:
        if trunk.account == account:
            found.update(trunk.dids)
    return found


def compile_cli_format(provider: ProviderConfig) -> CliFormat | None:
    """How the provider wants callers' numbers written."""
    if provider.cli_format is None:
        return None
    return CliFormat(provider.cli_format, provider.cli_country_code or "", provider.cli_national_prefix)
