"""A server that is back but still reads its data, for seconds: LOADING, as it really is."""

from __future__ import annotations

import asyncio

from redis.exceptions import BusyLoadingError, RedisError

from proxy.ledger.ledger import LedgerUnavailable, Registration, Reservation
from tests.ledger.servers import Opener, Server, Stopwatch, claim, scope, settled, until

TRUNK = (scope(threshold=1000, capacity=2),)
KEYS, DELAY_MICROSECONDS = 2000, 1000
RIGHT_AGAIN_SECONDS = 2.0


async def test_loading_for_seconds(server: Server, opener: Opener) -> None:
    """No call is admitted meanwhile, what is told waits, and 2 s after it is over all is right."""
    server.kill()
    server.options = ("--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024")
    server.start()
    ledger = await opener(server.url)
    assert isinstance(await ledger.reserve(claim("lives", *TRUNK, hold=10)), Reservation)
    assert isinstance(await ledger.reserve(claim("ends", *TRUNK, hold=10)), Reservation)

    async def restore(*_: object) -> None:
        await ledger.register([Registration("lives", "t", TRUNK, 1, 1.0, None, 0, 0, 10, b"{}")])

    ledger.on_loss(restore)
    client = server.client()
    client.execute_command("DEBUG", "POPULATE", KEYS)
    client.bgrewriteaof()
    await until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
    client.close()
    server.kill()
    server.options += ("--key-load-delay", str(DELAY_MICROSECONDS))
    starting = asyncio.gather(asyncio.to_thread(server.start))
    kinds: list[str] = []
    ledger.settle("ends", 7, TRUNK)
    async with Stopwatch() as watch:
        while True:
            try:
                answer = await ledger.reserve(claim(f"new{len(kinds)}", *TRUNK, hold=10))
                break
            except LedgerUnavailable as error:
                kinds.append(error.kind)
                ledger.release(f"new{len(kinds) - 1}")
            if await asyncio.to_thread(loads, server):
                watch.seconds = 0.0  # it is not over yet
            await asyncio.sleep(0.02)
    await starting
    assert isinstance(answer, Reservation)
    assert watch.seconds < RIGHT_AGAIN_SECONDS
    assert kinds.count("loading") > 5
    assert set(kinds) <= {"loading", "connection", "rebuilding", "timeout"}
    await settled(ledger)
    (usage,) = await ledger.usage(TRUNK)
    assert (usage.active_calls, usage.spent, usage.reserved) == (2, 7, 20)


def loads(server: Server) -> bool:
    """Whether it is there and says that it loads."""
    try:
        server.client().ping()
    except BusyLoadingError:
        return True
    except RedisError:
        return False
    return False
