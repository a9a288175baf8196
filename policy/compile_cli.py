"""A trunk's rules on caller identity, from the configuration of all who share its numbers."""

from __future__ import annotations

from collections import defaultdict
from urllib.parse import urlsplit
from uuid import NAMESPACE_DNS, uuid5

from config.model import Config, ProviderConfig, TrunkConfig
from config.signing import StirFiles
from policy.cli import CliFormat, CliRules, IdentityHeader, OnMismatch, Vouching
from policy.numbering.dial_plan import DialPlan
from policy.passport import Signer, Trusted, Verifier


class CliCompiler:
    """Compiles the rules of the trunks of one configuration. Trunks without an account are taken for one
    customer's."""

    def __init__(self, config: Config, vouching: Vouching | None) -> None:
        self._vouching = vouching
        self._defaults = {account.name: account.default_did for account in config.accounts}
        self._formatted = {one.name for one in config.providers if one.cli_format is not None}
        host = urlsplit(config.stir.x5u or "").hostname if config.stir is not None else None
        self._space = uuid5(NAMESPACE_DNS, host or "trunkwarden.invalid")
        self._pools: defaultdict[str | None, set[str]] = defaultdict(set)
        for account in config.accounts:
            self._pools[account.name].update(account.dids)
        for trunk in config.trunks:
            self._pools[trunk.account].update(trunk.dids)
        self._shown: dict[tuple[str | None, frozenset[str]], tuple[str, ...]] = {}

    def rules(self, trunk: TrunkConfig, plan: DialPlan, provider: str | None) -> CliRules | None:
        """The rules of `trunk`; None where there is nothing to judge, to write in another way or to vouch
        for."""
        action = OnMismatch(trunk.on_cli_mismatch_action)
        default = trunk.default_did
        of_account = None if trunk.account is None else self._defaults.get(trunk.account)
        replaced = action is OnMismatch.SEND_ORIGINAL and of_account is not None
        own = self._own(trunk, replaced or trunk.allow_any_did_as_cli, of_account if replaced else None)
        if replaced:
            action, default = OnMismatch.REPLACE, of_account
        header = IdentityHeader(trunk.identity_header)
        judged = action is not OnMismatch.SEND_ORIGINAL or bool(own)
        written = provider in self._formatted or self._vouching is not None
        if not (judged or written or header is not IdentityHeader.PASS):
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
            vouching=self._vouching,
            # The same for all calls of a trunk, while it keeps its name and the certificate its host.
            origid=str(uuid5(self._space, trunk.name)),
        )

    def _own(self, trunk: TrunkConfig, all_of_account: bool, default: str | None) -> tuple[str, ...]:
        """The numbers that a trunk may show, sorted: its own, or those of its account and of all the
        account's trunks; and the defaults. Trunks with the same numbers of an account share them."""
        defaults = frozenset(one for one in (trunk.default_did, default) if one is not None)
        if not all_of_account:
            return tuple(sorted(defaults.union(trunk.dids)))
        key = (trunk.account, defaults)
        if key not in self._shown:
            self._shown[key] = tuple(sorted(defaults | self._pools[trunk.account]))
        return self._shown[key]


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


def compile_cli_format(provider: ProviderConfig) -> CliFormat | None:
    """How the provider wants callers' numbers written."""
    if provider.cli_format is None:
        return None
    return CliFormat(provider.cli_format, provider.cli_country_code or "", provider.cli_national_prefix)
