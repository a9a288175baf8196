from __future__ import annotations

import asyncio

import pytest

from proxy.ledger.hangup import HangupRequest, HangupResult
from proxy.ledger.ledger import LedgerUnavailable
from proxy.ledger.redis_ledger import RedisLedger
from tests.ledger.servers import PATIENT, Opener, Server, until


async def listening(ledger: RedisLedger) -> None:
    async with asyncio.timeout(20):
        await ledger.hears_hangups()


async def test_every_instance_answers(server: Server, opener: Opener) -> None:
    asker, one, two = [await opener(server.url, name) for name in ("asker", "one", "two")]
    heard: list[HangupRequest] = []

    def handle(request: HangupRequest) -> list[str]:
        heard.append(request)
        return ["a", "b"]

    async def handle_later(request: HangupRequest) -> list[str]:
        await asyncio.sleep(0.05)
        heard.append(request)
        return ["c"]

    assert await asker.hang_up(trunk="t", within=PATIENT) == HangupResult(0, 0, ())
    one.on_hangup(handle)
    two.on_hangup(handle_later)
    await listening(one)
    await listening(two)
    for nonsense in ("", "[]", "{}", "7"):
        server.client().publish("{tw}:hangup", nonsense)
    result = await asker.hang_up(trunk="t", within=PATIENT)
    assert (result.asked, result.instances, sorted(result.refs)) == (2, 2, ["a", "b", "c"])
    assert [(request.ref, request.trunk) for request in heard] == [(None, "t"), (None, "t")]
    result = await asker.hang_up(ref="c", within=PATIENT)
    assert heard[-1].ref == "c"
    with pytest.raises(ValueError):
        await asker.hang_up()
    with pytest.raises(ValueError):
        await asker.hang_up(ref="a", trunk="b")


async def test_an_instance_that_fails_or_is_slow(server: Server, opener: Opener) -> None:
    asker, broken, slow = [await opener(server.url, name) for name in ("asker", "broken", "slow")]

    def fail(request: HangupRequest) -> list[str]:
        raise RuntimeError("no")

    async def sleep(request: HangupRequest) -> list[str]:
        await asyncio.sleep(60)
        return ["never"]

    broken.on_hangup(fail)
    slow.on_hangup(sleep)
    await listening(broken)
    await listening(slow)
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert await asker.hang_up(ref="x", within=1.0) == HangupResult(2, 1, ())
    assert 0.95 < loop.time() - start < 10.0
    keys = [key for key in server.client().scan_iter() if b"hangup" in key]
    assert all(0 < server.client().ttl(key) <= 60 for key in keys)


async def test_it_is_heard_again_after_a_restart(server: Server, opener: Opener) -> None:
    one = await opener(server.url)
    one.on_hangup(lambda request: ["a"])
    await listening(one)
    server.kill()
    with pytest.raises(LedgerUnavailable):
        await one.hang_up(ref="a", within=0.5)
    await until(lambda: not one.hearing_hangups)
    server.start()
    asker = await opener(server.url, "asker")
    await listening(one)
    assert (await asker.hang_up(ref="a", within=PATIENT)).refs == ("a",)
