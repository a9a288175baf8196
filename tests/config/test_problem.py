"""Places and their text."""

from __future__ import annotations

import pytest

from config.problem import Problem, enclosing, join


def test_a_problem_is_printed_as_file_line_path_message() -> None:
    assert (
        str(Problem("a.yaml", 3, "trunks[0].name", "is required")) == "a.yaml:3: trunks[0].name: is required"
    )
    assert str(Problem("a.yaml", 3, "", "is empty")) == "a.yaml:3: is empty"
    assert str(Problem("a.yaml", 0, "", "cannot be read")) == "a.yaml: cannot be read"


def test_a_problem_is_one_line_whatever_it_quotes() -> None:
    assert str(Problem("a.yaml", 1, "x\ny", "\x1b[31m\u0085")) == r"a.yaml:1: x\x0ay: \x1b[31m\x85"


@pytest.mark.parametrize(
    ("path", "outer"),
    [
        ("trunks[0].dst_prefixes.deny[1]", "trunks[0].dst_prefixes.deny"),
        ("trunks[0]", "trunks"),
        ("trunks", ""),
        ("", ""),
    ],
)
def test_enclosing(path: str, outer: str) -> None:
    assert enclosing(path) == outer


def test_join() -> None:
    assert join(join(join("", "trunks"), 0), "name") == "trunks[0].name"
