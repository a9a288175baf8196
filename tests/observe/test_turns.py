from __future__ import annotations

import sys

import pytest

from proxy.observe.turns import SMALL_SECONDS, small_turns


def small() -> bool:
    return sys.getswitchinterval() == pytest.approx(SMALL_SECONDS)


def test_turns_are_small_for_a_while() -> None:
    usual = sys.getswitchinterval()
    with small_turns():
        assert small()
    assert sys.getswitchinterval() == usual


def test_they_are_until_the_last_one_is_done() -> None:
    """In whatever order they end."""
    usual = sys.getswitchinterval()
    one, two = small_turns(), small_turns()
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert small()
    two.__exit__(None, None, None)
    assert sys.getswitchinterval() == usual
