"""A ledger's server that goes away, and comes back."""

from __future__ import annotations

from proxy.ledger.redis_ledger import RedisLedger
from tests.ledger.servers import Server, until


async def stop(server: Server, ledger: RedisLedger) -> None:
    server.kill()
    await until(lambda: not ledger.connected)


async def back(server: Server, ledger: RedisLedger) -> None:
    server.start()
    await until(lambda: ledger.connected)
