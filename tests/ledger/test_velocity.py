"""How often callees are tried, on both servers: counted also when the call is refused, bounded, exact."""

from __future__ import annotations

import asyncio

import pytest

from policy.attempts import Threshold, Tries, Velocity, WindowCount
from policy.reasons import ReasonCode
from proxy.ledger.ledger import Claim, Refused, Reservation
from proxy.ledger.redis_ledger import RedisLedger
from tests.ledger.servers import Opener, Server, scope

TRUNK = scope()
FULL = scope(capacity=0)
NUMBER = "442079460018"


def tries(
    callee: str = NUMBER,
    *,
    per_callee: Threshold = Threshold(),
    distinct: Threshold = Threshold(),
    run: Threshold = Threshold(),
    group: str = "t/GB",
    window: tuple[str, int] | None = None,
) -> Tries:
    velocity = Velocity(per_callee, distinct, run)
    windows = () if window is None else (WindowCount("trunk:t", *window),)
    return Tries(callee, group, "trunk:t", velocity, windows)


class Caller:
    """Tries callees, each with a claim of its own."""

    def __init__(self, ledger: RedisLedger, name: str = "r") -> None:
        self.ledger = ledger
        self.name = name
        self.made = 0

    async def call(self, attempt: Tries | None, at=TRUNK) -> Reservation | Refused:
        self.made += 1
        return await self.ledger.reserve(
            Claim(f"{self.name}{self.made}", "t", (at,), 0, b"{}", tries=attempt)
        )

    async def kind(self, attempt: Tries, at=TRUNK) -> str:
        """`` for an admitted call, else what refused it."""
        answer = await self.call(attempt, at)
        if isinstance(answer, Reservation):
            return ""
        return answer.kind or answer.reason


@pytest.fixture
def caller(ledger: RedisLedger) -> Caller:
    return Caller(ledger)


async def test_calls_to_one_callee_soft_and_hard(caller: Caller) -> None:
    attempt = tries(per_callee=Threshold(1, 3))
    answers = [await caller.call(attempt) for _ in range(5)]
    assert [isinstance(answer, Reservation) for answer in answers] == [True, True, True, False, False]
    assert [[(one.kind, one.threshold) for one in answer.noted] for answer in answers] == [
        [],
        [("calls_per_callee", 1)],
        [("calls_per_callee", 1)],
        [],
        [],
    ]
    refused = answers[3]
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.scope_id, refused.kind) == (
        ReasonCode.WINDOW,
        "trunk:t",
        "calls_per_callee",
    )
    assert refused.detail == "calls_per_callee: tries at this number within a minute: 3 at most"
    assert await caller.kind(tries("442079460019", per_callee=Threshold(1, 3))) == ""
    (usage,) = await caller.ledger.usage([TRUNK])
    assert usage.active_calls == 4  # a refused one takes no place


async def test_refused_attempts_count_whatever_refused_them(caller: Caller) -> None:
    attempt = tries(per_callee=Threshold(None, 2), window=("20260101", 4))
    assert [await caller.kind(attempt, FULL) for _ in range(2)] == ["CAPACITY"] * 2
    assert await caller.kind(attempt) == "calls_per_callee"
    counts = await caller.ledger.tries(attempt)
    assert (counts.callee, counts.in_windows) == (3, (4,))  # of the minute no more than is needed is kept


async def test_a_soft_threshold_is_told_of_a_refused_call_too(caller: Caller) -> None:
    attempt = tries(per_callee=Threshold(1, None))
    for _ in range(2):
        answer = await caller.call(attempt, FULL)
    assert isinstance(answer, Refused)
    assert answer.reason is ReasonCode.CAPACITY
    assert [(one.kind, one.threshold) for one in answer.noted] == [("calls_per_callee", 1)]


async def test_different_callees(caller: Caller) -> None:
    limit = Threshold(2, 3)
    numbers = [f"4420794600{number}" for number in (10, 30, 50)]
    assert [await caller.kind(tries(number, distinct=limit)) for number in numbers] == [""] * 3
    assert await caller.kind(tries(numbers[0], distinct=limit)) == ""  # known already
    assert await caller.kind(tries("442079460070", distinct=limit)) == "distinct_callees"
    # Whoever goes on trying new numbers stays refused, and with him the known ones: they are more than three.
    assert await caller.kind(tries(numbers[0], distinct=limit)) == "distinct_callees"
    assert await caller.kind(tries("33142685300", distinct=limit, group="t/FR")) == ""


@pytest.mark.parametrize(
    ("numbers", "refused_at"),
    [
        (("10", "11", "12", "13"), 3),
        (("13", "12", "11", "10"), 3),
        (("13", "10", "12", "11"), 3),  # in whatever order
        (("98", "99", "00", "10"), None),
        (("10", "12", "14", "16"), None),
        (("10", "10", "10", "11"), None),
    ],
)
async def test_numbers_next_to_one_another(
    caller: Caller, numbers: tuple[str, ...], refused_at: int | None
) -> None:
    kinds = [await caller.kind(tries(f"4420794600{one}", run=Threshold(None, 3))) for one in numbers]
    expected = ["" if at != refused_at else "sequential_numbers" for at in range(4)]
    assert kinds == expected


async def test_a_run_crosses_the_hundred(caller: Caller) -> None:
    kinds = [await caller.kind(tries(str(442079460098 + one), run=Threshold(None, 3))) for one in range(4)]
    assert kinds == ["", "", "", "sequential_numbers"]


async def test_tries_in_a_calling_window(caller: Caller) -> None:
    attempt = tries(window=("20260101", 2))
    assert [await caller.kind(attempt) for _ in range(3)] == ["", "", "calls_per_cld"]
    assert await caller.kind(tries(window=("20260102", 2))) == ""
    assert await caller.kind(tries("442079460019", window=("20260101", 2))) == ""
    assert await caller.kind(tries("442079460020", window=("20260101", 0))) == "calls_per_cld"


async def test_one_callee_has_exactly_its_calls_whoever_asks(server: Server, opener: Opener) -> None:
    """Two instances, two hundred attempts at once."""
    callers = [Caller(await opener(server.url, owner), owner) for owner in ("one", "two")]
    attempt = tries(per_callee=Threshold(None, 7), window=("20260101", 50))
    kinds = await asyncio.gather(*(one.kind(attempt) for one in callers for _ in range(100)))
    assert sorted(kinds) == [""] * 7 + ["calls_per_callee"] * 193


async def test_counts_outlive_the_instance(server: Server, opener: Opener) -> None:
    first = await opener(server.url, "one")
    attempt = tries(per_callee=Threshold(None, 2), window=("20260101", 9))
    caller = Caller(first)
    assert [await caller.kind(attempt) for _ in range(2)] == ["", ""]
    await first.close()
    second = await opener(server.url, "two")
    assert await Caller(second, "c").kind(attempt) == "calls_per_callee"


async def test_a_repeated_claim_counts_once(caller: Caller) -> None:
    attempt = tries(per_callee=Threshold(None, 2), window=("20260101", 9))
    claim = Claim("same", "t", (TRUNK,), 0, b"{}", tries=attempt)
    for _ in range(3):
        assert isinstance(await caller.ledger.reserve(claim), Reservation)
    assert (await caller.ledger.tries(attempt)).in_windows == (2,)


async def test_a_minute_later_it_is_forgotten(timed_ledger: RedisLedger, timed_server: Server) -> None:
    caller = Caller(timed_ledger)
    attempt = tries(per_callee=Threshold(None, 1), distinct=Threshold(None, 1), window=("20260101", 2))
    other = tries("442079460030", distinct=Threshold(None, 1))
    assert await caller.kind(attempt) == ""
    timed_server.move_clock(50)
    assert await caller.kind(attempt) == "calls_per_callee"
    timed_server.move_clock(80)  # the first is out of the minute, the refused one is in it
    assert await caller.kind(other) == "distinct_callees"
    timed_server.move_clock(300)
    assert await caller.kind(attempt) == "calls_per_cld"  # that one is not: two there were, refused or not
    counts = await timed_ledger.tries(attempt)
    assert (counts.callee, counts.callees, counts.run) == (2, 1, 1)


async def test_a_clock_that_steps_back_locks_nobody_out(
    timed_ledger: RedisLedger, timed_server: Server
) -> None:
    caller = Caller(timed_ledger)
    attempt = tries(per_callee=Threshold(None, 1), distinct=Threshold(None, 1))
    timed_server.move_clock(3600)
    assert await caller.kind(attempt) == ""
    timed_server.move_clock(0)
    assert await caller.kind(attempt) == "calls_per_callee"  # as if it had been just now
    timed_server.move_clock(70)
    assert await caller.kind(tries("442079460030", distinct=Threshold(None, 1))) == ""


async def test_what_a_hostile_caller_can_make_it_keep_is_bounded(server: Server, caller: Caller) -> None:
    """With both tables full: a new callee is refused and takes the place of the oldest."""
    client = server.client()
    seconds, micro = client.time()
    now = seconds * 1_000_000 + micro - 1_000_000
    keys = ("{tw}:v:t/GB", "{tw}:p:trunk:t:20260101")
    for start in range(0, 200_000, 5_000):
        numbers = range(start, start + 5_000)
        client.hset(keys[1], mapping={f"c{number}": 1 for number in numbers})
        if start < 20_000:
            client.zadd(keys[0], {f"c{number}": now + number for number in numbers})
    client.rpush("{tw}:t:t/GB:c0", 1)
    assert await caller.kind(tries(per_callee=Threshold(None, 5))) == "distinct_callees"
    assert client.zcard(keys[0]) == 20_000
    assert client.exists("{tw}:t:t/GB:c0") == 0
    window = tries(group="t/FR", window=("20260101", 5))
    assert await caller.kind(window) == "callees_in_window"
    assert client.hlen(keys[1]) == 200_000


async def test_everything_goes_by_itself(server: Server, caller: Caller) -> None:
    attempt = tries(per_callee=Threshold(1, 2), run=Threshold(None, 2), window=("20260101", 2))
    for _ in range(4):
        await caller.call(attempt)
    client = server.client()
    kept = [key for part in "vtp" for key in client.keys(f"{{tw}}:{part}:*")]
    assert len(kept) == 3
    assert all(0 < client.ttl(key) <= 93600 for key in kept)
    assert client.llen(f"{{tw}}:t:t/GB:{NUMBER}") == 2


async def test_asking_counts_nothing(caller: Caller) -> None:
    attempt = tries(per_callee=Threshold(None, 5), window=("20260101", 5))
    for _ in range(3):
        counts = await caller.ledger.tries(attempt)
        assert (counts.callee, counts.callees, counts.run, counts.in_windows) == (1, 1, 1, (1,))
    await caller.call(tries(str(int(NUMBER) + 1), per_callee=Threshold(None, 5)))
    counts = await caller.ledger.tries(attempt)
    assert (counts.callee, counts.callees, counts.run) == (1, 2, 2)


async def test_calls_without_such_limits_leave_no_trace(server: Server, caller: Caller) -> None:
    assert isinstance(await caller.call(None), Reservation)
    assert not [key for part in "vtp" for key in server.client().keys(f"{{tw}}:{part}:*")]


async def test_a_call_may_have_many_scopes(caller: Caller) -> None:
    """Places, an audit and an end of a call with more scopes than account, profile, trunk and provider."""
    many = tuple(scope(f"destination:t/{number}", capacity=2) for number in range(12))
    answer = await caller.ledger.reserve(Claim("r", "t", (TRUNK, *many), 10, b"{}"))
    assert isinstance(answer, Reservation)
    assert await caller.ledger.audit([TRUNK, *many]) == []
    usages = await caller.ledger.usage(many)
    assert [(usage.active_calls, usage.reserved) for usage in usages] == [(1, 10)] * 12
    caller.ledger.settle("r", 4)
    usages = await caller.ledger.usage(many)
    assert [(usage.active_calls, usage.spent, usage.reserved) for usage in usages] == [(0, 4, 0)] * 12


async def test_one_full_destination_refuses_and_nothing_is_taken(caller: Caller) -> None:
    wide, narrow = scope("destination:t/wide", capacity=9), scope("destination:t/narrow", capacity=1)
    for ref, expected in (("a", True), ("b", False)):
        answer = await caller.ledger.reserve(Claim(ref, "t", (TRUNK, wide, narrow), 0, b"{}"))
        assert isinstance(answer, Reservation) is expected
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.scope_id) == (ReasonCode.CAPACITY, "destination:t/narrow")
    usages = await caller.ledger.usage([TRUNK, wide, narrow])
    assert [usage.active_calls for usage in usages] == [1, 1, 1]
