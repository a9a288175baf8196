"""A ledger with a part for each account: on one server, and on a Cluster of three whose nodes share the
accounts."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from policy.attempts import Threshold, Tries, Velocity
from policy.reasons import ReasonCode
from proxy.ledger.keys import Keys
from proxy.ledger.ledger import LedgerUnavailable, Refused, Renewal, Renewed, Reservation
from proxy.ledger.sharded_ledger import connect_sharded_ledger
from tests.ledger.fleet import ClusterFleet
from tests.ledger.parts import ShardedOpener, claim, provider, settled, sharded, used
from tests.ledger.servers import Server, until

pytestmark = pytest.mark.long

ACCOUNTS = ("acme", "blue", "corp", "dove", "echo", "fox")


async def test_a_call_from_end_to_end(server: Server, sharded_opener: ShardedOpener) -> None:
    ledger = await sharded_opener(server.url)
    scopes = sharded("acme", provider(capacity=5), threshold=1000)
    assert isinstance(await ledger.reserve(claim("r1", scopes, 100)), Reservation)
    assert await used(ledger, *scopes) == [(1, 0, 100), (1, 0, 100), (1, 0, 0)]
    assert server.client().exists("{tw:account:acme}:k:r1", "{tw:provider:p}:k:r1", "{tw}:k:r1") == 2
    ledger.answered("r1", asyncio.get_running_loop().time(), state=b"dialog")
    ledger.remember("r1", b"later", 1)
    await settled(ledger)
    assert await ledger.renew([Renewal("r1", 40, 60, scopes)]) == [Renewed.GRANTED]
    assert await ledger.renew([Renewal("r1", 40, 2000, scopes)]) == [Renewed.NO_FUNDS]
    assert await used(ledger, *scopes) == [(1, 40, 60), (1, 40, 60), (1, 40, 0)]
    (call,) = await ledger.calls()
    assert (call.ref, call.spent, call.hold) == ("r1", 40, 60)
    assert await ledger.leases() == 1
    assert await ledger.audit(scopes) == []
    ledger.settle("r1", 70, scopes)
    await settled(ledger)
    assert await used(ledger, *scopes) == [(0, 70, 0)] * 3
    visitor = await connect_sharded_ledger(server.url, Path("unused"))
    assert await used(visitor, *scopes) == [(0, 70, 0)] * 3
    await visitor.close()


async def test_what_the_account_refuses_is_given_back(server: Server, sharded_opener: ShardedOpener) -> None:
    """The provider's place and its calls per second, too."""
    ledger = await sharded_opener(server.url)
    carrier = provider(cps=2)
    full = sharded("acme", carrier, capacity=0)
    for n in range(6):
        answer = await ledger.reserve(claim(f"no{n}", full))
        assert isinstance(answer, Refused)
        assert (answer.reason, answer.scope_id) == (ReasonCode.CAPACITY, "account:acme")
        await settled(ledger)
    assert await used(ledger, carrier) == [(0, 0, 0)]
    free = sharded("blue", carrier)
    answers = [await ledger.reserve(claim(f"r{n}", free)) for n in range(3)]
    assert [isinstance(one, Reservation) for one in answers] == [True, True, False]
    assert isinstance(answers[2], Refused)
    assert (answers[2].reason, answers[2].scope_id) == (ReasonCode.CPS, "provider:p")
    assert await used(ledger, free[0]) == [(2, 0, 0)]


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from proxy.ledger.sharded_ledger import open_sharded_ledger
from tests.ledger.parts import claim, provider, sharded

async def main(url, folder):
    ledger = await open_sharded_ledger(url, Path(folder), lease_seconds=0.5, owner="child", deadline=10.0)
    scopes = sharded("acme", provider(capacity=3))
    part = await ledger._shards.get("account:acme")
    await ledger._shards.get("provider:p")
    part.ask = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # between the two steps
    await ledger.reserve(claim("halfway", scopes))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_killed_between_the_two_steps_leaks_nothing(
    server: Server, sharded_opener: ShardedOpener
) -> None:
    ledger = await sharded_opener(server.url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, server.url, str(server.folder), env={"PYTHONPATH": str(Path.cwd())}
    )
    assert await asyncio.wait_for(process.wait(), 30) == -9
    carrier = provider(capacity=3)
    assert await used(ledger, carrier) == [(1, 0, 0)]
    for _ in range(300):
        await ledger._shards.refresh(now=True)
        await ledger.sweep()
        if await used(ledger, carrier) == [(0, 0, 0)]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the place was not given back")


async def test_cluster(cluster: ClusterFleet, sharded_opener: ShardedOpener) -> None:
    """Accounts on all three nodes; every limit is exact, the provider's over all of them, with 300 calls of
    two instances at once."""
    nodes = [cluster.primary, *cluster.others]
    instances = [await sharded_opener(cluster.url, owner) for owner in ("one", "two")]
    carrier = provider(capacity=20)
    scopes = {name: sharded(name, carrier, capacity=5, threshold=450) for name in ACCOUNTS}
    answers = await asyncio.gather(
        *[
            instances[n % 2].reserve(claim(f"r{n}", scopes[ACCOUNTS[n % len(ACCOUNTS)]], 100))
            for n in range(300)
        ]
    )
    admitted = [n for n, answer in enumerate(answers) if isinstance(answer, Reservation)]
    for one in instances:
        await settled(one)
    total = (await used(instances[0], carrier))[0]
    assert total == (len(admitted), 0, 0)
    assert len(admitted) <= 20
    by_account = {name: sum(ACCOUNTS[n % len(ACCOUNTS)] == name for n in admitted) for name in ACCOUNTS}
    for name, count in by_account.items():
        assert count <= 4  # the threshold has room for four
        assert await used(instances[1], scopes[name][0]) == [(count, 0, count * 100)]
    holding = [node for node in nodes if any(b"account:" in key for key in node.client.scan_iter())]
    assert len(holding) >= 2

    # One after the other all that there is can be had, and no more.
    for n in range(300, 400):
        answer = await instances[n % 2].reserve(claim(f"r{n}", scopes[ACCOUNTS[n % len(ACCOUNTS)]], 100))
        if isinstance(answer, Reservation):
            admitted.append(n)
        for one in instances:
            await settled(one)
    assert (await used(instances[0], carrier))[0] == (20, 0, 0)
    for n in admitted:
        instances[n % 2].settle(f"r{n}", 30, scopes[ACCOUNTS[n % len(ACCOUNTS)]])
    for one in instances:
        await settled(one)
    assert (await used(instances[0], carrier))[0] == (0, 600, 0)
    spent = [(await used(instances[0], scopes[name][0]))[0] for name in ACCOUNTS]
    assert sum(one[1] for one in spent) == 600
    assert {(one[0], one[2]) for one in spent} == {(0, 0)}


async def test_one_node_away_costs_its_accounts_alone(
    cluster: ClusterFleet, sharded_opener: ShardedOpener
) -> None:
    ledger = await sharded_opener(cluster.url)
    scopes = {name: sharded(name, replace(provider(), shard="")) for name in ACCOUNTS}
    scopes = {name: some[:2] for name, some in scopes.items()}
    for name in ACCOUNTS:
        assert isinstance(await ledger.reserve(claim(f"r-{name}", scopes[name])), Reservation)
    calls = {name: Keys(f"account:{name}").call(f"r-{name}") for name in ACCOUNTS}
    gone = next(node for node in cluster.others if set(calls.values()) & set(node.client.scan_iter()))
    there = set(gone.client.scan_iter())
    held = {name for name in ACCOUNTS if calls[name] in there}
    assert 0 < len(held) < len(ACCOUNTS)
    for node in {cluster.primary, *cluster.others} - {gone}:  # they go on without it
        node.client.config_set("cluster-require-full-coverage", "no")
    gone.kill()
    renewed = await ledger.renew([Renewal(f"r-{name}", 0, 0, scopes[name]) for name in ACCOUNTS])
    assert {name for name, outcome in zip(ACCOUNTS, renewed, strict=True) if outcome == Renewed.AWAY} == held
    for name in ACCOUNTS:
        try:
            answer = await ledger.reserve(claim(f"s-{name}", scopes[name]))
        except LedgerUnavailable:
            assert name in held
        else:
            assert isinstance(answer, Reservation)
            assert name not in held


async def test_credentials_are_used_once_wherever_they_were_refused(
    server: Server, sharded_opener: ShardedOpener
) -> None:
    ledger = await sharded_opener(server.url)
    full, free = sharded("acme", provider(capacity=0)), sharded("acme", provider())
    answers = [
        await ledger.reserve(replace(claim(ref, scopes), use=b"nonce.1"))
        for ref, scopes in (("r1", full), ("r2", free), ("r3", free))
    ]
    assert [answer.reason for answer in answers if isinstance(answer, Refused)] == [
        ReasonCode.CAPACITY,
        ReasonCode.AUTH,
        ReasonCode.AUTH,
    ]


async def test_attempts_are_counted_in_the_accounts_part(
    server: Server, sharded_opener: ShardedOpener
) -> None:
    first, second = await sharded_opener(server.url, "one"), await sharded_opener(server.url, "two")
    velocity = Velocity(calls_per_callee=Threshold(None, 2))
    tries = Tries("442079460018", "acme-pbx/GB", "trunk:acme-pbx", velocity, shard="account:acme")
    answers = []
    for number, ledger in enumerate((first, second, first, second)):
        asked = claim(f"r{number}", sharded("acme", provider(capacity=9)))
        asked.tries = tries
        answers.append(await ledger.reserve(asked))
    assert [isinstance(answer, Reservation) for answer in answers] == [True, True, False, False]
    assert isinstance(answers[-1], Refused)
    assert (answers[-1].reason, answers[-1].kind) == (ReasonCode.WINDOW, "calls_per_callee")
    assert (await first.tries(tries)).callee == 3
    await until(lambda: first.waiting == 0 and second.waiting == 0)
    (usage,) = await first.usage([provider()])
    assert usage.active_calls == 2  # what the account's part refused is given back
