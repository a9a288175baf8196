"""From a file to a policy: what `serve`, `check`, `explain` and a reload all do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from config.load import load_config
from config.model import Config
from config.problem import Problem
from policy.compile import compile_policy
from policy.compiled import Policy
from proxy.observe.clock import utc_now


@dataclass(frozen=True, slots=True)
class Compiled:
    """A file that was read. `config` and `policy` are None when there are problems."""

    config: Config | None
    policy: Policy | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load_policy(path: Path) -> Compiled:
    """Read, validate and compile; all problems at once. Never raises for what stands in files."""
    loaded = load_config(path)
    policy = None
    if loaded.config is not None:
        result = compile_policy(
            loaded.config, loaded.decks, version=loaded.digest, loaded_at=utc_now(), stir=loaded.stir
        )
        loaded.add(result.problems, result.warnings)
        policy = result.policy
    if loaded.problems:
        return Compiled(None, None, tuple(loaded.problems), tuple(loaded.warnings))
    return Compiled(loaded.config, policy, (), tuple(loaded.warnings))
