"""Pages: newest first, each begun where the last one ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from proxy.admin.facades.voipbin.errors import Refused
from proxy.admin.facades.voipbin.listing import no_parameters, page_of, stamp


def rows(count: int) -> list[dict[str, str]]:
    return [
        {"id": str(n), "tm_create": f"2025-03-01 12:00:00.{n:06d}", "customer_id": "c"} for n in range(count)
    ]


def test_pages_follow_each_other() -> None:
    found, token = [], ""
    while True:
        page = page_of(rows(7), [("page_size", "3"), ("page_token", token)])
        found += [one["id"] for one in page["result"]]
        token = page["next_page_token"]
        if not token:
            break
    assert found == list("6543210")


def test_most_of_a_page() -> None:
    assert len(page_of(rows(150), [])["result"]) == 100


def test_filters() -> None:
    assert page_of(rows(2), [("customer_id", "C")], "customer_id")["result"] == rows(2)[::-1]
    assert page_of(rows(2), [("customer_id", "d")], "customer_id")["result"] == []


@pytest.mark.parametrize(
    "said",
    [("page_size", "0"), ("page_size", "101"), ("page_size", "-1"), ("page_size", ""), ("page_token", "x"),
     ("customer_id", "c"), ("sort", "name")],
)  # fmt: skip
def test_what_is_refused(said: tuple[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        page_of((), [said])
    assert refused.value.status == 400


def test_no_parameters() -> None:
    no_parameters([])
    with pytest.raises(Refused):
        no_parameters([("a", "b")])


def test_times_are_utc() -> None:
    assert stamp(datetime(2022, 4, 28, 1, 50, 23, 414_000, UTC)) == "2022-04-28 01:50:23.414000"
    assert (
        stamp(datetime(2022, 4, 28, 3, 50, tzinfo=timezone(timedelta(hours=2))))
        == "2022-04-28 01:50:00.000000"
    )
