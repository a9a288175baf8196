"""Text that clients choose."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator


def plain_text(least: int, most: int) -> BeforeValidator:
    """Text of `least` to `most` characters that are not all blank. JSON can hold half of a surrogate pair,
    which nobody could write down again."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not least <= len(value.strip()):
            raise ValueError("can't be blank" if least == 1 else f"must have {least} characters or more")
        if len(value) > most:
            raise ValueError(f"is too long (maximum is {most} characters)")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError("holds half of a surrogate pair")
        return value

    return BeforeValidator(read)
