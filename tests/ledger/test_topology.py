"""Ledgers that move from server to server: Sentinel and Cluster, on real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError

from proxy.ledger import keys
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable, Refused, Registration, Reservation
from proxy.ledger.redis_ledger import RedisLedger
from proxy.ledger.topology import topology_of
from tests.ledger.fleet import ClusterFleet, Node, SentinelFleet
from tests.ledger.servers import Opener, Stopwatch, claim, scope, settled, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

TRUNK = (scope(capacity=3, threshold=1000),)
AFTER_FAILOVER_SECONDS = 5.0
# A sentinel that stood still for two seconds trusts no clock, and does nothing, for thirty.
PROMOTED_SECONDS = 80.0


@pytest.fixture(params=["redis", "valkey"])
def sentinels(request: pytest.FixtureRequest, folder: Path) -> Iterator[SentinelFleet]:
    fleet = SentinelFleet(request.param, folder)
    yield fleet
    fleet.close()


def keeps(ledger: RedisLedger, live: list[str]) -> None:
    """Tell the calls of `live` when the ledger may have lost them."""

    async def restore(*_: object) -> None:
        await ledger.register([Registration(ref, "t", TRUNK, 1, 1.0, 1.0, 0, 0, 10, b"{}") for ref in live])

    ledger.on_loss(restore)


async def fill(ledger: RedisLedger) -> None:
    """One call that ended, two that live."""
    for ref in ("over", "r1", "r2"):
        assert isinstance(await ledger.reserve(claim(ref, *TRUNK, hold=10)), Reservation)
    keeps(ledger, ["r1", "r2"])
    ledger.settle("over", 7, TRUNK)
    await settled(ledger)


async def right_again(ledger: RedisLedger, seconds: float) -> None:
    """Decisions are right within `seconds`: one place is left, and only one."""
    n = 0
    async with Stopwatch() as watch:
        while True:
            n += 1
            try:
                answer = await ledger.reserve(claim(f"new{n}", *TRUNK, hold=10))
                break
            except LedgerUnavailable:
                ledger.release(f"new{n}")
                assert watch.seconds < seconds, "the ledger is not back in time"
                await asyncio.sleep(0.02)
    assert isinstance(answer, Reservation)
    keeps(ledger, ["r1", "r2", answer.ref])
    assert isinstance(await ledger.reserve(claim("one-too-many", *TRUNK, hold=10)), Refused)
    await settled(ledger)
    (usage,) = await ledger.usage(TRUNK)
    assert (usage.active_calls, usage.spent, usage.reserved) == (3, 7, 30)


async def promoted(node: Node) -> None:
    """Wait until a replica has become the primary."""

    def is_primary() -> bool:
        try:
            return node.client.info()["role"] == "master"  # type: ignore[index,return-value]
        except RedisError:
            return False

    await until(is_primary, PROMOTED_SECONDS)


async def test_sentinel(sentinels: SentinelFleet, opener: Opener) -> None:
    url = sentinels.url.replace("/main/0", "/other")
    with pytest.raises(LedgerUnavailable, match="knows no service `other`"):
        await topology_of(url).locate()
    located = await topology_of(sentinels.url.replace("://", "://user:pw@") + "?timeout=7").locate()
    assert located == f"redis://user:pw@127.0.0.1:{sentinels.primary.port}/0?timeout=7"

    ledger = await opener(sentinels.url)
    heard: list[str] = []
    ledger.on_hangup(lambda request: heard.append(str(request.ref)) or ["x"])
    await ledger.hears_hangups()
    await fill(ledger)
    if sentinels.server == "redis":
        sentinels.kill_primary()
        await until(lambda: not ledger.connected)
    else:
        # Asked for by an operator: the old primary lives on as a replica, and is left.
        sentinels.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", "main")
    await promoted(sentinels.replica)
    await right_again(ledger, AFTER_FAILOVER_SECONDS)
    refs: tuple[str, ...] = ()
    for _ in range(200):
        with suppress(LedgerUnavailable):
            refs = (await ledger.hang_up(ref="r1")).refs
        if refs:
            break
        await asyncio.sleep(0.05)
    assert refs == ("x",)
    assert set(heard) == {"r1"}


async def test_cluster(cluster: ClusterFleet, opener: Opener) -> None:
    ledger = await opener(cluster.url)
    await fill(ledger)
    assert cluster.primary.client.exists("{tw}:k:r1")
    cluster.kill_primary()
    await promoted(cluster.replica)
    await right_again(ledger, AFTER_FAILOVER_SECONDS)

    # The slot moves to another node, with all that is in it.
    slot, source, target = key_slot(keys.WHOLE.clock), cluster.replica, cluster.others[0]
    there = cluster.id_of(target)
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id_of(source))
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", there)
    names = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000)
    source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)
    for node in (target, source, cluster.others[1]):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there)
    async with asyncio.timeout(30):
        while True:
            try:
                answer = await ledger.reserve(claim("again", *TRUNK, hold=10))
                break
            except LedgerUnavailable:
                await asyncio.sleep(0.02)
    assert isinstance(answer, Refused)
    (usage,) = await ledger.usage(TRUNK)
    assert (usage.active_calls, usage.spent, usage.reserved) == (3, 7, 30)
    assert target.client.exists("{tw}:k:r1")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+sentinel://h:1", "redis\\+sentinel://host:port,host:port/service"),
        ("redis+sentinel://h/main/x", "service/database"),
        ("redis+sentinel:///main", "host:port"),
        ("redis+sentinel://h:x/main", "host:port"),
        ("redis+cluster://h:1,:2", "host:port"),
        ("redis+cluster://h/3", "database 0 only"),
    ],
)
def test_addresses_that_cannot_be(url: str, message: str) -> None:
    with pytest.raises(LedgerRefused, match=message):
        topology_of(url)


async def test_nobody_there(opener: Opener) -> None:
    for url in ("redis+sentinel://127.0.0.1:1,127.0.0.1:2/main", "redis+cluster://127.0.0.1:1"):
        with pytest.raises(LedgerUnavailable, match=r"127\.0\.0\.1:"):
            await topology_of(url).locate()
