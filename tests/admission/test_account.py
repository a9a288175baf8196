"""One call's account: pure sums."""

from __future__ import annotations

from policy.rating.rate import Rate
from proxy.admission.account import LEAD_SECONDS, first_block, least_block
from proxy.ledger.redis_ledger import RedisLedger
from tests.admission.bench import SECOND, UK, Bench, policy

BY_THE_MINUTE = Rate("44", "x", "USD", 600_000_000, 50_000_000, 60, 60)


def test_first_block_is_whole_increments() -> None:
    trunk = policy(trunk={"reserve_seconds": 45}).trunks["office"]
    rate = Rate("44", "x", "USD", 600_000_000, 50_000_000, 60, 60)
    assert first_block(trunk, rate) == (650_000, 60.0)
    assert first_block(trunk, Rate("44", "x", "USD", 60_000_000, 0, 30, 6)) == (48_000, 48.0)
    assert first_block(trunk, None) == (0, 45.0)


def test_least_block_is_one_increment() -> None:
    trunk = policy(trunk={"reserve_seconds": 600}).trunks["office"]
    assert least_block(trunk, BY_THE_MINUTE) == (650_000, 60.0)
    assert least_block(trunk, None) == (0, 600.0)


async def test_what_is_told_of_a_call_is_what_it_has_paid_and_used(ledger: RedisLedger) -> None:
    b = Bench(ledger, policy())
    call = await b.talk(UK)
    account = call.account
    assert account.block_end == b.now + 60
    assert account.lead == LEAD_SECONDS
    assert not account.runs_out(b.now + 49.9)
    assert account.runs_out(b.now + 50)
    told = account.registration(3 * SECOND, b.now + 20.5)
    assert (told.moved, told.spent, told.hold) == (3 * SECOND, 21 * SECOND, 39 * SECOND)
    assert (told.trunk, told.epoch, told.answered_age) == ("office", 1, 20.5)
    account.use_unpaid(b.now + 70)
    assert (account.paid_seconds, account.committed) == (70.0, 70 * SECOND)
