"""The limits that hold when nothing is configured."""

from __future__ import annotations

from proxy.transport.limits import StreamLimits


def test_idle_connections_outlive_transactions() -> None:
    # Timer C is above 180 s, and an INVITE's server transaction ends 64*T1 after it (RFC 3261 §18).
    assert StreamLimits().idle_seconds > 180 + 32


def test_one_address_cannot_take_all_places() -> None:
    limits = StreamLimits()
    assert limits.known_per_address < limits.known
    assert limits.strangers_per_address < limits.strangers < limits.known


def test_a_message_of_the_largest_size_can_be_sent() -> None:
    limits = StreamLimits()
    assert limits.body_bytes < limits.waiting_bytes
    assert limits.body_bytes < limits.unread_bytes
