"""The system's own choice of source addresses."""

from __future__ import annotations

from proxy.routing.source import source_towards


def test_loopback_is_spoken_to_from_loopback() -> None:
    assert source_towards("127.0.0.9") == "127.0.0.1"


def test_no_way_is_no_address() -> None:
    assert source_towards("no address") is None
