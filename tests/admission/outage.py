"""A ledger's server that goes away, and comes back."""

from __future__ import annotations

from proxy.call.session import CallSession
from proxy.ledger.ledger import Adopted
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from tests.ledger.servers import PATIENT, Server, until


async def stop(server: Server, ledger: RedisLedger) -> None:
    server.kill()
    await until(lambda: not ledger.connected)


async def back(server: Server, ledger: RedisLedger) -> None:
    server.start()
    await until(lambda: ledger.connected)


async def rebuilt(ledger: RedisLedger, server: Server) -> None:
    """Wait until the ledger is open again after it was emptied."""
    await until(lambda: server.client().hget("{tw}:epoch", "id") is not None)
    await until(lambda: ledger.connected)


async def left(server: Server, call: CallSession) -> Adopted:
    """What another instance would find of the call, its first one being gone."""
    other = await open_ledger(server.url, server.folder, lease_seconds=30, owner="two", deadline=PATIENT)
    (found,) = await other.adopt([call.ref], force=True)
    await other.close()
    return found
