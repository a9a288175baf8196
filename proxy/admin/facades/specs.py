"""Fields of our objects' specs, as facades write and show them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any


def put(spec: dict[str, Any], field: str, value: Any) -> None:
    """Set a field. None is what our fields are without being written."""
    if value is None:
        spec.pop(field, None)
    else:
        spec[field] = value


def shown_number(text: str | None, form: Callable[[Decimal], Any]) -> Any:
    """A number of a spec in the carrier's form. What stands in a variable of the environment is shown as it
    is written."""
    try:
        return None if text is None else form(Decimal(text))
    except InvalidOperation:
        return text
