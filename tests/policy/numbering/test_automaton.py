from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.numbering.automaton import Automaton

PATTERNS = [
    "[2-9]\\d{3}",
    "(?:1[2-5]|20)\\d",
    "(?:(?:12|3)\\d)?4",
    "1(?:2(?:3|[45]6)?|7{2,4})",
    "\\d{2,5}",
    "0(?:669[0-79]\\d{1,2}|1)",
]


@given(st.sampled_from(PATTERNS), st.text("01234567", max_size=6))
def test_the_automaton_knows_how_a_match_may_begin(pattern: str, text: str) -> None:
    automaton = Automaton()
    automaton.add(pattern)
    states = automaton.start()
    for digit in text:
        states = automaton.step(states, digit)
    if re.fullmatch(pattern, text):
        assert states
    if not states:
        assert not any(re.fullmatch(pattern, text + more) for more in _continuations())


def _continuations() -> list[str]:
    return ["", *(f"{number:0{width}}" for width in (1, 2, 3) for number in range(10**width))]


@pytest.mark.parametrize("pattern", ["1+", "(?=1)2", "1*", "[^1]", "(1", "1)", "a"])
def test_unknown_syntax_is_an_error(pattern: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        Automaton().add(pattern)
