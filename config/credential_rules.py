"""Rules about credentials: those that trunks show, and those that are shown to providers."""

from __future__ import annotations

from config.credentials import ha1s_of
from config.model import Digest, ProviderConfig, TrunkConfig
from config.problem import join
from config.scopes import Report, Scopes


def check_trunk_credentials(trunk: TrunkConfig, path: str, scopes: Scopes, report: Report) -> None:
    """User name and one secret where they are asked for, of an algorithm that is offered."""
    secrets = [key for key in ("password", "password_file", "ha1") if getattr(trunk, key) is not None]
    if len(secrets) > 1:
        report.problem(
            join(path, secrets[1]), f"give one of {', '.join(f'`{key}`' for key in secrets)}, not several"
        )
    if trunk.auth == "ip":
        if secrets or trunk.username is not None:
            report.warn(join(path, "auth"), "is `ip`: the credentials of this trunk are not asked for")
        return
    if trunk.username is None or not secrets:
        report.problem(
            join(path, "auth"), f"`{trunk.auth}` needs `username` and one of `password_file`, `ha1`"
        )
    if trunk.auth == "digest" and trunk.allowed_sip_ips:
        text = "narrows `auth: digest` to these addresses, as `ip_and_digest` does"
        report.warn(join(path, "allowed_sip_ips"), text)
    if trunk.ha1 is not None:
        _check_ha1(trunk.ha1.get_secret_value(), join(path, "ha1"), scopes.digest, report)


def _check_ha1(ha1: str, path: str, digest: Digest, report: Report) -> None:
    known = ha1s_of(ha1)
    of = " and ".join(known)
    if not any(name in known for name in digest.algorithms):
        text = f"is of {of}, which `digest.algorithms` does not offer: nobody could log in with it"
        report.problem(path, text)
    elif digest.algorithms[0] not in known:
        text = f"is of {of}, and {digest.algorithms[0]} is offered before it: who knows both is refused"
        report.warn(path, text)


def check_provider_credentials(provider: ProviderConfig, path: str, report: Report) -> None:
    """All of them or none."""
    secrets = [key for key in ("password", "password_file") if getattr(provider, key) is not None]
    if len(secrets) > 1:
        report.problem(join(path, secrets[1]), "give one of `password`, `password_file`, not both")
    if secrets and provider.username is None:
        report.problem(join(path, secrets[0]), "needs `username`")
    elif provider.username is not None and not secrets:
        report.problem(join(path, "username"), "needs `password_file`")
    elif provider.username is None:
        for key in ("realm", "register_seconds"):
            if getattr(provider, key):
                report.problem(join(path, key), "needs `username` and `password_file`")
    if 0 < provider.register_seconds < 60:
        report.problem(join(path, "register_seconds"), "must be 60 or more, or 0 for no registration")
