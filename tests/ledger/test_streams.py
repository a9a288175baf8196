from __future__ import annotations

from proxy.ledger.redis_ledger import RedisLedger
from proxy.ledger.streams import NEWEST, older


async def test_page_by_page_from_the_newest_back(ledger: RedisLedger) -> None:
    ledger.append_records("decisions", [b"%d" % number for number in range(10)])
    await ledger.ping()
    found: list[bytes] = []
    before, pages = NEWEST, 0
    while page := await older(ledger.requests, "decisions", before, 4):
        found += [line for _, line in page]
        before = page[-1][0]
        pages += 1
    assert found == [b"%d" % number for number in reversed(range(10))]
    assert pages == 3


async def test_a_stream_that_is_not_there_is_empty(ledger: RedisLedger) -> None:
    assert await older(ledger.requests, "nothing") == []
