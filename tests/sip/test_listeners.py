"""Our addresses and the listeners that they belong to."""

from __future__ import annotations

import pytest

from proxy.sip.listeners import ByListener

found = ByListener({
    ("udp", ("0.0.0.0", 5060)): "all of IPv4",
    ("udp", ("::", 5060)): "all of IPv6",
    ("udp", ("192.0.2.1", 5070)): "one",
})  # fmt: skip


@pytest.mark.parametrize(
    ("local", "listener"),
    [
        (("192.0.2.1", 5070), "one"),
        (("192.0.2.1", 5060), "all of IPv4"),
        (("2001:db8::1", 5060), "all of IPv6"),
        (("0.0.0.0", 5060), "all of IPv4"),
    ],
)
def test_an_address_is_its_own_listener_s_or_that_of_all(local: tuple[str, int], listener: str) -> None:
    assert found[("udp", local)] == listener
    assert found.covers(("udp", local))
    assert len(found) == 3


@pytest.mark.parametrize(
    "listener",
    [
        ("udp", ("192.0.2.2", 5070)),
        ("tcp", ("192.0.2.1", 5060)),
        ("udp", ("0.0.0.0", 5070)),
        ("udp", ("::", 1)),
    ],
)
def test_others_have_none(listener: tuple[str, tuple[str, int]]) -> None:
    with pytest.raises(KeyError):
        found[listener]
    assert not found.covers(listener)
