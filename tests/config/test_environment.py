from __future__ import annotations

import pytest

from config.environment import expand, refers

ENVIRON = {"NAME": "value", "OTHER": "${NAME}"}


@pytest.mark.parametrize(
    ("text", "expanded", "used"),
    [
        ("plain", "plain", set()),
        ("a ${NAME} b ${NAME}", "a value b value", {"NAME"}),
        ("$${NAME}", "${NAME}", set()),
        ("${OTHER}", "${NAME}", {"OTHER"}),
        ("$NAME $${", "$NAME ${", set()),
        ("$${NAME ${NAME}", "${NAME value", {"NAME"}),
        ("$$${NAME}", "$${NAME}", set()),
    ],
)
def test_references_are_replaced_once(text: str, expanded: str, used: set[str]) -> None:
    seen: set[str] = set()
    faults: list[str] = []
    assert expand(text, ENVIRON, seen, faults.append) == expanded
    assert (seen, faults) == (used, [])
    assert refers(text) is bool(used)


def test_what_is_not_there_is_reported() -> None:
    faults: list[str] = []
    assert expand("${MISSING}${1}", ENVIRON, set(), faults.append) == ""
    assert faults == [
        "the environment variable `MISSING` is not set",
        "`${1}` names no environment variable; write `$${` for a plain `${`",
    ]


def test_a_reference_that_is_not_closed_is_reported_without_what_follows() -> None:
    faults: list[str] = []
    expand("pass${NAME", ENVIRON, set(), faults.append)
    assert faults == ["`${` has no `}` after it; write `$${` for a plain `${`"]
