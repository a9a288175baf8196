from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import HTTPException, Request

from proxy.admin.native.requests import MOST_ITEMS, if_match, limit_of, object_of, page, query_of
from proxy.objects.document import PolicyObject

START = datetime(2025, 3, 1, tzinfo=UTC)


def _request(query: str = "", body: bytes = b"", **headers: str) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": raw}
    return Request(scope, receive)


def _objects(count: int) -> list[PolicyObject]:
    return [
        PolicyObject("accounts", f"id-{n}", f"a{n}", {}, created_at=START + timedelta(microseconds=n))
        for n in range(count)
    ]


def test_query() -> None:
    assert query_of(_request("a=1&b=%20"), {"a", "b"}) == {"a": "1", "b": " "}
    for query in ("c=1", "a=1&a=1"):
        with pytest.raises(HTTPException) as caught:
            query_of(_request(query), {"a"})
        assert caught.value.status_code == 422


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("1000", MOST_ITEMS), ("007", 7)])
def test_limits(text: str, limit: int) -> None:
    assert limit_of({"limit": text}) == limit


@pytest.mark.parametrize("text", ["", "0", "-1", "1001", "1e2", "٣", "9999999"])
def test_limits_that_are_none(text: str) -> None:
    with pytest.raises(HTTPException):
        limit_of({"limit": text})


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ('"a"', {"a"}),
        ('W/"a"', set()),  # a weak one never matches: RFC 9110 §13.1.1
        ('W/"a", "b"', {"b"}),
        ('"a", "b"', {"a", "b"}),
        ('"a","b,c"', {"a", "b,c"}),
        ('""', {""}),
        ("*", None),
        (" * ", None),
    ],
)
def test_entity_tags(header: str, tags: set[str] | None) -> None:
    assert if_match(_request(if_match=header)) == tags
    assert if_match(_request()) is None


@pytest.mark.parametrize("header", ["a", '"a', '"a" "b"', '"a", b', '"a\x7f"'])
def test_entity_tags_that_are_none(header: str) -> None:
    with pytest.raises(HTTPException) as caught:
        if_match(_request(if_match=header))
    assert caught.value.status_code == 400


async def test_an_object() -> None:
    found = await object_of(
        _request(body='{"a": "ä"}'.encode(), content_type="Application/JSON; charset=utf-8")
    )
    assert found == {"a": "ä"}


def test_pages_also_after_an_object_that_is_gone() -> None:
    every = _objects(5)
    first, cursor = page(every, 2, None)
    assert [one.name for one in first] == ["a0", "a1"]
    second, more = page([one for one in every if one.name != "a1"], 2, cursor)
    assert [one.name for one in second] == ["a2", "a3"]
    last, end = page(every, 2, more)
    assert ([one.name for one in last], end) == (["a4"], None)
    assert page([], 2, cursor) == ([], None)


@pytest.mark.parametrize("cursor", ["x", "äöü", "====", "MjAyNS0wMy0wMS9pZA"])
def test_cursors_that_are_none(cursor: str) -> None:
    with pytest.raises(HTTPException) as caught:
        page(_objects(1), 1, cursor)
    assert caught.value.status_code == 422
