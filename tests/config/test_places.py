"""Where messages are sent; the messages about it are in tests/bad_config."""

from __future__ import annotations

import pytest

from config.places import check_advertised, check_provider_place
from config.scopes import Report
from config.structure import read_structure


def problems(listen: list[str] | None, hostname: str, **provider: str) -> list[str]:
    """What is wrong with a provider at `hostname`, with these listeners (None: the default ones)."""
    file = {"providers": [{"name": "c", "hostname": hostname, **provider}]}
    draft, _ = read_structure(file if listen is None else {"listen": listen, **file})
    report = Report()
    check_advertised(draft, report)
    for path, one in draft.items["providers"]:
        check_provider_place(one, path, draft, report)
    return [finding.message for finding in report.problems]


@pytest.mark.parametrize(
    ("listen", "hostname"),
    [
        (None, "127.0.0.1:5070"),
        (None, "carrier.example"),
        (["udp:0.0.0.0:5060"], "192.0.2.1"),
        (["udp:[::]:5060", "udp:127.0.0.1:5060"], "2001:db8::1"),
        (["tcp:127.0.0.1:5060"], "2001:db8::1"),  # there is no udp listener at all, which is said elsewhere
        (["not a listener"], "2001:db8::1"),
    ],
)
def test_places_that_can_be_sent_to(listen: list[str] | None, hostname: str) -> None:
    assert problems(listen, hostname) == []


@pytest.mark.parametrize("listen", [None, ["udp:127.0.0.1"]])
def test_a_provider_of_another_family_than_all_listeners(listen: list[str] | None) -> None:
    assert problems(listen, "2001:db8::1") == [
        "is IPv6, and no `udp` listener is: add one such as `udp:[::1]` to `listen`"
    ]


def test_the_port_of_tls_is_another() -> None:
    assert problems(["tls:127.0.0.1"], "127.0.0.1", transport="tls") == [
        "`127.0.0.1` is this proxy itself (listen[0])"
    ]
