from __future__ import annotations

import pytest

from proxy.admin.access.failures import BURST, INTERVAL, MOST_GOOD, MOST_SOURCES, Failures


def test_a_burst_then_one_each_interval() -> None:
    failures = Failures()
    for _ in range(BURST):
        assert failures.wait("192.0.2.1", "d", 100.0) == 0
        failures.failed("192.0.2.1", "d", 100.0)
    assert failures.wait("192.0.2.1", "d", 100.0) == INTERVAL
    assert failures.wait("192.0.2.1", "other", 100.0) == INTERVAL
    assert failures.wait("192.0.2.2", "d", 100.0) == 0
    assert failures.wait("192.0.2.1", "d", 100.0 + INTERVAL) == 0
    failures.failed("192.0.2.1", "d", 100.0 + INTERVAL)
    assert failures.wait("192.0.2.1", "d", 100.0 + INTERVAL) == INTERVAL
    assert failures.wait("192.0.2.1", "d", 100.0 + (BURST + 1) * INTERVAL) == 0


def _exhaust(failures: Failures, source: str, digest: str = "wrong") -> None:
    for _ in range(BURST):
        failures.failed(source, digest, 0.0)


def test_a_token_that_was_good_from_there_stays_so() -> None:
    failures = Failures()
    failures.passed("192.0.2.1", "good")
    _exhaust(failures, "192.0.2.1")
    _exhaust(failures, "192.0.2.2")
    assert failures.wait("192.0.2.1", "good", 0.0) == 0
    assert failures.wait("192.0.2.2", "good", 0.0) > 0


def test_until_it_is_revoked() -> None:
    failures = Failures()
    failures.passed("192.0.2.1", "good")
    _exhaust(failures, "192.0.2.1", "good")
    assert failures.wait("192.0.2.1", "good", 0.0) > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("?", "?", True),
        ("no:address", "no:address", True),
    ],
)
def test_what_is_one_source(one: str, other: str, same: bool) -> None:
    failures = Failures()
    _exhaust(failures, one)
    assert (failures.wait(other, "d", 0.0) > 0) is same


def test_memory_is_bounded() -> None:
    failures = Failures()
    for number in range(MOST_SOURCES + 100):
        failures.failed(f"10.{number >> 8}.{number & 255}.1", "d", 0.0)
    for number in range(MOST_GOOD + 100):
        failures.passed("192.0.2.1", str(number))
    assert len(failures._full_at) == MOST_SOURCES
    assert len(failures._good) == MOST_GOOD
