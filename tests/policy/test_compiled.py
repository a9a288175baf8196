from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from policy.cidr_table import CidrTable
from policy.compiled import Policy, Provider, Scope

PolicyOf = Callable[..., Policy]


def provider(**changes: Any) -> Provider:
    fields: dict[str, Any] = {
        "name": "carrier-a", "host": "sip.carrier-a.example", "port": None, "transport": "udp",
        "tech_prefix": "", "tech_postfix": "", "tech_headers": (), "strip_plus": False,
        "active": True, "networks": None,
        "scope": Scope("provider:carrier-a", "provider", "carrier-a"),
    }  # fmt: skip
    return Provider(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "called", "uri"),
    [
        ({}, "+442079460018", "sip:+442079460018@sip.carrier-a.example"),
        ({"strip_plus": True}, "+442079460018", "sip:442079460018@sip.carrier-a.example"),
        ({"port": 5070}, "+44", "sip:+44@sip.carrier-a.example:5070"),
        ({"host": "2001:db8::1"}, "+44", "sip:+44@[2001:db8::1]"),
        ({"host": "2001:db8::1", "port": 5070}, "+44", "sip:+44@[2001:db8::1]:5070"),
        ({"tech_prefix": "99#", "tech_postfix": "*1"}, "+44", "sip:99%23+44*1@sip.carrier-a.example"),
        ({"tech_prefix": "99", "strip_plus": True}, "112", "sip:99112@sip.carrier-a.example"),
        ({}, "urn:service:sos", "urn:service:sos"),
    ],
)
def test_request_uri(changes: dict[str, Any], called: str, uri: str) -> None:
    assert provider(**changes).request_uri(called) == uri


def test_candidates_are_of_the_most_specific_network(policy_of: PolicyOf, new_trunk: Any) -> None:
    policy = policy_of(
        trunks=[
            new_trunk(name="wide", allowed_sip_ips=["198.51.0.0/16", "2001:db8::/32"]),
            new_trunk(name="narrow", allowed_sip_ips=["198.51.100.0/24"]),
            new_trunk(name="prefixed", allowed_sip_ips=["198.51.100.0/24"], tech_prefix="7#"),
        ]
    )

    def candidates(source: str) -> list[str]:
        return [trunk.name for trunk in policy.candidates(source)]

    for _ in range(2):  # the second time from the cache
        assert candidates("198.51.1.1") == ["wide"]
        assert candidates("198.51.100.1") == ["prefixed", "narrow"]
        assert candidates("::ffff:198.51.100.1") == ["prefixed", "narrow"]
        assert candidates("2001:db8::1") == ["wide"]
        assert candidates("192.0.2.1") == []
        assert candidates("not an address") == []


def test_the_cache_of_sources_is_bounded(policy_of: PolicyOf, new_trunk: Any) -> None:
    policy = policy_of(trunks=[new_trunk(allowed_sip_ips=["10.0.0.0/8"])])
    for number in range(5000):
        assert policy.candidates(f"10.0.{number >> 8}.{number & 255}")
    assert len(policy._source_cache) == 4096


def test_networks_of_a_provider(policy_of: PolicyOf) -> None:
    listed = policy_of(
        providers=[{"name": "carrier-a", "hostname": "192.0.2.1:5070", "networks": ["192.0.2.0/24"]}]
    ).providers["carrier-a"]
    assert (listed.host, listed.port) == ("192.0.2.1", 5070)
    assert isinstance(listed.networks, CidrTable)
    assert listed.networks.lookup("192.0.2.9")
    assert list(listed.networks) == [(ip_network("192.0.2.0/24"), True)]
    assert policy_of().providers["carrier-a"].networks is None
