"""Trunks that a call could not be told to come from: the same addresses, tech_prefix and login."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from config.address import Network
from config.model import TrunkConfig
from config.problem import Finding, join

READS = frozenset({"allowed_sip_ips", "tech_prefix", "auth", "username"})
"""The fields of a trunk by which it is found."""


def not_told_apart(trunks: Iterable[tuple[str, TrunkConfig]]) -> Iterator[Finding]:
    """A problem for every trunk, given with its path, that cannot be told from an earlier one.

    Two trunks of one network need different tech_prefixes, or user names of their own: one that asks for none
    would get the other's callers before they could be asked.
    """
    seen: dict[tuple[Network | None, str], dict[str | None, str]] = {}
    for path, trunk in trunks:
        prefix = trunk.tech_prefix or ""
        login = None if trunk.auth == "ip" else trunk.username
        networks: list[Network | None] = [*trunk.allowed_sip_ips]
        if not networks and trunk.auth == "digest":
            networks = [None]
        for network in dict.fromkeys(networks):
            others = seen.setdefault((network, prefix), {})
            other = next((name for key, name in others.items() if login in (key, None) or key is None), None)
            if other not in (None, trunk.name):
                what = f"tech_prefix `{prefix}`" if prefix else "no tech_prefix"
                where = "any address" if network is None else network
                who = "" if login is None or login not in others else f", user name `{login}`"
                message = f"cannot be told from trunk `{other}`: both have {where}{who} and {what}"
                yield Finding(join(path, "allowed_sip_ips"), message)
            others.setdefault(login, trunk.name)
