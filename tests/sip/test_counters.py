"""Counters and their closed sets of labels."""

from __future__ import annotations

from proxy.sip.counters import IN, METHOD_KINDS, OTHER, OUT, STATUS_KINDS, SipCounters


def test_counts_add_up() -> None:
    counters = SipCounters()
    for _ in range(3):
        counters.message(IN, "udp", "INVITE")
    counters.message(OUT, "udp", "2xx")
    counters.malformation("via")
    counters.malformation("via")
    assert counters.messages == {("in", "udp", "INVITE"): 3, ("out", "udp", "2xx"): 1}
    assert counters.malformed == {"via": 2}
    assert counters.retransmissions == {"in": 0, "out": 0}
    assert counters.stray == 0


def test_labels_are_a_closed_set() -> None:
    assert METHOD_KINDS.get(b"INVITE", OTHER) == "INVITE"
    assert METHOD_KINDS.get(b"invite", OTHER) == "other"
    assert [STATUS_KINDS[status // 100] for status in (100, 299, 486, 603)] == ["1xx", "2xx", "4xx", "6xx"]
