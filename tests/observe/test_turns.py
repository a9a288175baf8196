from __future__ import annotations

import sys

import pytest

from proxy.observe.turns import SMALL_SECONDS, small_turns


def test_turns_are_small_for_a_while() -> None:
    usual = sys.getswitchinterval()
    with small_turns():
        assert sys.getswitchinterval() == pytest.approx(SMALL_SECONDS)
    assert sys.getswitchinterval() == usual
