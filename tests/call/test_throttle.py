from __future__ import annotations

from proxy.call.throttle import MOST_REMEMBERED, Recent, Throttle, neighbourhood


def test_a_burst_then_one_each_time() -> None:
    throttle = Throttle(3, 10.0)
    for _ in range(3):
        assert not throttle.closed("a", 100.0)
        throttle.failed("a", 100.0)
    assert throttle.closed("a", 100.0)
    assert not throttle.closed("b", 100.0)
    assert throttle.closed("a", 109.0)
    assert not throttle.closed("a", 111.0)
    throttle.failed("a", 111.0)
    assert throttle.closed("a", 112.0)
    assert not throttle.closed("a", 200.0)


def test_memory_is_bounded() -> None:
    throttle = Throttle(1, 10.0)
    recent = Recent()
    for number in range(MOST_REMEMBERED + 50):
        throttle.failed(number, 0.0)
        recent.add(number)
    assert len(throttle) == MOST_REMEMBERED
    assert not throttle.closed(0, 0.0)
    assert throttle.closed(MOST_REMEMBERED, 0.0)
    assert 0 not in recent
    assert MOST_REMEMBERED in recent


def test_one_customer_is_one_ipv6_network() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8:0:0:ffff::2")
    assert neighbourhood("2001:db8::1") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("192.0.2.1") == "192.0.2.1"
    assert neighbourhood("fe80::1%eth0") == neighbourhood("fe80::2")
    assert neighbourhood(":bad:") == ":bad:"
