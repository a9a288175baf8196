"""Who may log in: the credentials of the trunks, by user name."""

from __future__ import annotations

from config.credentials import ha1s_of
from config.model import Config, ProviderConfig, TrunkConfig
from policy.digest import Login

Finding = tuple[str, str]


def compile_logins(config: Config, problems: list[Finding]) -> dict[str, Login]:
    """The logins of the trunks that ask for one. Several trunks may have one user name, told apart by
    address or tech_prefix, if they have one password, too."""
    logins: dict[str, Login] = {}
    for index, trunk in enumerate(config.trunks):
        if trunk.auth == "ip":
            continue
        login = _login(trunk, config.digest.realm)
        path = f"trunks[{index}]"
        if login is None:
            problems.append((f"{path}.auth", f"`{trunk.auth}` needs `username` and a password or `ha1`"))
        elif logins.setdefault(login.username, login) != login:
            text = f"`{login.username}` is the user name of another trunk, with another password"
            problems.append((f"{path}.username", text))
    return logins


def _login(trunk: TrunkConfig, realm: str) -> Login | None:
    if trunk.username is None:
        return None
    if trunk.password is not None:
        return Login.of_password(trunk.username, realm, trunk.password.get_secret_value())
    if trunk.ha1 is None:
        return None
    known = ha1s_of(trunk.ha1.get_secret_value())
    return Login(trunk.username, realm, {name: digits.encode() for name, digits in known.items()})


def provider_login(provider: ProviderConfig) -> Login | None:
    """What the provider's own challenges are answered with."""
    if provider.username is None or provider.password is None:
        return None
    realm = provider.host if provider.realm is None else provider.realm
    return Login.of_password(provider.username, realm, provider.password.get_secret_value())
