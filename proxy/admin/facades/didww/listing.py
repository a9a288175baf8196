"""Query parameters of JSON:API as DIDWW takes them: filters, sorting, pages, includes, sparse fieldsets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from proxy.admin.facades.didww.jsonapi import (
    FILTER_NOT_ALLOWED,
    INVALID_FIELD,
    INVALID_INCLUDE,
    INVALID_PAGE_VALUE,
    INVALID_SORT,
    Fault,
    Refused,
    not_allowed,
)

DEFAULT_SIZE: Final = 50
MOST: Final = 100
_BRACKETED = re.compile(r"(filter|page|fields)\[([A-Za-z0-9_.]{1,64})\]")
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)

Record = Mapping[str, Any]
Value = Callable[[Record], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What may be asked of the resources of one type. A filter's name → what it looks at; those that end in
    `_contains` look for a part, whatever its case."""

    type: str
    filters: Mapping[str, Value] = field(default_factory=dict)
    sorts: Mapping[str, Value] = field(default_factory=dict)
    includes: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Query:
    """What a client asked for."""

    filters: Mapping[str, frozenset[str]] = field(default_factory=dict)
    sort: Sequence[tuple[str, bool]] = ()
    number: int = 1
    size: int = DEFAULT_SIZE
    include: frozenset[str] = frozenset()
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    others: Sequence[tuple[str, str]] = ()

    def asks(self, name: str) -> bool:
        """Whether a filter or the order looks at this."""
        return name in self.filters or any(name == key for key, _ in self.sort)


def read_query(parameters: Iterable[tuple[str, str]], kind: Kind, *, collection: bool) -> Query:
    """Raises Refused (400) for what is not known."""
    filters: dict[str, frozenset[str]] = {}
    pages: dict[str, int] = {}
    fields: dict[str, frozenset[str]] = {}
    sort: list[tuple[str, bool]] = []
    include: frozenset[str] = frozenset()
    others = []
    for name, value in parameters:
        found = _BRACKETED.fullmatch(name)
        family, key = (name, "") if found is None else (found[1], found[2])
        if family == "fields" and found:
            fields[key] = _fieldset(key, value, kind)
        elif family == "include":
            include = _included(value, kind)
        elif family == "filter" and found and collection:
            if key not in kind.filters:
                raise Refused(Fault(400, FILTER_NOT_ALLOWED, "Filter not allowed", f"{key} is not allowed."))
            filters[key] = frozenset(value.split(","))
        elif family == "page" and found and collection:
            pages[key] = _page(key, value)
        elif family == "sort" and collection:
            sort = [_sorted_by(part, kind) for part in value.split(",")]
        else:
            raise Refused(not_allowed(name))
        if family != "page":
            others.append((name, value))
    return Query(
        filters, sort, pages.get("number", 1), pages.get("size", DEFAULT_SIZE), include, fields, others
    )


def _fieldset(type_: str, value: str, kind: Kind) -> frozenset[str]:
    wanted = frozenset(value.split(",")) - {""}
    unknown = wanted - kind.fields
    if type_ == kind.type and unknown:
        text = f"{min(unknown)} is not a valid field for {type_}."
        raise Refused(Fault(400, INVALID_FIELD, "Invalid field", text))
    return wanted


def _included(value: str, kind: Kind) -> frozenset[str]:
    wanted = frozenset(value.split(",")) - {""}
    unknown = wanted - kind.includes
    if unknown:
        text = f"{min(unknown)} is not a valid relationship of {kind.type}."
        raise Refused(Fault(400, INVALID_INCLUDE, "Invalid field", text))
    return wanted


def _sorted_by(part: str, kind: Kind) -> tuple[str, bool]:
    name = part.removeprefix("-")
    if name not in kind.sorts:
        text = f"{name} is not a valid sort criteria for {kind.type}."
        raise Refused(Fault(400, INVALID_SORT, "Invalid sort criteria", text))
    return name, part.startswith("-")


def _page(key: str, value: str) -> int:
    if key not in ("number", "size"):
        raise Refused(not_allowed(f"page[{key}]"))
    number = int(value) if _NUMBER.fullmatch(value) else 0
    if number < 1 or (key == "size" and number > MOST):
        text = f"{value[:20]} is not a valid value for {key} page parameter."
        raise Refused(Fault(400, INVALID_PAGE_VALUE, "Invalid page value", text))
    return number


def select(records: Iterable[Record], query: Query, kind: Kind) -> list[Record]:
    """Those that the filters let through, in the order that was asked for."""
    found = [record for record in records if _passes(record, query, kind)]
    for name, descending in reversed(query.sort):
        found.sort(key=lambda record: _order(kind.sorts[name](record)), reverse=descending)
    return found


def _passes(record: Record, query: Query, kind: Kind) -> bool:
    for name, wanted in query.filters.items():
        value = _as_text(kind.filters[name](record))
        if name.endswith("_contains"):
            if not any(part.lower() in value.lower() for part in wanted):
                return False
        elif value not in wanted:
            return False
    return True


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _order(value: Any) -> tuple[bool, str]:
    return value is not None, _as_text(value)


def page_of(records: Sequence[Record], query: Query) -> Sequence[Record]:
    """The page that was asked for."""
    start = (query.number - 1) * query.size
    return records[start : start + query.size]


def links(url: str, query: Query, total: int) -> dict[str, str]:
    """`next` and `prev` are there where there are such pages."""
    last = max((total + query.size - 1) // query.size, 1)

    def page(number: int) -> str:
        parameters = [*query.others, ("page[number]", str(number)), ("page[size]", str(query.size))]
        return f"{url}?{urlencode(parameters)}"

    found = {"first": page(1), "last": page(last)}
    if 1 < query.number <= last + 1:
        found["prev"] = page(query.number - 1)
    if query.number < last:
        found["next"] = page(query.number + 1)
    return found
