"""compile_policy: from the configuration model to the tables that judge calls.

References, prices and sources are resolved here once, and whatever cannot be resolved is a problem, so that
`evaluate` meets nothing unforeseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from config.deck import Deck, DeckRow
from config.model import Config, TrunkConfig
from config.signing import StirFiles
from config.told_apart import not_told_apart
from policy.cidr_table import CidrTable, Network
from policy.compile_cli import compile_vouching
from policy.compile_emergency import compile_emergency
from policy.compile_logins import compile_logins
from policy.compile_scopes import compile_provider
from policy.compile_trunk import TrunkCompiler
from policy.compiled import Policy, SourceMatch, Trunk
from policy.rating.compile_deck import compile_decks
from policy.reasons import REFUSALS, ReasonCode, Refusal
from policy.verdict import PASS, Check

Finding = tuple[str, str]


@dataclass(slots=True)
class CompileResult:
    """`policy` is None when there are `problems`. Both lists hold (path in the configuration, message)."""

    policy: Policy | None
    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def compile_policy(
    config: Config,
    decks: Mapping[str, Deck | Iterable[DeckRow]],
    *,
    version: str,
    loaded_at: datetime,
    stir: StirFiles | None = None,
) -> CompileResult:
    """Compile `config` with the rows of its rate decks by name; all problems at once.

    Never raises for a valid model. What must hold for safety is checked here even where reading a file checks
    it as well, since a configuration may come from elsewhere. `version` names the result, such as a digest of
    the files; `loaded_at` is aware; dated prices are those of that moment. `stir`: what the files of that
    section hold.
    """
    result = CompileResult(None)
    problems = result.problems
    urgent = () if config.emergency is None else config.emergency.numbers
    by_account = config.ledger.shard_by == "account"
    providers = {
        provider.name: compile_provider(provider, urgent, by_account=by_account)
        for provider in config.providers
    }
    tables = compile_decks(config, decks, loaded_at, problems)
    if config.stir is not None and stir is None:
        problems.append(("stir", "its certificates were not read"))
    compiler = TrunkCompiler(config, tables, providers, problems, compile_vouching(config, stir))
    trunks = [compiler.trunk(index) for index in range(len(config.trunks))]
    _name_twice(config, problems)
    problems.extend(not_told_apart((f"trunks[{at}]", trunk) for at, trunk in enumerate(config.trunks)))
    if by_account:
        _profiles_of_one_account(config, problems)
    numbers, called, emergency_providers = compile_emergency(config, providers, problems)
    logins = compile_logins(config, problems)
    refusals = _refusals(config, problems)
    if problems:
        return result
    result.policy = Policy(
        version=version,
        loaded_at=loaded_at,
        currency=config.currency,
        trunks={trunk.name: trunk for trunk in trunks if trunk is not None},
        providers=providers,
        sources=_sources(trunks),
        emergency_numbers=numbers,
        emergency_called=called,
        emergency_providers=emergency_providers,
        refusals=refusals,
        decks=tables,
        realm=config.digest.realm,
        algorithms=config.digest.algorithms,
        logins=logins,
        roaming=_roaming(trunks),
    )
    return result


def _name_twice(config: Config, problems: list[Finding]) -> None:
    for kind in ("providers", "accounts", "profiles", "trunks"):
        seen: set[str] = set()
        for index, section in enumerate(getattr(config, kind)):
            if section.name in seen:
                problems.append(
                    (f"{kind}[{index}].name", f"`{section.name}` is the name of an earlier one, too")
                )
            seen.add(section.name)


def _profiles_of_one_account(config: Config, problems: list[Finding]) -> None:
    """What a profile counts lies in one part of the ledger."""
    first: dict[str, TrunkConfig] = {}
    for index, trunk in enumerate(config.trunks):
        if trunk.profile is None:
            continue
        other = first.setdefault(trunk.profile, trunk)
        if other is not trunk and (trunk.account is None or trunk.account != other.account):
            message = f"`{trunk.profile}` serves another account, too: not with `ledger.shard_by: account`"
            problems.append((f"trunks[{index}].profile", message))


def _sources(trunks: Iterable[Trunk | None]) -> CidrTable[SourceMatch]:
    """Every network with its trunks."""
    by_network: dict[Network, list[Trunk]] = {}
    for trunk in trunks:
        if trunk is not None:
            for network, _ in trunk.networks:
                by_network.setdefault(network, []).append(trunk)
    return CidrTable((network, _match(str(network), group)) for network, group in by_network.items())


def _match(network: str, group: Iterable[Trunk]) -> SourceMatch:
    trunks = tuple(sorted(group, key=lambda trunk: -len(trunk.tech_prefix or "")))
    passed = tuple(Check("source", trunk.scope.id, PASS, f"in {network}") for trunk in trunks)
    by_login = _by_login(f"in {network}", trunks)
    return SourceMatch(network, trunks, passed, by_login, bool(by_login))


def _by_login(where: str, trunks: Iterable[Trunk]) -> dict[str, SourceMatch]:
    """For each user name the trunks that it proves to be its own, in their order."""
    by_login: dict[str, list[Trunk]] = {}
    for trunk in trunks:
        if trunk.login is not None:
            by_login.setdefault(trunk.login, []).append(trunk)
    matches = {}
    for login, group in by_login.items():
        detail = f"{where}, logged in as {login}"
        passed = tuple(Check("source", trunk.scope.id, PASS, detail) for trunk in group)
        matches[login] = SourceMatch(where, tuple(group), passed)
    return matches


def _roaming(trunks: Iterable[Trunk | None]) -> dict[str, SourceMatch]:
    """The trunks without addresses: known by their user names alone."""
    free = [trunk for trunk in trunks if trunk is not None and not any(True for _ in trunk.networks)]
    free.sort(key=lambda trunk: -len(trunk.tech_prefix or ""))
    return _by_login("at any address", free)


def _refusals(config: Config, problems: list[Finding]) -> dict[ReasonCode, Refusal]:
    """The table of the contract with the statuses that the configuration replaces; phrase and cause stay, but
    for the 401 of who is no proxy to the caller."""
    refusals = dict(REFUSALS)
    for name, status in config.refusals.items():
        code = ReasonCode(name)
        if (code is ReasonCode.AUTH) != (status in (401, 407)):
            problems.append(
                (f"refusals.{name}", "401 and 407 ask for credentials: `AUTH` and only `AUTH` may")
            )
            continue
        usual = refusals[code]
        phrase = "Unauthorized" if status == 401 else usual.phrase
        refusals[code] = Refusal(status, phrase, usual.cause, usual.retry_after)
    return refusals
