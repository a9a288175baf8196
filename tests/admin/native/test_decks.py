"""Rows of rate decks: a large upload, streamed, and pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from proxy.admin import security
from tests.admin.house import ROOT, House

CSV = {"Content-Type": "text/csv"}
HEADER = "prefix,destination,rate_per_minute\n"
ROWS = "/v1/rate_decks/retail/rows"


def _deck(rows: int) -> bytes:
    return (
        HEADER + "".join(f"+44{number},Place {number},0.0{number % 10}\n" for number in range(rows))
    ).encode()


async def test_upload_and_read(house: House) -> None:
    async with house.client(ROOT) as root:
        made = await root.put(f"{ROWS}?currency=EUR", content=_deck(3), headers=CSV)
        assert (made.status_code, "EUR" in made.json()["detail"]) == (422, True)
        made = await root.put(ROWS, content=_deck(3), headers=CSV)
        assert (made.status_code, made.json()["currency"]) == (201, "USD")
        assert made.headers["location"] == f"/v1/rate_decks/{made.json()['id']}"
        first = (await root.get(f"{ROWS}?limit=2")).json()
        assert first["rows"][1] == {"prefix": "+441", "destination": "Place 1", "rate_per_minute": "0.01"}
        rest = (await root.get(f"{ROWS}?limit=2&cursor={first['next_cursor']}")).json()
        assert ([row["prefix"] for row in rest["rows"]], rest["next_cursor"]) == (["+442"], None)
        whole = await root.get(ROWS, headers={"Accept": "text/csv"})
        assert (whole.content, whole.headers["content-type"]) == (_deck(3), "text/csv; charset=utf-8")

        stale = {**CSV, "If-Match": made.headers["etag"]}
        again = await root.put(ROWS, content=_deck(4), headers=stale)
        assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
        assert (await root.put(ROWS, content=_deck(5), headers=stale)).status_code == 412
        assert len((await root.get(ROWS)).json()["rows"]) == 4


async def test_a_deck_is_larger_than_other_bodies_may_be(house: House) -> None:
    rows = 60_000
    data = _deck(rows)
    assert len(data) > 4 * security.MAX_BODY

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 65536):
            yield data[at : at + 65536]

    async with house.client(ROOT) as root:
        answer = await root.put(ROWS, content=pieces(), headers=CSV, timeout=60)
        assert answer.status_code == 201, answer.text
        last = (await root.get(f"{ROWS}?cursor={rows - 1}", timeout=60)).json()
        assert [row["destination"] for row in last["rows"]] == [f"Place {rows - 1}"]
        assert (await root.post("/v1/accounts", content=data, headers=CSV)).status_code == 413


@pytest.mark.parametrize("chunked", [False, True])
async def test_and_bounded_all_the_same(house: House, monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(security, "MAX_UPLOAD", 1000)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async with house.client(ROOT) as root:
        answer = await root.put(ROWS, content=pieces() if chunked else b"x" * 2000, headers=CSV)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("content", "kind", "status", "says"),
    [
        (b"", "text/csv", 422, ""),
        (HEADER.encode(), "text/csv", 422, "has no rows"),
        (b"prefix\nx\n", "text/csv", 422, ""),
        (HEADER.encode() + b"+44,UK,cheap\n", "text/csv", 422, "line 2"),
        (b"\xff\xfe", "text/csv", 422, ""),
        (b"{}", "application/json", 415, "text/csv"),
    ],
)
async def test_what_is_no_deck(house: House, content: bytes, kind: str, status: int, says: str) -> None:
    async with house.client(ROOT) as root:
        answer = await root.put(ROWS, content=content, headers={"Content-Type": kind})
        assert answer.status_code == status
        assert says in answer.json()["detail"]
        assert (await root.get(ROWS)).status_code == 404


async def test_rows_are_the_operators(house: House) -> None:
    await house.put("accounts", name="acme")
    async with house.client(ROOT) as root, await house.tenant("acme", "write") as acme:
        assert (await root.put(ROWS, content=_deck(1), headers=CSV)).status_code == 201
        assert (await acme.get(ROWS)).status_code == 404
        assert (await acme.put(ROWS, content=_deck(2), headers=CSV)).status_code == 403
        for query in ("cursor=x", "limit=0", "a=b"):
            assert (await root.get(f"{ROWS}?{query}")).status_code == 422
