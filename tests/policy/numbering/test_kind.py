from __future__ import annotations

import pytest

from policy.numbering.kind import KindTable, kinds_of, wholly


@pytest.mark.parametrize(
    ("number", "kinds"),
    [
        ("+12025550123", set()),
        ("+442079460123", set()),
        ("+447400123456", set()),
        ("+19005551234", {"premium"}),
        ("+190055512345678", {"premium"}),
        ("+1900", {"premium"}),
        ("+449098790000", {"premium"}),
        ("+447012345678", {"personal"}),
        ("+447640123456", {"pager"}),
        ("+447624123456", set()),  # a mobile of the Isle of Man, amid the pagers
        ("+448001111111", {"toll_free"}),
        ("+37181234567", {"shared_cost"}),
        ("+979123456789", {"premium"}),
        ("+80012345678", {"toll_free"}),
        ("+870773111632", {"satellite"}),
        ("+881612345678", {"satellite"}),
        ("+8821612345678", {"satellite"}),
        ("+88213001234", {"satellite"}),
        ("+883510012345", set()),
    ],
)
def test_kinds(number: str, kinds: set[str]) -> None:
    assert kinds_of(number) == kinds


def test_a_number_that_ends_too_early_has_all_the_kinds_below_it() -> None:
    table = KindTable([("4470", "personal"), ("449", "premium other"), ("33", "pager")])
    assert table.lookup("44") == {"personal", "premium", "other"}
    assert table.lookup("447") == {"personal"}
    assert table.lookup("4471") == frozenset()
    assert table.lookup("1") == frozenset()
    assert table.lookup("3312") == {"pager"}


def test_an_ambiguous_range_is_told_apart_by_the_whole_number() -> None:
    # Ireland: +353 15 with seven digits is Dublin, with eight a premium service.
    assert kinds_of("+35315121234") == frozenset()
    assert kinds_of("+3531512123456") == {"premium"}


@pytest.mark.parametrize(
    ("prefix", "whole"),
    [("1900", True), ("19005", True), ("1900555123", True), ("1", False), ("44", False), ("449", True),
     ("4490", True), ("4420", False), ("870", False), ("999", False), ("", False)],
)  # fmt: skip
def test_prefixes_that_hold_nothing_else(prefix: str, whole: bool) -> None:
    assert wholly(prefix, frozenset({"premium"})) is whole
