"""Fixtures of the routing tests."""

from __future__ import annotations

import pytest

from proxy.routing import names as module
from proxy.routing.names import Names
from tests.routing.dns_server import DnsServer


@pytest.fixture
def names(zone: DnsServer, monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names as this server knows them. It is asked once: a busy machine lets it take its time."""
    monkeypatch.setattr(module, "_TRY_SECONDS", 20.0)
    monkeypatch.setattr(module, "_QUERY_SECONDS", 20.0)
    return Names([zone.address])


@pytest.fixture
def hasty(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which the server does not answer: it is not waited for longer than really."""
    monkeypatch.undo()
