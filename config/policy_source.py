"""Where the objects of the policy come from, and the rows of rate decks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from config.values import Currency, one_of, show

KINDS = ("rate_decks", "providers", "accounts", "profiles", "trunks", "dids", "outplans")
"""The sections that hold objects of the policy. All other sections are the instance's own."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PolicyConfig(_Section):
    """Where trunks, providers and the other objects of the policy are kept: in this file alone, or in the
    ledger's store, where they can be changed while the program runs; this file's are then put into an empty
    store, and not read again."""

    source: Annotated[Literal["file", "store"], one_of("file", "store")] = "file"


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"must be the 64 hexadecimal digits of a digest, not {show(value)}")
    return value


class RateDeckRef(_Section):
    """A rate deck's rows and the currency of its prices: either a CSV `file`, or the digest of one that is in
    the store."""

    file: Path | None = None
    sha256: Annotated[str, BeforeValidator(_sha256)] | None = None
    currency: Currency = "USD"
