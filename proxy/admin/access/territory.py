"""What one account's callers come from, show and may call: not for another account's token to take, nor for
its own to invent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from config.objects import expand_tree
from proxy.admin.access.identity import Identity
from proxy.objects.document import Document
from proxy.objects.numbers import numbers_of_account

_FOUND_BY: Final = ("allowed_sip_ips", "tech_prefix", "auth", "username")
_WIDEST: Final[Mapping[int, int]] = {4: 16, 6: 32}
"""By the version of IP: the widest network whose callers an account may take for its own without a login."""

WITHIN: Final = "lies within a network of somebody else"
SHARED: Final = "is a network of somebody else"
THEIR_LOGIN: Final = "is the user name of somebody else"
TOO_WIDE: Final = "is too wide for callers without a login"
NOT_OWN: Final = "is none of the account's numbers"
HELD: Final = (
    "holds the callers to the account's numbers: a token for one account does not give that up, unless the"
    " account has a default_did"
)
STAYS: Final = "is what the account's callers are held to: a token for one account does not take it away"
NO_COUNTRIES: Final = (
    "the account has no destination_whitelist: its countries are listed by the operator first"
)

_Network = IPv4Network | IPv6Network


def taken_from_others(
    document: Document, who: Identity, old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Why `who` may not make the spec `old` of a trunk (empty: there is none) `new`: callers of a trunk that
    it does not see would be judged by this one. The field and what is wrong with it; None: it may.

    The trunk of the most specific network judges a call, and of those the one with the longest tech_prefix
    that was dialled; who has proved a login is judged by its trunk alone. So a network can be shared by
    trunks that all want logins, and by none else. Callers of trunks without addresses are known by their
    logins, which a trunk for a great part of all addresses would never ask for. A user name of somebody else
    is refused with any password, so that nobody tries which one is theirs. Who sees all trunks may arrange
    any of that.
    """
    if who.account is None or all(_plain(old, field) == _plain(new, field) for field in _FOUND_BY):
        return None
    wants_login = logs_in(new)
    others = [one.spec for one in document.list("trunks") if not who.sees(one.spec.get("account"))]
    login = _login(new)
    if login is not None and login != _login(old) and login in map(_login, others):
        return "username", THEIR_LOGIN
    theirs = [(network, logs_in(spec)) for spec in others for network in _networks(spec)]
    for network in _networks(new):
        if not wants_login and network.prefixlen < _WIDEST[network.version]:
            return "allowed_sip_ips", f"{network} {TOO_WIDE}"
        for other, others_log_in in theirs:
            # Everywhere is nobody's own.
            if other.prefixlen and network != other and _lies_within(network, other):
                return "allowed_sip_ips", f"{network} {WITHIN}"
            if network == other and not (wants_login and others_log_in):
                return "allowed_sip_ips", f"{network} {SHARED}"
    return None


def widened(document: Document, who: Identity, old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Why `who` may not give a trunk or profile these countries: where its account has none, nothing else
    would bound them. None: it may. Fewer than before are always its to choose."""
    was, now = _countries(old), _countries(new)
    if who.account is None or was == now or (now is not None and now <= (was or frozenset())):
        return None
    account = document.find("accounts", who.account)
    if account is not None and account.spec.get("destination_whitelist") is not None:
        return None
    return NO_COUNTRIES


def shown_freely(
    document: Document, who: Identity, old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Why `who` may not have the callers of a trunk shown as `new` says: under numbers that are not its
    account's, or under whatever they say where they were held to numbers. The field and what is wrong with
    it; None: it may. What holds all of an account's trunks, also those that are not there yet, is the
    account's own default_did."""
    if who.account is None:
        return None
    own = {None, *own_numbers(document, who.account)}
    for field in ("dids", "default_did"):
        if not _numbers(new, field) <= own | _numbers(old, field):
            return field, NOT_OWN
    account = document.find("accounts", who.account)
    default = None if account is None else account.spec.get("default_did")
    if _holds(old) and not _holds(new) and default is None:
        return "on_cli_mismatch_action", HELD
    return None


def let_go(who: Identity, old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Why `who` may not leave its account without the default_did that it has. None: it may."""
    given_up = old.get("default_did") is not None and new.get("default_did") is None
    return STAYS if who.account is not None and given_up else None


def logs_in(spec: Mapping[str, Any]) -> bool:
    """Whether the callers of a trunk have to show a login."""
    return bool(spec.get("auth", "ip") != "ip")


def own_numbers(document: Document, account: str) -> Iterator[str]:
    """The numbers that the operator gave an account."""
    yield from numbers_of_account(document, account)
    found = document.find("accounts", account)
    if found is not None and found.spec.get("default_did") is not None:
        yield found.spec["default_did"]


def _plain(spec: Mapping[str, Any], field: str) -> Any:
    value = spec.get(field)
    if field == "auth":
        return value or "ip"
    return list(value) if isinstance(value, list | tuple) else value or None


def _numbers(spec: Mapping[str, Any], field: str) -> set[str | None]:
    value = spec.get(field)
    return set(value) if isinstance(value, list | tuple) else {value}


def _holds(spec: Mapping[str, Any]) -> bool:
    return (spec.get("on_cli_mismatch_action") or "send_original_cli") != "send_original_cli"


def _login(spec: Mapping[str, Any]) -> str | None:
    return spec.get("username") if logs_in(spec) else None


def _countries(spec: Mapping[str, Any]) -> frozenset[str] | None:
    listed = spec.get("destination_whitelist")
    return None if listed is None else frozenset(str(country).upper() for country in listed)


def _networks(spec: Mapping[str, Any]) -> Iterable[_Network]:
    for text in expand_tree(spec.get("allowed_sip_ips") or (), os.environ, set(), []):
        try:
            yield ip_network(text)
        except ValueError:
            continue  # no such variable here


def _lies_within(network: _Network, other: _Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network.subnet_of(other)
