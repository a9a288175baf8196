"""The ledger loses data, all of it or the last of it: closed until the instances that live have told their
calls."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from policy.compiled import Window
from proxy.ledger import membership, outbox
from proxy.ledger.ledger import Concerns, LedgerUnavailable, Refused, Registration, Renewal, Reservation
from proxy.ledger.redis_ledger import RedisLedger
from tests.ledger.servers import Opener, Server, Stopwatch, claim, scope, settled, until

pytestmark = pytest.mark.long

TRUNK = (scope(threshold=10_000, capacity=10), scope("provider:p"))


class Instance:
    """An instance with live calls, as far as the ledger is concerned."""

    def __init__(self, ledger: RedisLedger) -> None:
        self.ledger = ledger
        self.live: dict[str, tuple[int, int]] = {}
        self.restored = 0
        ledger.on_loss(self.restore)

    async def call(self, ref: str, hold: int) -> None:
        assert isinstance(await self.ledger.reserve(claim(ref, *TRUNK, hold=hold)), Reservation)
        self.live[ref] = (0, hold)

    async def spend(self, ref: str, spent: int) -> None:
        total = sum(self.live[ref])
        self.live[ref] = (spent, total - spent)
        await self.ledger.renew([Renewal(ref, spent, total - spent, TRUNK)])

    def end(self, ref: str, cost: int) -> None:
        moved, _ = self.live.pop(ref)
        self.ledger.settle(ref, cost, TRUNK, moved=moved)

    async def restore(self, remembered: bool, _: Concerns) -> None:
        await self.ledger.register(
            [
                Registration(ref, "t", TRUNK, 1, 1.0, 1.0, spent * remembered, spent, hold, b"{}")
                for ref, (spent, hold) in self.live.items()
            ]
        )
        self.restored += 1


@pytest.fixture
def all_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every instance comes to the rebuild, however long the machine stands still: it is waited for."""
    monkeypatch.setattr(membership, "AWAITED_SECONDS", 25.0)


async def three(server: Server, opener: Opener) -> list[Instance]:
    return [Instance(await opener(server.url, f"i{n}")) for n in range(3)]


async def numbers(ledger: RedisLedger) -> list[tuple[int, int, int]]:
    return [(one.active_calls, one.spent, one.reserved) for one in await ledger.usage(TRUNK)]


async def acquainted(*instances: Instance) -> None:
    """Wait until each knows of the others."""
    members = [one.ledger._membership for one in instances]
    owners = {member._owner for member in members}
    await until(lambda: all(owners - {member._owner} <= set(member._others) for member in members))


async def lost(server: Server, *instances: Instance) -> None:
    """Kill the server, and wait until every instance knows."""
    server.kill()
    await until(lambda: not any(one.ledger.connected for one in instances))


async def open_again(server: Server, *instances: Instance, seconds: float = 5.0) -> float:
    """Wait until calls can be reserved; how long that took."""
    async with Stopwatch() as watch:
        await until(lambda: server.client().hget("{tw}:epoch", "id") is not None, seconds)
        await until(lambda: all(one.ledger.connected for one in instances), seconds)
    return watch.seconds


@pytest.mark.usefixtures("all_come")
async def test_emptied_in_mid_call(server: Server, opener: Opener) -> None:
    instances = await three(server, opener)
    for n, instance in enumerate(instances):
        for ref in ("a", "b", "c"):
            await instance.call(f"{ref}{n}", 100)
        await instance.spend(f"a{n}", 40)
        instance.end(f"c{n}", 70)
        await settled(instance.ledger)
    for instance in instances:
        assert await numbers(instance.ledger) == [(6, 330, 480)] * 2
    await acquainted(*instances)
    server.client().flushall()
    # Nobody is admitted on the strength of an empty ledger.
    with pytest.raises(LedgerUnavailable) as error:
        await instances[1].ledger.reserve(claim("new", *TRUNK, hold=1))
    assert error.value.kind == "rebuilding"
    assert not error.value.sent
    assert await open_again(server, *instances) < 2.5
    # What the calls hold, and what was spent when it was last looked at: exactly, at every scope.
    assert await numbers(instances[0].ledger) == [(6, 330, 480)] * 2
    assert [one.restored for one in instances] == [1, 1, 1]
    for n in range(4):
        assert isinstance(await instances[n % 3].ledger.reserve(claim(f"n{n}", *TRUNK)), Reservation)
    assert isinstance(await instances[0].ledger.reserve(claim("n9", *TRUNK)), Refused)


@pytest.mark.usefixtures("all_come")
async def test_a_settlement_that_was_fenced_ends_nothing_in_an_emptied_ledger(
    server: Server, opener: Opener
) -> None:
    former, owner = [Instance(await opener(server.url, name)) for name in ("former", "owner")]
    await former.call("r1", 100)
    former.ledger.answered("r1", 0.0)
    former.ledger.remember("r1", b"x", 1)
    await settled(former.ledger)
    (taken,) = await owner.ledger.adopt(["r1"], force=True)
    former.end("r1", 30)
    await settled(former.ledger)
    await acquainted(former, owner)

    async def restore(*_: object) -> None:
        # The former owner tells what it settled last before it is asked for its calls.
        await until(lambda: former.restored == 1)
        call = Registration("r1", "t", TRUNK, taken.epoch, 1.0, 1.0, 0, 0, 100, b"{}")
        await owner.ledger.register([call])

    owner.ledger.on_loss(restore)
    server.client().flushall()
    with pytest.raises(LedgerUnavailable):
        await owner.ledger.reserve(claim("new", *TRUNK))
    await open_again(server, former, owner)
    assert await numbers(owner.ledger) == [(1, 0, 100)] * 2


@pytest.mark.parametrize("window", [Window.ROLLING_24H, Window.UTC_DAY])
async def test_what_was_seen_spent_is_not_forgotten(server: Server, opener: Opener, window: Window) -> None:
    ledger = await opener(server.url)
    trunk = scope(threshold=100, window=window)
    ledger.settle("r1", 90, (trunk,))
    await settled(ledger)
    await ledger.usage([trunk])
    server.client().flushall()
    ledger.settle("r2", 5, (trunk,))  # before anybody noticed
    instance = Instance(ledger)
    await open_again(server, instance)
    (usage,) = await ledger.usage([trunk])
    assert 90 <= usage.spent <= 95
    assert isinstance(await ledger.reserve(claim("r3", trunk, hold=11)), Refused)


@pytest.mark.usefixtures("all_come")
async def test_epoch_alone_lost_doubles_nothing(server: Server, opener: Opener) -> None:
    instances = await three(server, opener)
    for n, instance in enumerate(instances):
        await instance.call(f"r{n}", 100)
        await instance.call(f"e{n}", 100)
        await instance.spend(f"r{n}", 40)
        instance.end(f"e{n}", 33)
        await settled(instance.ledger)
    before = await numbers(instances[0].ledger)
    for damage in (lambda c: c.delete("{tw}:epoch"), lambda c: c.set("{tw}:epoch", "nonsense")):
        damage(server.client())
        await until(lambda: server.client().type("{tw}:epoch") == b"hash")
        await open_again(server, *instances)
        assert await numbers(instances[0].ledger) == before == [(3, 219, 180)] * 2


async def test_an_instance_that_does_not_come_is_not_waited_for_long(server: Server, opener: Opener) -> None:
    one, two = [Instance(await opener(server.url, name)) for name in ("one", "two")]
    await one.call("r1", 10)
    await two.call("r2", 20)

    async def never(*_: object) -> None:
        raise LedgerUnavailable("timeout", "out of reach")

    two.ledger.on_loss(never)
    await acquainted(one, two)
    start = asyncio.get_running_loop().time()
    server.client().flushall()
    with pytest.raises(LedgerUnavailable):
        await one.ledger.reserve(claim("new", *TRUNK))
    assert await open_again(server, one) < 4
    assert asyncio.get_running_loop().time() - start > 1.5
    assert (await numbers(one.ledger))[0][0] == 1
    # It is late, and its calls are taken in: they live, whatever the limits say.
    two.ledger.on_loss(two.restore)
    await until(lambda: two.ledger.connected)
    assert await numbers(one.ledger) == [(2, 0, 30)] * 2


async def test_who_left_is_not_waited_for(server: Server, opener: Opener) -> None:
    one, two = await opener(server.url, "one"), await opener(server.url, "two")
    await two.close()
    await one.close()
    server.kill()
    server.start()
    async with Stopwatch() as watch:
        fresh = await opener(server.url, "three")
    assert watch.seconds < 1.8  # waiting would take two seconds
    assert isinstance(await fresh.reserve(claim("r1", *TRUNK)), Reservation)


@pytest.mark.usefixtures("all_come")
async def test_a_restart_with_the_data_of_a_moment_ago(server: Server, opener: Opener) -> None:
    """As after a crash with `appendfsync everysec`: what was done last is forgotten, and is told again."""
    server.client().config_set("appendfsync", "always")  # else it may forget more than is meant here
    instances = await three(server, opener)
    data, kept = server.folder / "appendonlydir", server.folder / "kept"
    for n, instance in enumerate(instances):
        for ref in ("old", "ended", "spent"):
            await instance.call(f"{ref}{n}", 100)
    shutil.copytree(data, kept)
    for n, instance in enumerate(instances):
        instance.end(f"ended{n}", 60)  # forgotten: the call comes back in the data
        await instance.spend(f"spent{n}", 30)  # forgotten
        await settled(instance.ledger)
    # None of these is in the data at all.
    await instances[0].call("new0", 100)
    await instances[1].call("brief1", 100)
    await instances[1].spend("brief1", 10)
    instances[1].end("brief1", 25)
    await settled(instances[1].ledger)
    before = await numbers(instances[0].ledger)
    assert before == [(7, 295, 610)] * 2
    await lost(server, *instances)
    shutil.rmtree(data)
    kept.rename(data)
    server.start()
    took = await open_again(server, *instances)
    assert took < 2.5
    for instance in instances:
        await settled(instance.ledger)
    after = await numbers(instances[0].ledger)
    # `brief1` began and ended in what is forgotten, all but what its renewal had moved is told again.
    assert after == [(7, before[0][1] - 10, 610)] * 2
    assert sorted(call.ref for call in await instances[0].ledger.calls()) == sorted(
        ref for instance in instances for ref in instance.live
    )


async def test_what_was_settled_last_is_kept_through_a_long_outage(
    server: Server, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settlements that waited meanwhile do not make it forgotten, however long the server was away."""
    server.client().config_set("appendfsync", "always")  # else it may forget more than is meant here
    instance = Instance(await opener(server.url))
    for ref in ("last", "waits"):
        await instance.call(ref, 100)
    data, kept = server.folder / "appendonlydir", server.folder / "kept"
    shutil.copytree(data, kept)
    instance.end("last", 60)
    await settled(instance.ledger)
    await lost(server, instance)
    monkeypatch.setattr(outbox, "REPEATED_SECONDS", 0.3)
    instance.end("waits", 30)
    await asyncio.sleep(0.6)
    shutil.rmtree(data)
    kept.rename(data)
    server.start()
    await open_again(server, instance)
    await settled(instance.ledger)
    assert await numbers(instance.ledger) == [(0, 90, 0)] * 2


async def test_what_was_settled_is_let_go_of(ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(100):
        ledger.settle(f"r{n}", 1, TRUNK)
    await settled(ledger)
    assert len(ledger._outbox._done) == 100
    monkeypatch.setattr(outbox, "REPEATED_SECONDS", 1.0)
    await until(lambda: not ledger._outbox._done)


@pytest.mark.usefixtures("all_come")
async def test_a_restart_that_lost_nothing_changes_nothing(server: Server, opener: Opener) -> None:
    instances = await three(server, opener)
    for n, instance in enumerate(instances):
        await instance.call(f"r{n}", 100)
        await instance.call(f"e{n}", 100)
        instance.end(f"e{n}", 9)
        await settled(instance.ledger)
    before = await numbers(instances[0].ledger)
    for _ in range(2):
        await lost(server, *instances)
        server.start()
        await open_again(server, *instances)
        for instance in instances:
            await settled(instance.ledger)
        assert await numbers(instances[0].ledger) == before == [(3, 27, 300)] * 2


async def test_out_of_reach_while_it_was_rebuilt(server: Server, opener: Opener) -> None:
    """An instance that was away during all of it finds another epoch, and tells its calls."""
    one, two = [Instance(await opener(server.url, name)) for name in ("one", "two")]
    await two.call("r2", 20)
    restore, held = two.restore, asyncio.Event()

    async def later(remembered: bool, concerns: Concerns) -> None:
        await held.wait()
        await restore(remembered, concerns)

    two.ledger.on_loss(later)
    client = server.client()
    client.flushall()
    with pytest.raises(LedgerUnavailable):
        await one.ledger.reserve(claim("new", *TRUNK))
    await open_again(server, one)
    held.set()
    await until(lambda: two.restored == 1)
    assert await numbers(one.ledger) == [(1, 0, 20)] * 2


async def test_what_others_remembered_of_an_emptied_ledger_is_not_told_again(
    server: Server, opener: Opener
) -> None:
    one, two = [Instance(await opener(server.url, name)) for name in ("one", "two")]
    two.ledger.settle("r1", 50, TRUNK)
    await settled(two.ledger)
    assert await numbers(one.ledger) == [(0, 50, 0)] * 2
    keeping = two.ledger._membership._keeping
    assert keeping is not None
    keeping.cancel()  # out of reach while it is rebuilt
    server.client().flushall()
    with pytest.raises(LedgerUnavailable):
        await one.ledger.reserve(claim("new", *TRUNK))
    await open_again(server, one, seconds=30)
    await two.ledger.join()
    assert two.restored == 1
    server.client().delete("{tw}:epoch")
    with pytest.raises(LedgerUnavailable):
        await two.ledger.reserve(claim("new", *TRUNK))
    await open_again(server, one, two, seconds=30)
    await settled(two.ledger)
    assert await numbers(one.ledger) == [(0, 50, 0)] * 2
