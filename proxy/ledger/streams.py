"""Reading the ledger's streams of records from the newest entry back, page by page."""

from __future__ import annotations

from typing import Final, cast

from proxy.ledger.keys import WHOLE
from proxy.ledger.requests import Requests

NEWEST: Final = b""


async def older(
    requests: Requests, stream: str, before: bytes = NEWEST, count: int = 500
) -> list[tuple[bytes, bytes]]:
    """At most `count` entries, newest first, as (id, line): those before the entry `before`. Raises
    LedgerUnavailable."""
    start = b"(" + before if before else b"+"
    reply = await requests.plain(
        "records", b"XREVRANGE", WHOLE.records(stream), start, b"-", b"COUNT", b"%d" % count
    )
    return [(entry, fields[1]) for entry, fields in cast("list[tuple[bytes, list[bytes]]]", reply)]
