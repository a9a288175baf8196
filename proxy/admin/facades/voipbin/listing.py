"""VoIPBIN's lists: newest first, a page at a time, each begun where the last one ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from proxy.admin.facades.voipbin.errors import Refused, invalid

MOST: Final = 100
NEVER: Final = "9999-01-01 00:00:00.000000"
"""When what has not happened happened."""

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}\.\d{6}Z?", re.ASCII)

Resource = dict[str, Any]


def stamp(at: datetime) -> str:
    """A moment as VoIPBIN writes it: `2022-04-28 01:50:23.414000`, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def page_of(
    resources: Iterable[Resource], parameters: Sequence[tuple[str, str]], *filters: str
) -> dict[str, Any]:
    """The page that `page_size` and `page_token` ask for, of those that the `filters` let through, which are
    fields. Raises Refused for what is not known."""
    size, before = MOST, ""
    wanted: dict[str, str] = {}
    for name, value in parameters:
        if name == "page_size":
            size = _size(value)
        elif name == "page_token":
            before = _token(value)
        elif name in filters:
            wanted[name] = value.lower()
        else:
            raise invalid(name[:100], "is not a parameter of this list")
    found = sorted(
        (
            one
            for one in resources
            if (not before or one["tm_create"] < before)
            and all(one[field] == value for field, value in wanted.items())
        ),
        key=lambda one: str(one["tm_create"]),
        reverse=True,
    )[:size]
    return {"result": found, "next_page_token": found[-1]["tm_create"] if found else ""}


def no_parameters(parameters: Iterable[tuple[str, str]]) -> None:
    """Raises Refused where there are any."""
    for name, _ in parameters:
        raise invalid(name[:100], "is not a parameter here")


def _size(value: str) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0
    if not 1 <= number <= MOST:
        raise invalid("page_size", f"must be a whole number from 1 to {MOST}")
    return number


def _token(value: str) -> str:
    if not value:
        return ""
    if _TIME.fullmatch(value) is None:
        raise Refused(400, "page_token must be the next_page_token of the page before")
    return value.replace("T", " ").removesuffix("Z")
