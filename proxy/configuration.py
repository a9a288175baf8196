"""From a file, and perhaps the objects of the store, to a policy: what `serve`, `check`, `explain` and a
reload all do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from config.load import STORE, load_config, read_as_written
from config.model import Config
from config.objects import Stored
from config.problem import Problem
from config.tree import Tree
from policy.compile import compile_policy
from policy.compiled import Policy
from proxy.observe.clock import utc_now


@dataclass(frozen=True, slots=True)
class Compiled:
    """A file that was read. `config` and `policy` are None when there are problems; the policy is None as
    well where its objects are in the store and were not given."""

    config: Config | None
    policy: Policy | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def needs_store(self) -> bool:
        """Whether the file is sound and says that the policy's objects are in the store."""
        return self.config is not None and self.config.policy.source == "store"


def load_policy(path: Path, stored: Stored | None = None) -> Compiled:
    """Read, validate and compile; all problems at once. Never raises for what stands in files. `stored`: the
    objects of the policy, in place of the file's."""
    loaded = load_config(path, stored=stored)
    policy = None
    if loaded.config is not None and not loaded.objects_elsewhere:
        result = compile_policy(
            loaded.config, loaded.decks, version=loaded.digest, loaded_at=utc_now(), stir=loaded.stir
        )
        loaded.add(result.problems, result.warnings)
        policy = result.policy
    if loaded.problems:
        return Compiled(None, None, tuple(loaded.problems), tuple(loaded.warnings))
    return Compiled(loaded.config, policy, (), tuple(loaded.warnings))


def load_own(path: Path) -> Compiled:
    """The file's own sections alone, without the policy's objects, which are in the store."""
    return load_policy(path, Stored(known=False))


def load_tree(path: Path) -> Tree:
    """What the file says, references to the environment unread. Raises OSError."""
    return read_as_written(path)


__all__ = ["STORE", "Compiled", "Stored", "Tree", "load_own", "load_policy", "load_tree"]
