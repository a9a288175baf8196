"""Places for connections."""

from __future__ import annotations

import pytest

from proxy.transport.places import Places, origin_of


def test_newcomers_enter_while_there_is_room() -> None:
    places: Places[str] = Places(3, 2)
    assert places.enter("a", "x") == (True, None)
    assert places.enter("b", "x") == (True, None)
    assert places.enter("c", "y") == (True, None)
    assert len(places) == 3


def test_the_oldest_silent_one_of_the_same_origin_goes_first() -> None:
    places: Places[str] = Places(10, 2)
    for name, origin in (("other", "y"), ("a", "x"), ("b", "x")):
        places.enter(name, origin)
    places.spoke("a")
    assert places.enter("c", "x") == (True, "b")
    places.spoke("c")
    assert places.enter("d", "x") == (False, None)
    assert len(places) == 3


def test_a_full_house_gives_up_the_oldest_silent_one_of_all() -> None:
    places: Places[str] = Places(2, 2)
    places.enter("a", "x")
    places.enter("b", "y")
    assert places.enter("c", "z") == (True, "a")
    places.spoke("b")
    places.spoke("c")
    assert places.enter("d", "z") == (False, None)
    places.leave("b")
    assert places.enter("d", "z") == (True, None)


def test_leaving_twice_frees_one_place_and_nothing_is_kept() -> None:
    places: Places[str] = Places(2, 2)
    places.enter("a", "x")
    places.enter("b", "x")
    places.leave("a")
    places.leave("a")
    places.spoke("a")
    assert len(places) == 1
    places.leave("b")
    assert len(places) == 0
    assert not places._origins
    assert not places._silent


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_ipv6_subscriber_is_one_origin(host: str, origin: str) -> None:
    assert origin_of(host) == origin
