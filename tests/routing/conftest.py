"""Fixtures of the routing tests."""

from __future__ import annotations

import pytest

from proxy.routing.names import Names
from tests.routing.dns_server import DnsServer


@pytest.fixture
def names(zone: DnsServer) -> Names:
    """Names as this server knows them."""
    return Names([zone.address])
