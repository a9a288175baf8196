"""compile_policy: from the configuration model to the tables that judge calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from policy.compiled import Policy
from policy.rating.deck import DeckRow

if TYPE_CHECKING:
    from config.model import Config


@dataclass(slots=True)
class CompileResult:
    """`policy` is None when there are `problems`. Both lists hold (path in the configuration, message)."""

    policy: Policy | None
    problems: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)


def compile_policy(
    config: Config, decks: Mapping[str, Sequence[DeckRow]], *, version: str, loaded_at: datetime
) -> CompileResult:
    """Compile `config` with the rows of its rate decks by name; all problems at once."""
    raise NotImplementedError
