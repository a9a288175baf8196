"""Text that clients choose."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.admin.facades.plain_text import plain_text

TEXT = TypeAdapter(Annotated[str, plain_text(3, 5)])


@pytest.mark.parametrize("text", ["abc", "Büro", " abc ", "😀😀😀"])
def test_what_is_taken(text: str) -> None:
    assert TEXT.validate_python(text) == text


@pytest.mark.parametrize("text", ["ab", " ab ", "abcdef", "abc\ud83d", "", None, 123])
def test_what_is_not(text: object) -> None:
    with pytest.raises(ValidationError):
        TEXT.validate_python(text)
