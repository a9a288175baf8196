from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.prefix_table import PrefixRules

PREFIXES = st.lists(st.text("12", min_size=1, max_size=5), max_size=8)
NUMBERS = st.text("12", min_size=1, max_size=8)


@given(PREFIXES, PREFIXES, NUMBERS, st.booleans())
def test_the_longest_match_of_both_lists_wins(
    allow: list[str], deny: list[str], number: str, default: bool
) -> None:
    longest_allow = max((len(prefix) for prefix in allow if number.startswith(prefix)), default=0)
    longest_deny = max((len(prefix) for prefix in deny if number.startswith(prefix)), default=0)
    wanted = default if longest_allow == longest_deny == 0 else longest_allow > longest_deny
    decision = PrefixRules(allow, deny, allow_by_default=default).decide("+" + number)
    assert decision.allowed == wanted
    length = max(longest_allow, longest_deny)
    assert decision.prefix == (number[:length] if length else None)


@pytest.mark.parametrize(
    ("number", "allowed", "rule"),
    [
        ("+19005550100", False, "deny +1900"),
        ("+19015550100", True, "default_dst_action allow_all"),
        ("+447624000000", True, "allow +447624"),
        ("+447625000000", False, "deny +4476"),
        ("+449098790000", False, "deny +449"),
        ("+19", True, "default_dst_action allow_all"),
        ("+2301", False, "deny +23"),
    ],
)
def test_the_rule_that_decided_is_named(number: str, allowed: bool, rule: str) -> None:
    rules = PrefixRules(["+447624", "+23"], ["+1900", "4476", "+449", "+23"])
    decision = rules.decide(number)
    assert (decision.allowed, decision.rule) == (allowed, rule)


def test_reject_all_without_rules() -> None:
    decision = PrefixRules(allow_by_default=False).decide("+442079460018")
    assert (decision.allowed, decision.rule) == (False, "default_dst_action reject_all")


def test_every_decision_is_listed() -> None:
    rules = PrefixRules(["+44"], ["+1900"])
    assert {decision.rule for decision in rules.decisions()} == {
        "allow +44",
        "deny +1900",
        "default_dst_action allow_all",
    }


@pytest.mark.parametrize("prefix", ["", "+", "1-900", "１", "+1900x"])
def test_what_is_no_prefix_is_an_error(prefix: str) -> None:
    with pytest.raises(ValueError, match="not a number prefix"):
        PrefixRules([prefix])


SETS = 100_000
BUDGET_SECONDS = 20.0


def test_a_hundred_thousand_random_sets_against_brute_force() -> None:
    """Or as many as the time allows."""
    draw = random.Random(7)
    until = time.monotonic() + BUDGET_SECONDS
    for done in range(SETS):
        base = f"{draw.randrange(10**6):06d}"
        # Beginnings of one number, and neighbours of them: most sets have several that match.
        drawn = [
            base[: draw.randint(1, 6)] + draw.choice("0123456789")[: draw.randint(0, 1)] for _ in "123456"
        ]
        half = draw.randint(0, 6)
        allow, deny = drawn[:half], drawn[half:]
        number = base + draw.choice("0123456789")
        best = max((prefix for prefix in drawn if number.startswith(prefix)), key=len, default=None)
        decision = PrefixRules(allow, deny, allow_by_default=done % 2 == 0).decide("+" + number)
        assert decision.prefix == best, (allow, deny, number)
        assert decision.allowed == (done % 2 == 0 if best is None else best not in deny), (allow, deny)
        if time.monotonic() > until:
            break
    assert done > 5_000, "the machine is too slow to say anything"


def test_one_set_of_a_hundred_thousand_prefixes() -> None:
    draw = random.Random(8)
    prefixes = sorted({str(draw.randrange(10**3, 10**9)) for _ in range(100_000)})
    rules = PrefixRules(prefixes[::2], prefixes[1::2])
    known = set(prefixes)
    for prefix in draw.sample(prefixes, 2_000):
        number = prefix + "5"
        best = max((number[:end] for end in range(1, len(number) + 1) if number[:end] in known), key=len)
        assert rules.decide(number).prefix == best
