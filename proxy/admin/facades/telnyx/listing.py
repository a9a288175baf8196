"""Query parameters of Telnyx' lists: a filter by name, sorting, pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.admin.facades.telnyx.errors import Refused, bad_parameter

DEFAULT_SIZE: Final = 20
MOST: Final = 250
SORTS: Final = ("enabled", "created_at", "name", "service_plan", "traffic_type", "usage_payment_method")
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Query:
    """What a client asked for. `contains`: a part of the name, in whatever case."""

    contains: str = ""
    sort: str = "-created_at"
    number: int = 1
    size: int = DEFAULT_SIZE


def read_query(parameters: Iterable[tuple[str, str]]) -> Query:
    """Raises Refused (400) for what is not known."""
    said: dict[str, Any] = {}
    for name, value in parameters:
        if name == "filter[name][contains]":
            said["contains"] = value
        elif name == "sort":
            if value.removeprefix("-") not in SORTS:
                raise Refused(
                    bad_parameter("sort", f"must be one of {', '.join(SORTS)}, or with a `-` before it")
                )
            said["sort"] = value
        elif name == "page[number]":
            said["number"] = _number(name, value, 10**9)
        elif name == "page[size]":
            said["size"] = _number(name, value, MOST)
        else:
            raise Refused(bad_parameter(name[:100], "is not known"))
    return Query(**said)


def _number(name: str, value: str, most: int) -> int:
    number = int(value) if _NUMBER.fullmatch(value) else 0
    if not 1 <= number <= most:
        raise Refused(bad_parameter(name, f"must be a whole number from 1 to {most}"))
    return number


def select(resources: Sequence[Mapping[str, Any]], query: Query) -> list[Mapping[str, Any]]:
    """Those that the filter lets through, in the order that was asked for. `resources` are in the order in
    which they were made; what is equal stays in it."""
    found = [one for one in resources if query.contains.lower() in str(one["name"]).lower()]
    name, descending = query.sort.removeprefix("-"), query.sort.startswith("-")
    if name == "created_at":
        return found[::-1] if descending else found
    return sorted(found, key=lambda one: str(one[name]), reverse=descending)


def page_of(found: Sequence[Mapping[str, Any]], query: Query) -> dict[str, Any]:
    """The answer: the page that was asked for, and where in the whole it is."""
    start = (query.number - 1) * query.size
    return {
        "data": list(found[start : start + query.size]),
        "meta": {
            "page_number": query.number,
            "page_size": query.size,
            "total_pages": (len(found) + query.size - 1) // query.size,
            "total_results": len(found),
        },
    }
