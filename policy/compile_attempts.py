"""A trunk's calling windows, velocity and destination limits, from the configuration."""

from __future__ import annotations

from config.attempts import CallingWindowConfig, ThresholdConfig, VelocityThresholds
from config.model import ProfileConfig, TrunkConfig
from policy.attempts import KINDS, CallingWindow, Threshold, Velocity, VelocityRules, calling_window
from policy.compiled import Scope, Window
from policy.destinations import DestinationLimit, Destinations
from policy.rating.compile_deck import micro
from policy.verdict import SKIP, Check


def calling_windows(trunk: TrunkConfig, profile: ProfileConfig | None) -> tuple[CallingWindow, ...]:
    """Those of profile and trunk, those that there are."""
    found: list[CallingWindow] = []
    for kind, section in (("profile", profile), ("trunk", trunk)):
        if section is not None and section.calling_window is not None:
            found.append(_window(f"{kind}:{section.name}", section.calling_window))
    return tuple(found)


def _window(scope_id: str, config: CallingWindowConfig) -> CallingWindow:
    return calling_window(scope_id, config.times, config.zone, config.calls_per_cld)


def velocity_rules(trunk: TrunkConfig) -> VelocityRules | None:
    """The trunk's thresholds, those of single countries put over those of all."""
    config = trunk.velocity
    if config is None:
        return None
    scope = f"trunk:{trunk.name}"
    everywhere = _velocity(config)
    by_country = {
        country.upper(): _told(scope, _velocity(own, everywhere), country.upper())
        for country, own in config.by_country.items()
    }
    return VelocityRules(_told(scope, everywhere, ""), by_country)


def _velocity(config: VelocityThresholds, otherwise: Velocity = Velocity()) -> Velocity:
    return Velocity(
        *(
            known if (own := getattr(config, kind)) is None else _threshold(own)
            for kind, known in zip(KINDS, otherwise.thresholds, strict=True)
        )
    )


def _threshold(config: ThresholdConfig) -> Threshold:
    return Threshold(config.soft, config.hard)


def _told(scope: str, velocity: Velocity, country: str) -> tuple[Velocity, Check]:
    texts = [
        f"{kind} {threshold.text}"
        for kind, threshold in zip(KINDS, velocity.thresholds, strict=True)
        if threshold.text
    ]
    of = f" of {country}" if country else ""
    detail = f"a minute{of}: {'; '.join(texts)}" if texts else f"no threshold{of}"
    return velocity, Check("velocity", scope, SKIP, f"the ledger counts {detail}")


def destinations(trunk: TrunkConfig, scopes: tuple[Scope, ...]) -> Destinations | None:
    """The trunk's destination limits; their money is counted in the trunk's window."""
    if not trunk.destination_limits:
        return None
    limits: list[DestinationLimit] = []
    shard = next(scope.shard for scope in scopes if scope.kind == "trunk")
    for config in trunk.destination_limits:
        name = f"{trunk.name}/{config.label}"
        threshold = config.threshold_amount
        scope = Scope(
            f"destination:{name}", "destination", name, config.capacity_limit, config.cps_limit,
            None if threshold is None else micro(threshold), Window(trunk.threshold_window),
            shard,
        )  # fmt: skip
        countries = frozenset(country.upper() for country in config.countries)
        prefixes = tuple(prefix.removeprefix("+") for prefix in config.prefixes)
        limits.append(DestinationLimit(scope, countries, prefixes))
    return Destinations(scopes, limits)
