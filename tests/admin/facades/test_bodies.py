from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.admin.facades.bodies import Flag, Part


class Lamp(Part):
    lit: Flag = False
    colour: str = "white"


def test_what_was_named_is_known() -> None:
    assert Lamp().given == frozenset()
    lamp = Lamp.model_validate({"lit": False})
    assert (lamp.given, lamp.lit, lamp.colour) == ({"lit"}, False, "white")


@pytest.mark.parametrize("said", ["true", "false", 1, 0, None, [], "a" * 1000])
def test_a_flag_is_true_or_false_and_nothing_like_it(said: Any) -> None:
    with pytest.raises(ValidationError, match="must be true or false") as error:
        Lamp.model_validate({"lit": said})
    assert len(str(error.value)) < 400


def test_what_is_not_known_is_an_error_that_repeats_no_value() -> None:
    with pytest.raises(ValidationError) as error:
        Lamp.model_validate({"password": "hunter2"})
    assert error.value.errors()[0]["type"] == "extra_forbidden"
    assert "hunter2" not in str(error.value)
