"""Emergency numbers are what they are: a policy in which one could become something else is refused.

An emergency number is recognised by the digits as they are dialled. So no dial plan and no tech_prefix may
read the same digits as somebody's ordinary number, and no provider may be sent it in a dress.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import phonenumbers

from config.model import Config, DialPlanConfig, ProviderConfig
from policy.compiled import Provider
from policy.numbering.dial_plan import DialPlan, is_e164
from policy.numbering.metadata import parsed

Finding = tuple[str, str]


def compile_emergency(
    config: Config, providers: Mapping[str, Provider], problems: list[Finding]
) -> tuple[frozenset[str], str | None, tuple[Provider, ...]]:
    """The emergency numbers, the one that is called for `urn:service:sos`, and the providers in the order in
    which they are tried, blocked ones last."""
    emergency = config.emergency
    if emergency is None or not emergency.numbers:
        return frozenset(), None, ()
    tried: list[Provider] = []
    for index, name in enumerate(emergency.providers):
        path = f"emergency.providers[{index}]"
        provider = providers.get(name)
        if provider is None:
            problems.append((path, f"there is no provider `{name}`"))
        elif provider.tech_prefix or provider.tech_postfix:
            sent = f"{provider.tech_prefix}{emergency.numbers[0]}{provider.tech_postfix}"
            message = (
                f"`{name}` has a tech_prefix or tech_postfix: it would be sent {sent} and not "
                f"{emergency.numbers[0]}; name a provider without them, which may have the same hostname"
            )
            problems.append((path, message))
        elif name not in emergency.providers[:index]:
            tried.append(provider)
    if not emergency.providers:
        problems.append(
            ("emergency.providers", "names no provider, so that emergency calls could go nowhere")
        )
    problems.extend(_misread(config, emergency.numbers))
    tried.sort(key=lambda provider: not provider.active)
    return frozenset(emergency.numbers), emergency.numbers[0], tuple(tried)


def _misread(config: Config, numbers: tuple[str, ...]) -> Iterator[Finding]:
    """Where a trunk's dial plan or tech_prefix gives an emergency number another meaning."""
    for index, trunk in enumerate(config.trunks):
        plan = dial_plan(trunk.dial_plan)
        prefix = trunk.tech_prefix or ""
        for number in numbers:
            ordinary = _ordinary(plan, number)
            if ordinary is not None:
                message = f"reads the emergency number `{number}` as {ordinary}, which is somebody's"
                yield f"trunks[{index}].dial_plan", message
            if not prefix or not number.startswith(prefix):
                continue
            rest = number[len(prefix) :]
            ordinary = _ordinary(plan, rest)
            if rest in numbers:
                message = f"`{prefix}` makes `{number}` of `{rest}`: both are emergency numbers"
                yield f"trunks[{index}].tech_prefix", message
            elif ordinary is not None:
                message = f"`{prefix}` and {ordinary} make the emergency number `{number}`"
                yield f"trunks[{index}].tech_prefix", message


def _ordinary(plan: DialPlan, digits: str) -> str | None:
    """The number of somebody that `digits` are by this plan; None when they are nobody's."""
    reading = plan.international(digits) if digits else None
    number = None if reading is None else parsed(reading[0][1:])
    return reading[0] if reading and number and phonenumbers.is_valid_number(number) else None


def dial_plan(plan: DialPlanConfig | None) -> DialPlan:
    """The dial plan that `plan` describes."""
    if plan is None:
        return DialPlan()
    return DialPlan(
        country_code=plan.country_code,
        international_prefixes=plan.international_prefixes,
        national_prefixes=plan.national_prefixes,
        bare_e164=plan.bare_e164,
    )


def never_sent(provider: ProviderConfig, numbers: Collection[str]) -> frozenset[str]:
    """The international numbers that `provider` would be sent as one of the emergency `numbers`, such as +911
    where it is sent numbers without their plus."""
    return frozenset(_undressed(numbers, provider))


def _undressed(numbers: Collection[str], provider: ProviderConfig) -> Iterator[str]:
    before, after = provider.tech_prefix, provider.tech_postfix
    for number in numbers:
        if provider.strip_plus and number.startswith(before) and number.endswith(after):
            digits = number[len(before) : len(number) - len(after)]
            if is_e164(digits):
                yield f"+{digits}"
