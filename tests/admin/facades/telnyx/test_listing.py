"""Query parameters of Telnyx' lists."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.admin.facades.telnyx.errors import Refused
from proxy.admin.facades.telnyx.listing import Query, page_of, read_query, select

PROFILES: list[dict[str, Any]] = [
    {"name": "Office", "enabled": True},
    {"name": "home", "enabled": False},
    {"name": "office 2", "enabled": True},
]


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ([], ["office 2", "home", "Office"]),
        ([("sort", "created_at")], ["Office", "home", "office 2"]),
        ([("sort", "enabled")], ["home", "Office", "office 2"]),
        ([("sort", "-enabled")], ["Office", "office 2", "home"]),
        ([("filter[name][contains]", "FICE")], ["office 2", "Office"]),
    ],
)
def test_filter_and_order(parameters: list[tuple[str, str]], names: list[str]) -> None:
    assert [one["name"] for one in select(PROFILES, read_query(parameters))] == names


@pytest.mark.parametrize(
    "parameter",
    [("sort", "tags"), ("sort", ""), ("page[size]", "251"), ("page[number]", "0"), ("page[number]", "1.0"),
     ("page[size]", "1" * 20), ("filter[name]", "a"), ("page", "1"), ("filter[name][contains][x]", "a")],
)  # fmt: skip
def test_what_is_not_known(parameter: tuple[str, str]) -> None:
    with pytest.raises(Refused) as error:
        read_query([parameter])
    (fault,) = error.value.faults
    assert (fault.status, fault.source) == (400, {"parameter": parameter[0]})


def test_pages() -> None:
    found = page_of(PROFILES, Query(number=2, size=2))
    assert found["data"] == PROFILES[2:]
    assert found["meta"] == {"page_number": 2, "page_size": 2, "total_pages": 2, "total_results": 3}
    assert page_of([], Query())["meta"]["total_pages"] == 0
