"""What the bodies of requests are made of, whichever carrier describes them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from config.values import show


class Part(BaseModel):
    """An object in a body. A field that it does not know is an error; values are not repeated in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @property
    def given(self) -> frozenset[str]:
        """The fields that the client named."""
        return frozenset(self.model_fields_set)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {show(value)}")
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]
"""A truth value of JSON; not a text or number that looks like one."""
