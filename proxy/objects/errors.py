"""What may be wrong with a change of the policy. HTTP says 409, 412, 422 and 404."""

from __future__ import annotations

from collections.abc import Iterable

from config.problem import Finding


class EditError(Exception):
    """The change was not made; the policy is as it was."""


class ReadOnly(EditError):
    """The policy's objects are in the configuration file alone (409)."""


class Conflict(EditError):
    """What was to be changed is not any more what the writer saw (412)."""


class Unknown(EditError):
    """There is no such object (404)."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"there is no {singular(kind)} `{key}`")
        self.kind = kind
        self.key = key


class Invalid(EditError):
    """The policy would have problems (422). `problems`: all of them, with paths such as
    `trunks[office-pbx].provider`."""

    def __init__(self, problems: Iterable[Finding]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in self.problems))


def singular(kind: str) -> str:
    """The word for one object of a kind."""
    return kind.removesuffix("s").replace("_", " ")
