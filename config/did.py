"""Numbers (DIDs): what one is, and the entries of `dids`, which say whose it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from config.values import Name

_NOT_OF_NAMES = re.compile(r"[^A-Za-z0-9_.-]", re.ASCII)
_NAMELESS = "nameless"


def _did(value: Any) -> str:
    digits = value.removeprefix("+") if isinstance(value, str) else ""
    if not (digits.isascii() and digits.isdigit() and 3 <= len(digits) <= 15 and not digits.startswith("0")):
        raise ValueError("must be an international number such as `+442071838750`")
    return f"+{digits}"


Did = Annotated[str, BeforeValidator(_did)]


class DidConfig(BaseModel):
    """A number that callers may be shown with, and whose it is: with `trunk` that trunk's, as if it stood in
    its `dids`; with `account` alone the account's, as if it stood there; with neither nobody's yet. Without
    `name` it is called by its digits."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, json_schema_extra={"required": ["number"]}
    )

    name: Name
    number: Did
    account: Name | None = None
    trunk: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("name") is None:
            # One whose number is no text has that fault, and not another one in its name.
            return {**value, "name": name_by_number(value) or _NAMELESS}
        return value


def name_by_number(item: Mapping[str, Any]) -> str | None:
    """What an entry of `dids` is called that gives itself no name: the digits of its number; where that is in
    a variable of the environment, the variable. None: it has no number."""
    number = item.get("number")
    return _NOT_OF_NAMES.sub("", number).lstrip("._-")[:64] or None if isinstance(number, str) else None
