"""evaluate: judge one call attempt by one compiled policy.

The order is part of the contract: source, dialled number, emergency, gate, status, country, prefix, kind,
high risk, caller identity, rate, margin, window, route. The first check that refuses ends the judgement.
Checks that say the same for every call are made when the policy is compiled.
"""

from __future__ import annotations

import re

from policy.attempt import CallAttempt
from policy.attempts import Tries, WindowCount
from policy.compiled import Policy, SourceMatch, Trunk
from policy.numbering.country import country_of
from policy.numbering.dialled import Dialled, canonical_number, read_dialled
from policy.numbering.kind import kinds_of
from policy.rating.rate import Rate
from policy.reasons import ReasonCode
from policy.verdict import PASS, REFUSE, SKIP, Check, Verdict

# The emergency service and its subservices, RFC 5031 §4.1; the comparison ignores case (RFC 8141 §3.1).
_SOS = re.compile(r"service:sos(?:\.[a-z0-9-]+)*(?:[;?#].*)?", re.IGNORECASE | re.DOTALL)

_SHOWN = 40
_LONGEST_EMERGENCY = 16  # a tech_prefix and an emergency number of eight digits each
_CREDENTIALS_WANTED = Check("source", "", REFUSE, "digest credentials are wanted")
_NOT_EMERGENCY = Check("emergency", "", SKIP, "not an emergency number")
_GATE_OPEN = Check("gate", "", PASS, "the instance takes new calls")
_NO_WHITELIST = Check("country", "", SKIP, "no scope has a destination_whitelist")
_CLI_NOT_JUDGED = Check("cli", "", SKIP, "no rule on caller identity")
_NO_WINDOW = Check("window", "", SKIP, "no calling window")
_NO_TIME = Check("window", "", REFUSE, "there is a calling window, and the time is not known")
_NO_RATE_WANTED = Check("rate", "", SKIP, "no rate is known, and no spend or rate limit wants one")


def evaluate(policy: Policy, attempt: CallAttempt) -> Verdict:
    """The verdict on `attempt`: total (never raises, whatever the text), traced, and without side effects.

    Which trunk: of those of the most specific network, the one whose tech_prefix is the longest that the
    dialled number begins with; one without tech_prefix takes what is left. Where all want a tech_prefix and
    none was dialled, the source is known but the number is incomplete: NUMBER, and the verdict names the
    trunk if there is only one. A trunk with a login takes only those who have proved it; nobody else learns
    more than that credentials are wanted. A proved login goes before the address: only its own trunks are
    candidates, of the network or, where it has none there, of any address.

    Emergency calls are recognised by the digits as dialled, with or without the trunk's tech_prefix and
    whatever parameters follow, or by `urn:service:sos`. They need nothing but a known source; where no
    tech_prefix was dialled any trunk of the network may serve them.

    Without a whitelist at any scope (`allow_any_country`) the destination is not judged by country, so that
    unknown ranges pass, too. Where there is one, every one must hold the country; a calling code of
    `allow_non_geographic` passes them all but an empty one, which denies every call.
    """
    source = policy.match_source(attempt.source)
    if attempt.login is not None:
        source = policy.match_login(source, attempt.login)
    if source is None:
        return _stranger(policy, attempt)
    if attempt.scheme == "urn" and policy.emergency_called is not None and _SOS.fullmatch(attempt.user):
        at = _plain_trunk_at(source)
        return _emergency(policy, source, at, policy.emergency_called, f"urn:{attempt.user[:_SHOWN]}")
    dialled = read_dialled(attempt.scheme, attempt.user, attempt.params)
    digits = dialled.digits
    if len(digits) <= _LONGEST_EMERGENCY:
        at, skip = _emergency_at(policy, source, digits)
        if at >= 0:
            return _emergency(policy, source, at, digits[skip:], digits)
    at, skip = _trunk_at(source, digits)
    if source.challenges and (at < 0 or source.trunks[at].login is not None):
        return Verdict(ReasonCode.AUTH, [_CREDENTIALS_WANTED])
    if at < 0:
        return _no_trunk(source, dialled)
    trunk = source.trunks[at]
    canonical = canonical_number(dialled, trunk.dial_plan, skip)
    number = canonical.number
    scope = trunk.scope.id
    if number is None:
        checks = [source.passed[at], Check("number", scope, REFUSE, canonical.rule)]
        return Verdict(ReasonCode.NUMBER, checks, trunk)
    read = Check("number", scope, PASS, f"{attempt.user[:_SHOWN]} is {number}: {canonical.rule}")
    verdict = Verdict(None, [source.passed[at], read, _NOT_EMERGENCY], trunk, (), number)
    if attempt.gate is not None:
        verdict.checks.append(Check("gate", "", REFUSE, f"{attempt.gate}: no new calls"))
        verdict.reason = attempt.gate
    else:
        verdict.checks += (_GATE_OPEN, trunk.status)
        if trunk.status.outcome == REFUSE:
            verdict.reason = ReasonCode.DISABLED
        else:
            verdict.reason = _judge_destination(trunk, number, attempt, verdict)
    return verdict


def _stranger(policy: Policy, attempt: CallAttempt) -> Verdict:
    if attempt.login is not None:
        detail = f"{attempt.login[:_SHOWN]} has no trunk at {attempt.source[:_SHOWN]}"
    elif policy.roaming:
        return Verdict(ReasonCode.AUTH, [_CREDENTIALS_WANTED])
    else:
        detail = f"{attempt.source[:_SHOWN]} is in no trunk's allowed_sip_ips"
    return Verdict(ReasonCode.SOURCE, [Check("source", "", REFUSE, detail)])


def _trunk_at(source: SourceMatch, digits: str) -> tuple[int, int]:
    """(index of the trunk, length of its tech_prefix); -1: the digits begin with none that is wanted."""
    for at, trunk in enumerate(source.trunks):
        prefix = trunk.tech_prefix
        if prefix is None:
            return at, 0
        if digits.startswith(prefix):
            return at, len(prefix)
    return -1, 0


def _plain_trunk_at(source: SourceMatch) -> int:
    """The trunk that serves what carries no tech_prefix; where every one wants a tech_prefix, the first."""
    last = len(source.trunks) - 1
    return last if source.trunks[last].tech_prefix is None else 0


def _emergency_at(policy: Policy, source: SourceMatch, digits: str) -> tuple[int, int]:
    """(index of the trunk, length of its tech_prefix) for an emergency number; -1: it is none."""
    numbers = policy.emergency_numbers
    if digits in numbers:
        return _plain_trunk_at(source), 0
    for at, trunk in enumerate(source.trunks):
        prefix = trunk.tech_prefix
        if prefix is not None and digits.startswith(prefix) and digits[len(prefix) :] in numbers:
            return at, len(prefix)
    return -1, 0


def _no_trunk(source: SourceMatch, dialled: Dialled) -> Verdict:
    only = source.trunks[0] if len(source.trunks) == 1 else None
    detail = dialled.failure or "begins with no tech_prefix of the trunks at this source"
    passed = Check("source", "", PASS, f"in {source.network}") if only is None else source.passed[0]
    scope = "" if only is None else only.scope.id
    return Verdict(ReasonCode.NUMBER, [passed, Check("number", scope, REFUSE, detail)], only)


def _emergency(policy: Policy, source: SourceMatch, at: int, called: str, dialled: str) -> Verdict:
    trunk = source.trunks[at]
    checks = [
        source.passed[at],
        Check("number", trunk.scope.id, PASS, f"{dialled} as dialled"),
        Check("emergency", "", PASS, f"{called}: passes every limit"),
    ]
    verdict = Verdict(None, checks, trunk, policy.emergency_providers, called, emergency=True)
    # The price refuses nothing here, and nothing is reserved for it: it is what the call's record says. Only
    # a row for this very number counts: 911 as dialled has nothing to do with +91.
    rate = trunk.rates.lookup(called) if trunk.rates is not None else None
    if rate is not None and rate.prefix == called:
        verdict.rate = rate
        verdict.destination = rate.destination or None
    return verdict


def _judge_destination(
    trunk: Trunk, number: str, attempt: CallAttempt, verdict: Verdict
) -> ReasonCode | None:
    """From country to route, in the order of this module; fills in the verdict.

    Who asks for TLS all the way (`sips`, RFC 5630) gets no less.
    """
    place = country_of(number)
    if place is not None and place[0] != "+":
        verdict.country = place
    rate = trunk.rates.lookup(number) if trunk.rates is not None else None
    if rate is not None:
        verdict.rate = rate
        verdict.destination = rate.destination or None
    checks = verdict.checks
    reason = _judge_country(trunk, place, checks)
    if reason is not None:
        return reason
    decision = trunk.prefix_rules.decide(number)
    checks.append(trunk.prefix_checks[decision.prefix])
    if not decision.allowed:
        return ReasonCode.PREFIX
    if trunk.kind_rules and not _judge_kind(trunk, number, place, decision.prefix, verdict):
        return ReasonCode.PREFIX
    if trunk.high_risk_rules and not _judge_risk(trunk, number, checks):
        return ReasonCode.PREFIX
    if trunk.cli is None:
        checks.append(_CLI_NOT_JUDGED)
    else:
        check, verdict.cli = trunk.cli.judge(attempt, number)
        checks.append(check)
        if verdict.cli is None:
            return ReasonCode.CLI
    reason = _judge_rate(trunk, rate, verdict)
    if reason is None and trunk.buying is not None:
        reason = _judge_margin(trunk, number, verdict)
    if reason is not None:
        return reason
    if trunk.windows or trunk.velocity is not None:
        reason = _judge_attempts(trunk, number, attempt.at_ms, verdict)
        if reason is not None:
            return reason
    else:
        checks.append(_NO_WINDOW)
    checks.append(trunk.route)
    provider = trunk.provider
    if provider is None or trunk.route.outcome == REFUSE:
        return ReasonCode.ROUTE
    if number in provider.never:
        detail = f"{provider.scope.id} would be sent {number} as an emergency number"
        checks.append(Check("emergency", provider.scope.id, REFUSE, detail))
        return ReasonCode.NUMBER
    if attempt.scheme == "sips" and provider.transport != "tls":
        detail = f"sips: wants TLS, and {provider.scope.id} is reached over {provider.transport}"
        checks.append(Check("route", provider.scope.id, REFUSE, detail))
        return ReasonCode.ROUTE
    verdict.providers = (provider,)
    return None


def _judge_country(trunk: Trunk, place: str | None, checks: list[Check]) -> ReasonCode | None:
    if not trunk.country_rules:
        checks.append(_NO_WHITELIST)
        return None
    if place is None:
        checks.append(Check("country", "", REFUSE, "the number belongs to no country that can be told"))
        return ReasonCode.COUNTRY_UNKNOWN
    if place[0] == "+":
        if place not in trunk.allow_non_geographic:
            detail = f"{place} belongs to no country and is not in allow_non_geographic"
            checks.append(Check("country", trunk.scope.id, REFUSE, detail))
            return ReasonCode.COUNTRY_UNKNOWN
        for rule in trunk.country_rules:
            if not rule.passes:
                checks.append(Check("country", rule.scope_id, REFUSE, "destination_whitelist is empty"))
                return ReasonCode.COUNTRY
        checks.append(Check("country", trunk.scope.id, PASS, f"{place} is in allow_non_geographic"))
        return None
    for rule in trunk.country_rules:
        passed = rule.passes.get(place)
        if passed is None:
            detail = f"{place} is not in destination_whitelist"
            checks.append(Check("country", rule.scope_id, REFUSE, detail))
            return ReasonCode.COUNTRY
        checks.append(passed)
    return None


def _judge_kind(
    trunk: Trunk, number: str, place: str | None, allowed_by: str | None, verdict: Verdict
) -> bool:
    """Whether every scope lets numbers of this kind pass. `allowed_by`: the prefix rule that did."""
    kinds = kinds_of(number)
    verdict.kinds = kinds
    checks = verdict.checks
    for rule in trunk.kind_rules:
        denied = kinds and not rule.denied.isdisjoint(kinds)
        if denied and place not in rule.spared and allowed_by not in rule.meant:
            detail = f"{number} is of a kind that deny_kinds names: {', '.join(sorted(kinds & rule.denied))}"
            checks.append(Check("kind", rule.scope_id, REFUSE, detail))
            return False
        checks.append(rule.passed)
    return True


def _judge_risk(trunk: Trunk, number: str, checks: list[Check]) -> bool:
    """Whether the number is in no range known for fraud that a scope denies."""
    for rule in trunk.high_risk_rules:
        found = rule.ranges.lookup(number)
        if found is not None:
            detail = f"+{found.prefix} is in the list {found.name}: {found.why}"
            checks.append(Check("high_risk", rule.scope_id, REFUSE, detail))
            return False
        checks.append(rule.passed)
    return True


def _judge_margin(trunk: Trunk, number: str, verdict: Verdict) -> ReasonCode | None:
    """Whether the call earns what it should. One that does not has no route that pays."""
    buying = verdict.buying = trunk.buying.lookup(number) if trunk.buying is not None else None
    if trunk.margin_nano is None:
        return None
    scope, rate = trunk.scope.id, verdict.rate
    if buying is None or rate is None:
        detail = "what the provider charges for this number is not known"
        verdict.checks.append(Check("margin", scope, REFUSE, detail))
        return ReasonCode.NO_RATE
    prices = f"sold at {rate.per_minute_text}, bought at {buying.per_minute_text} a minute"
    if rate.exceeds_by(buying, trunk.margin_nano):
        verdict.checks.append(Check("margin", scope, PASS, prices))
        return None
    verdict.checks.append(Check("margin", scope, REFUSE, f"{prices}: less than refuse_below_margin"))
    return ReasonCode.ROUTE


def _judge_attempts(trunk: Trunk, number: str, at_ms: int, verdict: Verdict) -> ReasonCode | None:
    """Whether calls may be made now; what the ledger counts of the attempt goes into the verdict."""
    checks = verdict.checks
    counts: list[WindowCount] = []
    for window in trunk.windows:
        if at_ms == 0:
            checks.append(_NO_TIME)
            return ReasonCode.WINDOW
        check, opened = window.judge(at_ms)
        checks.append(check)
        if check.outcome == REFUSE:
            return ReasonCode.WINDOW
        if window.calls_per_cld is not None:
            counts.append(WindowCount(window.scope_id, opened, window.calls_per_cld))
    if not trunk.windows:
        checks.append(_NO_WINDOW)
    group, velocity = "", None
    if trunk.velocity is not None:
        velocity, told = trunk.velocity.towards(verdict.country)
        checks.append(told)
        group = f"{trunk.name}/{verdict.country or '-'}"
    if velocity is not None or counts:
        verdict.tries = Tries(
            number.removeprefix("+"), group, trunk.scope.id, velocity, tuple(counts), trunk.scope.shard
        )
    return None


def _judge_rate(trunk: Trunk, rate: Rate | None, verdict: Verdict) -> ReasonCode | None:
    rates, checks = trunk.rates, verdict.checks
    if rate is None or rates is None:
        if trunk.needs_rate or _destination_needs_rate(trunk, verdict):
            detail = "no rate_deck" if rates is None else f"deck {rates.name} has no rate for this number"
            checks.append(Check("rate", trunk.scope.id, REFUSE, detail))
            return ReasonCode.NO_RATE
        checks.append(_NO_RATE_WANTED)
        return None
    for limit in trunk.rate_limits:
        if rate.exceeds(limit.per_minute_nano):
            detail = f"{rates.check(rate).detail}, and max_destination_rate is lower"
            checks.append(Check("rate", limit.scope_id, REFUSE, detail))
            return ReasonCode.RATE
        checks.append(limit.passed)
    checks.append(rates.check(rate))
    return None


def _destination_needs_rate(trunk: Trunk, verdict: Verdict) -> bool:
    if trunk.destinations is None:
        return False
    scopes = trunk.scopes_of(verdict.called, verdict.country)
    return any(scope.threshold is not None for scope in scopes)
