"""`${NAME}` in a text is taken from the environment; `$${` is a plain `${`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def refers(text: str) -> bool:
    """Whether the text names a variable of the environment."""
    return "${" in text and any(match[0] != "$${" for match in _REFERENCE.finditer(text))


def expand(text: str, environ: Mapping[str, str], used: set[str], report: Callable[[str], None]) -> str:
    """The text with its references replaced; `used` takes their names, `report` what is wrong with one."""
    if "${" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if not match[2]:
            report("`${` has no `}` after it; write `$${` for a plain `${`")
        elif _NAME.fullmatch(match[1]) is None:
            report(f"`{match[0]}` names no environment variable; write `$${{` for a plain `${{`")
        elif match[1] not in environ:
            report(f"the environment variable `{match[1]}` is not set")
        else:
            used.add(match[1])
            return environ[match[1]]
        return ""

    return _REFERENCE.sub(replace, text)
