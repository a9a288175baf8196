"""Changes that were not made, as problems (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fastapi.responses import JSONResponse

from config.problem import Finding
from proxy.admin.native.ownership import Forbidden
from proxy.admin.problems import problem
from proxy.objects.errors import Conflict, EditError, Invalid, ReadOnly, Unknown

_STATUS: dict[type[EditError], int] = {
    ReadOnly: 409,
    Conflict: 412,
    Unknown: 404,
    Invalid: 422,
    Forbidden: 403,
}
_STEP = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")


def refusal(error: EditError, kind: str = "", name: str = "", *, invalid: int = 422) -> JSONResponse:
    """The answer. `kind` and `name` are of the object that the request is about: what is wrong there gets a
    pointer (RFC 6901) into the body. `invalid`: the status of Invalid."""
    status = next((code for known, code in _STATUS.items() if isinstance(error, known)), 500)
    if not isinstance(error, Invalid | Forbidden):
        return problem(status, str(error))
    detail = str(error)
    if isinstance(error, Invalid):
        status = invalid
        if status == 409:  # it would go, and what is wrong then is wrong with others
            detail = f"without `{name}` the policy would have problems: {detail}"
    return problem(status, detail, problems=list(_shown(error.problems, prefix(kind, name))))


def prefix(kind: str, name: str) -> str:
    """How paths into an object begin."""
    return f"rate_decks.{name}" if kind == "rate_decks" else f"{kind}[{name}]"


def _shown(problems: Iterable[Finding], own: str) -> Iterable[dict[str, Any]]:
    for path, message in problems:
        below = path.removeprefix(own)
        if below == path or (below and below[0] not in ".["):
            yield {"path": path, "message": message}
        else:
            steps = "".join(f"/{_escaped(key or index)}" for key, index in _STEP.findall(below))
            yield {"path": path, "pointer": steps, "message": message}


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
