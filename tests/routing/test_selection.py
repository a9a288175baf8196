"""RFC 2782: priorities strictly, weights as shares."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from proxy.call.reach import Hop
from proxy.routing.selection import Choice, Slate
from proxy.sip.message import Flow

LOCAL = ("127.0.0.1", 5060)


def hop(name: str) -> Hop:
    return Hop(Flow("udp", LOCAL, (name, 5060)))


def choice(name: str, priority: int, weight: int = 0, rank: int = 0) -> Choice:
    return Choice((rank, priority), weight, (hop(name),))


def order(slate: Slate, draw: float = 0.0) -> list[str]:
    return [found.flow.remote[0] for found in slate.hops(lambda: draw)]


def test_empty() -> None:
    slate = Slate([Choice((0, 0), 0, ())])
    assert not slate
    assert slate.hops(lambda: 0.0) == ()


def test_lower_ranks_and_priorities_come_first() -> None:
    slate = Slate([choice("c", 0, 9, rank=1), choice("b", 20, 9), choice("a", 10)])
    assert order(slate) == order(slate, 0.99) == ["a", "b", "c"]


def test_fixed_order_is_made_once() -> None:
    slate = Slate([choice("a", 1), choice("b", 2)])
    assert slate.hops(lambda: 0.0) is slate.hops(lambda: 0.9)


def test_hops_of_one_target_stay_together() -> None:
    slate = Slate([Choice((0, 0), 1, (hop("a"), hop("b"))), Choice((0, 0), 1, (hop("c"),))])
    assert {tuple(order(slate, draw)) for draw in (0.0, 0.3, 0.6, 0.9)} == {("a", "b", "c"), ("c", "a", "b")}


@pytest.mark.parametrize(
    ("draw", "first"),
    [(0.0, "zero"), (0.24, "zero"), (0.25, "one"), (0.49, "one"), (0.5, "two"), (0.99, "two")],
)
def test_running_sums(draw: float, first: str) -> None:
    """Weights 0, 1, 2: a number from 0 to 3; the first sum that reaches it."""
    slate = Slate([choice("two", 0, 2), choice("one", 0, 1), choice("zero", 0, 0)])
    assert order(slate, draw)[0] == first


def test_shares() -> None:
    slate = Slate([choice("a", 0, 60), choice("b", 0, 30), choice("c", 0, 10)])
    draw = random.Random(7).random
    first = Counter(slate.hops(draw)[0].flow.remote[0] for _ in range(10_000))
    assert first["a"] == pytest.approx(6000, rel=0.05)
    assert first["b"] == pytest.approx(3000, rel=0.05)
    assert first["c"] == pytest.approx(1000, rel=0.1)
    assert all(len(slate.hops(draw)) == 3 for _ in range(100))


def test_equal_weights_of_zero_are_drawn_from_too() -> None:
    slate = Slate([choice(name, 0) for name in "abc"])
    draw = random.Random(7).random
    assert {tuple(order(slate, draw())) for _ in range(50)} == {("a", "b", "c")}
