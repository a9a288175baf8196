"""compile_policy: from the configuration model to the tables that judge calls.

References, prices and sources are resolved here once, and whatever cannot be resolved is a problem, so that
`evaluate` meets nothing unforeseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from config.model import Config
from policy.attempt import CallAttempt
from policy.cidr_table import CidrTable
from policy.compile_trunk import TrunkCompiler, compile_provider
from policy.compiled import Policy, Provider, SourceMatch, Trunk
from policy.evaluate import evaluate
from policy.rating.compile_deck import compile_decks
from policy.rating.deck import DeckRow
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
    config: Config, decks: Mapping[str, Sequence[DeckRow]], *, version: str, loaded_at: datetime
) -> CompileResult:
    """Compile `config` with the rows of its rate decks by name; all problems at once.

    Never raises for a valid model, and repeats what it finds wrong between fields even where loading the file
    has
    found it before: a policy is never compiled from half a configuration. `version` names the result, such as
    a digest of the files; `loaded_at` is aware."""
    result = CompileResult(None)
    problems, warnings = result.problems, result.warnings
    providers = {provider.name: compile_provider(provider) for provider in config.providers}
    compiler = TrunkCompiler(config, compile_decks(config, decks, problems), providers, problems, warnings)
    trunks = [compiler.trunk(index) for index in range(len(config.trunks))]
    _name_twice(config, problems)
    sources = _sources(config, trunks, problems)
    numbers, called, emergency_providers = _emergency(config, providers, problems)
    refusals = _refusals(config, problems)
    if problems:
        return result
    result.policy = Policy(
        version=version,
        loaded_at=loaded_at,
        currency=config.currency,
        trunks={trunk.name: trunk for trunk in trunks if trunk is not None},
        providers=providers,
        sources=sources,
        emergency_numbers=numbers,
        emergency_called=called,
        emergency_providers=emergency_providers,
        refusals=refusals,
    )
    if config.emergency is None:
        warnings.append(("emergency", _without_emergency(result.policy)))
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


def _sources(
    config: Config, trunks: Sequence[Trunk | None], problems: list[Finding]
) -> CidrTable[SourceMatch]:
    """Every network with its trunks. Two trunks of one network need different tech_prefixes."""
    by_network: dict[object, dict[str, Trunk]] = {}
    entries = []
    for index, trunk in enumerate(trunks):
        if trunk is None:
            continue
        prefix = trunk.tech_prefix or ""
        for network, _ in trunk.networks:
            group = by_network.setdefault(network, {})
            if not group:
                entries.append((network, group))
            other = group.setdefault(prefix, trunk)
            if other is not trunk:
                what = f"tech_prefix `{prefix}`" if prefix else "no tech_prefix"
                problems.append(
                    (
                        f"trunks[{index}].allowed_sip_ips",
                        f"cannot be told from trunk `{other.name}`: both have {network} and {what}",
                    )
                )
    return CidrTable((network, _match(str(network), group.values())) for network, group in entries)


def _match(network: str, group: Iterable[Trunk]) -> SourceMatch:
    trunks = tuple(sorted(group, key=lambda trunk: -len(trunk.tech_prefix or "")))
    passed = tuple(Check("source", trunk.scope.id, PASS, f"in {network}") for trunk in trunks)
    return SourceMatch(network, trunks, passed)


def _emergency(
    config: Config, providers: Mapping[str, Provider], problems: list[Finding]
) -> tuple[frozenset[str], str | None, tuple[Provider, ...]]:
    emergency = config.emergency
    if emergency is None or not emergency.numbers:
        return frozenset(), None, ()
    tried: list[Provider] = []
    for index, name in enumerate(emergency.providers):
        provider = providers.get(name)
        if provider is None:
            problems.append((f"emergency.providers[{index}]", f"there is no provider `{name}`"))
        elif provider not in tried:
            tried.append(provider)
    if not emergency.providers:
        problems.append(
            ("emergency.providers", "names no provider, so that emergency calls could go nowhere")
        )
    tried.sort(key=lambda provider: not provider.active)
    return frozenset(emergency.numbers), emergency.numbers[0], tuple(tried)


def _refusals(config: Config, problems: list[Finding]) -> dict[ReasonCode, Refusal]:
    """The table of the contract with the statuses that the configuration replaces; phrase and cause stay."""
    refusals = dict(REFUSALS)
    for name, status in config.refusals.items():
        code = ReasonCode(name)
        if code is ReasonCode.AUTH and status != 407:
            problems.append(
                ("refusals.AUTH", "cannot be replaced: a challenge of a proxy is 407 (RFC 3261 §22.3)")
            )
            continue
        usual = refusals[code]
        refusals[code] = Refusal(status, usual.phrase, usual.cause, usual.retry_after)
    return refusals


def _without_emergency(policy: Policy) -> str:
    """What callers of 112 get where no emergency section is, found by asking the policy."""
    outcomes: set[str] = set()
    for match in (match for _, match in policy.sources):
        source = match.network.partition("/")[0]
        verdict = evaluate(policy, CallAttempt(source, "udp", "sip", "112"))
        outcomes.add("forwarded" if verdict.reason is None else f"refused ({verdict.reason})")
    got = " or ".join(sorted(outcomes)) or "refused (SOURCE)"
    return f"a caller of 112 is {got}: write numbers and providers, or `none` if it is meant"
