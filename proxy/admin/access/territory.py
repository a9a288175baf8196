"""Addresses of one account's callers are not another account's to take."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from proxy.admin.access.identity import Identity
from proxy.objects.document import Document


def taken_from_others(document: Document, who: Identity, networks: Iterable[str]) -> str | None:
    """The first of `networks` that lies within what callers of a trunk that `who` does not see come from.

    The trunk of the most specific network judges a call: a trunk for one address of somebody else's network
    would get the calls from there. Who sees all trunks may arrange that; who sees one account's may not.
    """
    if who.account is None:
        return None
    theirs = [
        network
        for one in document.list("trunks")
        if not who.sees(one.spec.get("account"))
        for network in _read(one.spec.get("allowed_sip_ips", ()))
        if network.prefixlen  # everywhere is nobody's own
    ]
    for network in _read(networks):
        if any(_lies_within(network, other) for other in theirs):
            return str(network)
    return None


def _read(networks: Iterable[str]) -> Iterable[IPv4Network | IPv6Network]:
    for text in networks:
        try:
            yield ip_network(text)
        except ValueError:
            continue  # a reference to the environment


def _lies_within(network: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network != other and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network != other and network.subnet_of(other)
