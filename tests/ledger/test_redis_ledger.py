"""The verbs, one client at a time, on both servers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from policy.compiled import Window
from policy.reasons import ReasonCode
from proxy.call.nonce import NONCE_MEMORY_SECONDS
from proxy.ledger.ledger import (
    LedgerUnavailable,
    Refused,
    Renewal,
    Renewed,
    Reservation,
)
from proxy.ledger.redis_ledger import RedisLedger
from proxy.observe.clock import utc_now
from tests.ledger.servers import Opener, Server, claim, scope, until


async def test_reserve_answer_settle(ledger: RedisLedger) -> None:
    account, trunk = scope("account:a", threshold=1000), scope(capacity=2, threshold=500)
    answer = await ledger.reserve(claim("r1", account, trunk, hold=300))
    assert isinstance(answer, Reservation)
    assert answer.ref == "r1"
    assert abs(answer.ledger_ms / 1000 - utc_now().timestamp()) < 60
    now = asyncio.get_running_loop().time()
    ledger.answered("r1", now - 0.5)
    (call,) = await ledger.calls()
    assert (call.ref, call.trunk, call.owner, call.spent, call.hold) == ("r1", "t", "one", 0, 300)
    assert call.record == b'{"call_id":"a"}'
    assert call.reserved_ms == answer.ledger_ms
    assert call.answered_ms is not None
    assert call.answered_ms >= call.reserved_ms
    usage = await ledger.usage([account, trunk])
    assert [(u.active_calls, u.spent, u.reserved) for u in usage] == [(1, 0, 300), (1, 0, 300)]
    ledger.settle("r1", 120)
    usage = await ledger.usage([account, trunk])
    assert [(u.active_calls, u.spent, u.reserved) for u in usage] == [(0, 120, 0), (0, 120, 0)]
    assert await ledger.calls() == []


async def test_same_ref_reserved_again_has_no_second_effect(ledger: RedisLedger) -> None:
    trunk = scope(capacity=1, cps=1, threshold=300)
    first = await ledger.reserve(claim("r1", trunk, hold=300))
    assert await ledger.reserve(claim("r1", trunk, hold=300)) == first
    (usage,) = await ledger.usage([trunk])
    assert (usage.active_calls, usage.reserved) == (1, 300)


async def test_settle_again_does_nothing(ledger: RedisLedger) -> None:
    trunk = scope()
    for ref in ("r1", "r2"):
        await ledger.reserve(claim(ref, trunk, hold=10))
    for _ in range(3):
        ledger.settle("r1", 7)
        ledger.release("r1")
        ledger.answered("r1", 0.0)
    (usage,) = await ledger.usage([trunk])
    assert (usage.active_calls, usage.spent, usage.reserved) == (1, 7, 10)


@pytest.mark.parametrize("known", [True, False])
async def test_late_duplicate_does_not_resurrect_an_ended_call(ledger: RedisLedger, known: bool) -> None:
    trunk = scope()
    if known:
        await ledger.reserve(claim("r1", trunk))
    ledger.release("r1")
    with pytest.raises(LedgerUnavailable) as error:
        await ledger.reserve(claim("r1", trunk))
    assert error.value.kind == "other"
    (usage,) = await ledger.usage([trunk])
    assert usage.active_calls == 0


async def test_refusals_name_the_scope_and_write_nothing(ledger: RedisLedger) -> None:
    wide = [scope("account:a"), scope("profile:p"), scope("trunk:t")]
    narrow = {
        ReasonCode.CPS: scope("provider:x", cps=0),
        ReasonCode.CAPACITY: scope("provider:x", capacity=0),
        ReasonCode.SPEND: scope("provider:x", threshold=99),
    }
    for reason, tight in narrow.items():
        for place in range(4):
            scopes = [*wide[:place], tight, *wide[place:]]
            answer = await ledger.reserve(claim(f"{reason}{place}", *scopes, hold=100))
            assert isinstance(answer, Refused)
            assert (answer.reason, answer.scope_id) == (reason, "provider:x")
            for usage in await ledger.usage(scopes):
                assert (usage.active_calls, usage.spent, usage.reserved) == (0, 0, 0)
    assert await ledger.calls() == []


async def test_cps_is_judged_before_capacity_and_capacity_before_spend(ledger: RedisLedger) -> None:
    first = scope("account:a", threshold=0)
    second = scope("trunk:t", capacity=0)
    third = scope("provider:x", cps=0)
    for scopes, reason in (
        ((first, second, third), "CPS"),
        ((first, second), "CAPACITY"),
        ((first,), "SPEND"),
    ):
        answer = await ledger.reserve(claim("r", *scopes, hold=1))
        assert isinstance(answer, Refused)
        assert answer.reason == reason


async def test_exactly_the_threshold_is_allowed(ledger: RedisLedger) -> None:
    trunk = scope(threshold=100)
    assert isinstance(await ledger.reserve(claim("r1", trunk, hold=60)), Reservation)
    ledger.settle("r1", 30)
    assert isinstance(await ledger.reserve(claim("r2", trunk, hold=70)), Reservation)
    answer = await ledger.reserve(claim("r3", trunk, hold=1))
    assert isinstance(answer, Refused)
    assert answer.detail == "0.0001 of 0.0001 spent or held, 0.000001 more wanted"
    assert isinstance(await ledger.reserve(claim("r4", trunk, hold=0)), Reservation)


async def test_large_amounts_are_exact(ledger: RedisLedger) -> None:
    trunk = scope(threshold=2**53 - 1)
    big = 2**52 + 12345
    await ledger.reserve(claim("r1", trunk, hold=big))
    ledger.settle("r1", big)
    await ledger.reserve(claim("r2", trunk, hold=2**52 - 12346))
    (usage,) = await ledger.usage([trunk])
    assert (usage.spent, usage.reserved) == (big, 2**52 - 12346)
    assert isinstance(await ledger.reserve(claim("r3", trunk, hold=1)), Refused)
    with pytest.raises(ValueError):
        await ledger.reserve(claim("r4", trunk, hold=2**53))
    with pytest.raises(ValueError):
        ledger.settle("r2", -1)


async def test_renew_moves_money_and_holds_on(ledger: RedisLedger) -> None:
    trunk, account = scope(threshold=100), scope("account:a")
    scopes = (account, trunk)
    await ledger.reserve(claim("r1", *scopes, hold=60))

    async def renew(spent: int, hold: int) -> tuple[str, int, int, int]:
        (outcome,) = await ledger.renew([Renewal("r1", spent, hold, scopes)])
        one, two = await ledger.usage(scopes)
        assert (one.spent, one.reserved) == (two.spent, two.reserved)
        (call,) = await ledger.calls()
        assert (call.spent, call.hold) == (two.spent, two.reserved)
        return outcome, two.active_calls, two.spent, two.reserved

    assert await renew(20, 60) == (Renewed.GRANTED, 1, 20, 60)
    assert await renew(20, 60) == (Renewed.GRANTED, 1, 20, 60)  # repeated
    assert await renew(10, 60) == (Renewed.GRANTED, 1, 20, 60)  # late
    assert await renew(50, 50) == (Renewed.GRANTED, 1, 50, 50)  # exactly the threshold
    assert await renew(60, 60) == (Renewed.NO_FUNDS, 1, 60, 40)  # the old hold, less what was spent of it
    assert await renew(60, 10) == (Renewed.GRANTED, 1, 60, 10)
    assert await renew(85, 10) == (Renewed.GRANTED, 1, 85, 10)  # more than was held
    assert await renew(95, 10) == (Renewed.NO_FUNDS, 1, 95, 0)
    ledger.settle("r1", 95)
    (usage,) = await ledger.usage([trunk])
    assert (usage.active_calls, usage.spent, usage.reserved) == (0, 95, 0)


async def test_renew_judges_by_the_limits_now_in_force(ledger: RedisLedger) -> None:
    await ledger.reserve(claim("r1", scope(threshold=1000), hold=100))
    lowered = (scope(threshold=150), scope("profile:new", threshold=0))
    assert await ledger.renew([Renewal("r1", 60, 100, lowered)]) == [Renewed.NO_FUNDS]
    assert await ledger.renew([Renewal("r1", 60, 100, ())]) == [Renewed.GRANTED]


async def test_renew_many(server: Server, opener: Opener) -> None:
    ledger, other = await opener(server.url), await opener(server.url, "two")
    trunks = [(scope(f"trunk:{n}", threshold=10**6),) for n in range(5)]
    refs = [f"r{n}" for n in range(200)]
    await asyncio.gather(*[ledger.reserve(claim(ref, *trunks[n % 5], hold=10)) for n, ref in enumerate(refs)])
    await other.reserve(claim("foreign", *trunks[0]))
    renewals = [Renewal(ref, n, 20, trunks[n % 5]) for n, ref in enumerate(refs)]
    renewals[77:77] = [Renewal("unknown", 5, 5, trunks[0]), Renewal("foreign", 5, 5, trunks[0])]
    outcomes = await ledger.renew(renewals)
    assert outcomes[77:79] == [Renewed.GONE, Renewed.FENCED]
    assert set(outcomes[:77] + outcomes[79:]) == {Renewed.GRANTED}
    usage = await ledger.usage([scopes[0] for scopes in trunks])
    assert [u.spent for u in usage] == [sum(range(n, 200, 5)) for n in range(5)]
    assert [u.reserved for u in usage] == [800] * 5
    assert await ledger.renew([]) == []


async def test_sweep_settles_what_lapsed(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url, lease_seconds=0.2)
    patient = await opener(server.url, "two", lease_seconds=60)
    trunk = scope()
    for n in range(100):
        await ledger.reserve(claim(f"r{n}", trunk, hold=10))
    await ledger.renew([Renewal("r0", 4, 10, (trunk,)), Renewal("r1", 4, 10, (trunk,))])
    ledger.answered("r0", asyncio.get_running_loop().time())
    await patient.reserve(claim("alive", trunk, hold=10))
    await asyncio.sleep(0.25)
    assert await ledger.sweep() == 100
    assert await ledger.sweep() == 0
    (usage,) = await ledger.usage([trunk])
    # r0 was answered: what it held is charged; r1 rang: only what it told us of is.
    assert (usage.active_calls, usage.spent, usage.reserved) == (1, 18, 10)
    assert await ledger.renew([Renewal("r0", 20, 10, (trunk,))]) == [Renewed.GONE]
    ledger.settle("r0", 1000)
    (usage,) = await ledger.usage([trunk])
    assert usage.spent == 18
    assert await ledger.renew([Renewal("r0", 20, 10, (trunk,))]) == [Renewed.FENCED]


async def test_both_windows_are_kept(ledger: RedisLedger) -> None:
    rolling, daily = scope(), scope(window=Window.UTC_DAY)
    await ledger.reserve(claim("r1", rolling))
    ledger.settle("r1", 5)
    one, two = await ledger.usage([rolling, daily])
    assert (one.spent, two.spent) == (5, 5)
    assert two.window_starts_at_ms % 86_400_000 == 0
    assert one.window_starts_at_ms % 60_000 == 0


async def test_a_call_without_scopes(ledger: RedisLedger) -> None:
    assert isinstance(await ledger.reserve(claim("sos", hold=5)), Reservation)
    assert await ledger.renew([Renewal("sos", 1, 5, ())]) == [Renewed.GRANTED]
    ledger.settle("sos", 5)
    assert await ledger.calls() == []


async def test_secret_is_made_once(server: Server, opener: Opener) -> None:
    one, two = await opener(server.url), await opener(server.url, "two")
    secrets = await asyncio.gather(one.secret(), two.secret(), one.secret())
    assert len(set(secrets)) == 1
    assert len(secrets[0]) == 32


async def test_keys_are_as_documented(ledger: RedisLedger, server: Server) -> None:
    trunk = scope("trunk:office-pbx", cps=10)
    await ledger.reserve(claim("r1", trunk, hold=5))
    await ledger.reserve(claim("r2", trunk, hold=5))
    ledger.settle("r2", 5)
    await ledger.ping()
    client = server.client()
    found = {key.decode(): client.type(key).decode() for key in client.scan_iter()}
    assert found == {
        "{tw}:clock": "string",
        "{tw}:epoch": "hash",
        "{tw}:instances": "zset",
        "{tw}:scopes": "set",
        "{tw}:leases": "zset",
        "{tw}:k:r1": "hash",
        "{tw}:d:r1": "string",
        "{tw}:k:r2": "hash",
        "{tw}:s:trunk:office-pbx": "hash",
        "{tw}:w:trunk:office-pbx": "list",
        "{tw}:c:trunk:office-pbx": "list",
    }
    assert client.hgetall("{tw}:k:r2") == {b"x": b"1"}
    assert 170 < client.ttl("{tw}:k:r2") <= 180
    assert 89_000 < client.ttl("{tw}:w:trunk:office-pbx") <= 90_000
    assert 0 < client.pttl("{tw}:c:trunk:office-pbx") <= 2000
    for key in ("{tw}:k:r1", "{tw}:s:trunk:office-pbx"):
        assert client.object("ENCODING", key) == b"listpack"
        assert client.memory_usage(key) < 400


async def test_a_damaged_call_stands_in_nobodys_way(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url, lease_seconds=0.1)
    trunk = scope()
    for ref in ("a", "b", "c"):
        await ledger.reserve(claim(ref, trunk))
    client = server.client()
    client.delete("{tw}:k:b")
    client.set("{tw}:k:b", "nonsense")
    assert [call.ref for call in await ledger.calls()] == ["a", "c"]
    renewals = [Renewal(ref, 0, 0, (trunk,)) for ref in ("a", "b", "c")]
    assert await ledger.renew(renewals) == [Renewed.GRANTED, Renewed.GONE, Renewed.GRANTED]
    await asyncio.sleep(0.15)
    assert await ledger.sweep() == 3
    assert client.zcard("{tw}:leases") == 0


async def test_close_twice(server: Server, opener: Opener) -> None:
    ledger = await opener(server.url)
    await ledger.close()
    ledger.settle("r1", 1)
    await asyncio.wait_for(ledger.close(), 5.0)
    with pytest.raises(LedgerUnavailable):
        await ledger.ping()


async def test_ask_answers_without_a_task(ledger: RedisLedger, server: Server) -> None:
    answers: list[object] = []
    trunk = scope(capacity=1)
    for ref in ("a", "b"):
        ledger.ask(claim(ref, trunk), answers.append)
    ledger.flush()
    await until(lambda: len(answers) == 2)
    assert isinstance(answers[0], Reservation)
    assert isinstance(answers[1], Refused)
    server.kill()
    await until(lambda: not ledger.connected)
    ledger.ask(claim("c", trunk), answers.append)
    assert isinstance(answers[2], LedgerUnavailable)
    assert not answers[2].sent


async def test_credentials_are_used_by_one_call(server: Server, opener: Opener) -> None:
    one, other = await opener(server.url), await opener(server.url, owner="other")
    trunk = scope(capacity=2)

    async def ask(ledger: RedisLedger, ref: str, use: bytes) -> object:
        asked = claim(ref, trunk)
        asked.use = use
        return await ledger.reserve(asked)

    first = await ask(one, "r1", b"nonce.00000001")
    assert isinstance(first, Reservation)
    assert await ask(one, "r1", b"nonce.00000001") == first  # asked again after a lost answer
    replayed = await ask(other, "r2", b"nonce.00000001")
    assert isinstance(replayed, Refused)
    assert (replayed.reason, replayed.scope_id) == (ReasonCode.AUTH, trunk.id)
    assert isinstance(await ask(other, "r2", b"nonce.00000002"), Reservation)
    (usage,) = await one.usage([trunk])
    assert usage.active_calls == 2
    # A call without room uses its credentials up, too.
    full = await ask(one, "r3", b"nonce.00000003")
    assert isinstance(full, Refused)
    assert full.reason is ReasonCode.CAPACITY
    again = await ask(other, "r4", b"nonce.00000003")
    assert isinstance(again, Refused)
    assert again.reason is ReasonCode.AUTH


async def test_what_credentials_used_up_is_forgotten_in_time(server: Server, ledger: RedisLedger) -> None:
    first = claim("r1", scope())
    first.use = b"nonce.00000001"
    assert isinstance(await ledger.reserve(first), Reservation)
    assert server.client().ttl("{tw}:n:nonce.00000001") == pytest.approx(NONCE_MEMORY_SECONDS, abs=3)


async def test_the_smallest_hold_stands_in_for_one_that_does_not_fit(ledger: RedisLedger) -> None:
    scopes = (scope("account:a", threshold=1000), scope("trunk:t", threshold=100))
    held: list[int] = []
    for n in range(4):
        answer = await ledger.reserve(replace(claim(f"r{n}", *scopes, hold=60), least=15))
        if isinstance(answer, Reservation):
            held.append(answer.hold)
    assert held == [60, 15, 15]
    answer = await ledger.reserve(replace(claim("r1", *scopes, hold=60), least=15))
    assert isinstance(answer, Reservation)
    assert answer.hold == 15  # asked again: as it was
    usages = await ledger.usage(scopes)
    assert [(one.active_calls, one.reserved) for one in usages] == [(3, 90)] * 2
    refused = await ledger.reserve(replace(claim("r9", *scopes, hold=60), least=15))
    assert isinstance(refused, Refused)
    assert refused.detail == "0.00009 of 0.0001 spent or held, 0.000015 more wanted"
