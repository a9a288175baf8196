from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from proxy.admin.facades.specs import put, shown_number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        (2, {"limit": 2}),
        (0, {"limit": 0}),
        (False, {"limit": False}),
        ("", {"limit": ""}),
        ([], {"limit": []}),
    ],
)
def test_none_is_not_written(value: Any, expected: dict[str, Any]) -> None:
    for spec in ({}, {"limit": 1}):
        put(spec, "limit", value)
        assert spec == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("0", Decimal(0)), ("2.50", Decimal("2.5")), ("${LIMIT}", "${LIMIT}")],
)
def test_numbers_are_shown_and_variables_stay(text: str | None, expected: Any) -> None:
    assert shown_number(text, Decimal.normalize) == expected
