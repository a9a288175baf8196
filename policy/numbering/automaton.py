"""Automaton: how the numbers that the metadata's patterns describe may begin.

The tables of countries and of kinds are built from it; no call needs it.
"""

from __future__ import annotations

import re

_ALL_DIGITS = frozenset("0123456789")

# What the metadata's patterns are made of: digits, \d, classes, (?:…|…), and the quantifiers ? {n} {m,n}.
_TOKEN = re.compile(r"\(\?:|\\d|\[[0-9-]+\]|\{[0-9]+(?:,[0-9]+)?\}|[0-9()|?]")


class Automaton:
    """A Thompson automaton over digits. State 0 is the start; a state set is a frozenset of states."""

    def __init__(self) -> None:
        self._steps: list[list[tuple[frozenset[str], int]]] = [[]]
        self._empty: list[list[int]] = [[]]
        self._memo: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def add(self, pattern: str) -> None:
        """Accept what `pattern` matches, too. Raises ValueError for syntax that is not known here."""
        tokens = _tokens(pattern)
        if self._alternatives(tokens, 0, 0)[1] != len(tokens):
            raise ValueError(f"unbalanced pattern {pattern!r}")

    def start(self) -> frozenset[int]:
        return self._closure({0})

    def step(self, states: frozenset[int], digit: str) -> frozenset[int]:
        """The states after `digit`; empty when no number goes on so."""
        known = self._memo.get((states, digit))
        if known is None:
            after = {to for state in states for digits, to in self._steps[state] if digit in digits}
            known = self._memo[states, digit] = self._closure(after)
        return known

    def _closure(self, states: set[int]) -> frozenset[int]:
        stack = list(states)
        while stack:
            for to in self._empty[stack.pop()]:
                if to not in states:
                    states.add(to)
                    stack.append(to)
        return frozenset(states)

    def _state(self) -> int:
        self._steps.append([])
        self._empty.append([])
        return len(self._steps) - 1

    def _alternatives(self, tokens: list[str], at: int, begin: int) -> tuple[int, int]:
        end = self._state()
        while True:
            branch_end, at = self._sequence(tokens, at, begin)
            self._empty[branch_end].append(end)
            if at >= len(tokens) or tokens[at] != "|":
                return end, at
            at += 1

    def _sequence(self, tokens: list[str], at: int, begin: int) -> tuple[int, int]:
        state = self._state()
        self._empty[begin].append(state)
        while at < len(tokens) and tokens[at] not in "|)":
            after = self._after_atom(tokens, at)
            low, high, following = _quantifier(tokens, after)
            for _ in range(low):
                state = self._atom(tokens, at, state)
            optional = [state]
            for _ in range(high - low):
                state = self._atom(tokens, at, state)
                optional.append(state)
            end = self._state()
            for reached in optional:
                self._empty[reached].append(end)
            state, at = end, following
        return state, at

    def _after_atom(self, tokens: list[str], at: int) -> int:
        depth = 0
        while True:
            depth += tokens[at] in ("(", "(?:")
            depth -= tokens[at] == ")"
            at += 1
            if depth == 0:
                return at

    def _atom(self, tokens: list[str], at: int, begin: int) -> int:
        if tokens[at] in ("(", "(?:"):
            return self._alternatives(tokens, at + 1, begin)[0]
        end = self._state()
        self._steps[begin].append((_digits(tokens[at]), end))
        return end


def _tokens(pattern: str) -> list[str]:
    tokens = _TOKEN.findall(pattern)
    if "".join(tokens) != pattern:
        raise ValueError(f"unknown syntax in pattern {pattern!r}")
    return tokens


def _quantifier(tokens: list[str], at: int) -> tuple[int, int, int]:
    if at < len(tokens) and tokens[at] == "?":
        return 0, 1, at + 1
    if at < len(tokens) and tokens[at].startswith("{"):
        low, _, high = tokens[at][1:-1].partition(",")
        return int(low), int(high or low), at + 1
    return 1, 1, at


def _digits(token: str) -> frozenset[str]:
    if token == "\\d":
        return _ALL_DIGITS
    if not token.startswith("["):
        return frozenset(token)
    return frozenset(digit for digit in _ALL_DIGITS if re.fullmatch(token, digit))


Rows = tuple[tuple[str, str], ...]
Alive = dict[str, frozenset[int]]


def walk(automata: dict[str, Automaton], alive: Alive, depth: int, memo: dict[object, Rows]) -> Rows:
    """The rows below here, `depth` digits deep, or the one row that says the same: (further digits, names of
    the automata that are alive after them). `memo` is one dict for all automata of a calling code."""
    own = " ".join(alive)
    if depth == 0:
        return (("", own),)
    key = (depth, *alive.items())
    if key in memo:
        return memo[key]
    rows: list[tuple[str, str]] = []
    uniform = True
    for digit in "0123456789":
        after = {name: automata[name].step(states, digit) for name, states in alive.items()}
        after = {name: states for name, states in after.items() if states}
        below = walk(automata, after, depth - 1, memo) if after else ()
        uniform = uniform and below == (("", own),)
        rows += [(digit + digits, owners) for digits, owners in below]
    memo[key] = (("", own),) if uniform or not rows else tuple(rows)
    return memo[key]
