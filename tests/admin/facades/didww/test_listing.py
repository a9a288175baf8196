"""Query parameters of DIDWW's lists."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from proxy.admin.facades.didww.jsonapi import Refused
from proxy.admin.facades.didww.listing import Kind, Query, links, page_of, read_query, select

KIND = Kind(
    "things",
    filters={"name": lambda one: one["name"], "name_contains": lambda one: one["name"],
             "ready": lambda one: one["ready"]},
    sorts={"name": lambda one: one["name"], "size": lambda one: one["size"]},
    includes=frozenset({"parts"}),
    fields=frozenset({"name", "ready"}),
)  # fmt: skip
THINGS: list[dict[str, Any]] = [
    {"name": "beta", "ready": True, "size": None},
    {"name": "Alpha", "ready": False, "size": "2"},
    {"name": "gamma", "ready": True, "size": "1"},
]


def read(*parameters: tuple[str, str], collection: bool = True) -> Query:
    return read_query(parameters, KIND, collection=collection)


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ([], ["beta", "Alpha", "gamma"]),
        ([("filter[ready]", "true")], ["beta", "gamma"]),
        ([("filter[ready]", "true,false")], ["beta", "Alpha", "gamma"]),
        ([("filter[name]", "alpha")], []),
        ([("filter[name_contains]", "AL,et")], ["beta", "Alpha"]),
        ([("filter[name_contains]", "a"), ("filter[ready]", "false")], ["Alpha"]),
        ([("sort", "name")], ["Alpha", "beta", "gamma"]),
        ([("sort", "-name")], ["gamma", "beta", "Alpha"]),
        ([("sort", "size,name")], ["beta", "gamma", "Alpha"]),
    ],
)
def test_filters_and_order(parameters: list[tuple[str, str]], names: list[str]) -> None:
    assert [one["name"] for one in select(THINGS, read(*parameters), KIND)] == names


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        (("filter[colour]", "red"), "102"),
        (("filter[name", "red"), "105"),
        (("filter", "red"), "105"),
        (("sort", "ready"), "114"),
        (("include", "parts,owner"), "112"),
        (("fields[things]", "name,colour"), "104"),
        (("page[size]", "101"), "118"),
        (("page[size]", "-1"), "118"),
        (("page[number]", "0"), "118"),
        (("page[number]", "１"), "118"),
        (("page[offset]", "1"), "105"),
        (("colour", "red"), "105"),
    ],
)
def test_what_is_not_known(parameter: tuple[str, str], code: str) -> None:
    with pytest.raises(Refused) as error:
        read(parameter)
    (fault,) = error.value.faults
    assert (fault.status, fault.code) == (400, code)


def test_one_resource_has_no_list() -> None:
    query = read(
        ("include", "parts"), ("fields[things]", "name"), ("fields[others]", "any"), collection=False
    )
    assert query.include == {"parts"}
    assert query.fields["things"] == {"name"}
    for parameter in (("filter[name]", "a"), ("sort", "name"), ("page[size]", "1")):
        with pytest.raises(Refused):
            read(parameter, collection=False)


def test_pages_and_their_links() -> None:
    query = read(("filter[ready]", "true"), ("page[number]", "2"), ("page[size]", "2"))
    assert page_of(THINGS, query) == THINGS[2:]
    found = {
        name: dict(parse_qsl(urlsplit(url).query)) for name, url in links("http://a/b", query, 5).items()
    }
    assert {name: page["page[number]"] for name, page in found.items()} == {
        "first": "1", "last": "3", "prev": "1", "next": "3",
    }  # fmt: skip
    assert all(page["filter[ready]"] == "true" and page["page[size]"] == "2" for page in found.values())
    assert links("http://a/b", Query(), 0).keys() == {"first", "last"}
    assert links("http://a/b", Query(number=2), 50).keys() == {"first", "last", "prev"}


def test_what_a_query_looks_at() -> None:
    query = read(("filter[ready]", "true"), ("sort", "-size"))
    assert query.asks("ready")
    assert query.asks("size")
    assert not query.asks("name")
