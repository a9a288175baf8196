from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from config.did import DidConfig, name_by_number


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"number": "+442071838750"}, ("442071838750", "+442071838750")),
        ({"number": "442071838750", "name": None}, ("442071838750", "+442071838750")),
        ({"number": "442071838750", "name": "london-desk"}, ("london-desk", "+442071838750")),
    ],
)
def test_a_number_is_called_by_its_digits_unless_it_has_a_name(
    entry: dict[str, Any], expected: tuple[str, str]
) -> None:
    did = DidConfig.model_validate(entry)
    assert (did.name, did.number) == expected
    assert (did.account, did.trunk) == (None, None)


@pytest.mark.parametrize(
    "entry", [{}, {"number": "0207183"}, {"number": 442071838750}, {"number": ""}, {"number": None}]
)
def test_one_fault_where_the_number_is_none(entry: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        DidConfig.model_validate(entry)
    assert [fault["loc"] for fault in error.value.errors()] == [("number",)]


@pytest.mark.parametrize(
    ("number", "name"), [("${MAIN_NUMBER}", "MAIN_NUMBER"), ("+1 202", "1202"), ("+", None), (1, None)]
)
def test_names_from_numbers(number: object, name: str | None) -> None:
    assert name_by_number({"number": number}) == name
