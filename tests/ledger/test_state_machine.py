"""Any order of verbs from three instances, with kill points: the numbers are those of a model of a page.

TRUNKWARDEN_LEDGER_RUNS sets how many runs of 50 steps are made, for longer hauls.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxy.ledger import membership
from proxy.ledger.ledger import LedgerUnavailable, Refused, Registration, Renewal, Renewed
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from tests.ledger.servers import PATIENT, Server, claim, scope, settled, until

pytestmark = pytest.mark.long

T = TypeVar("T")
RUNS = int(os.environ.get("TRUNKWARDEN_LEDGER_RUNS", "50"))
THRESHOLD, CAPACITY = 400, 6
SCOPES = (scope("account:a"), scope("trunk:t", threshold=THRESHOLD, capacity=CAPACITY))
money = st.integers(0, 90)
three = st.integers(0, 2)
which = st.integers(0, 99)


@dataclass
class Call:
    ref: str
    owner: int
    epoch: int
    spent: int
    hold: int


class LedgerMachine(RuleBasedStateMachine):
    server: ClassVar[Server]

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.server.client().flushall()
        self.calls: list[Call] = []
        self.over: list[Call] = []
        self.spent = 0
        self.drawn = 0
        self.faults = 0
        self.ledgers = [self.run(self.opened(n)) for n in range(3)]

    async def opened(self, n: int) -> RedisLedger:
        self.drawn += 1
        ledger = await open_ledger(
            self.server.url,
            self.server.folder,
            lease_seconds=1000,
            owner=f"i{n}-{self.drawn}",
            deadline=PATIENT,
        )

        async def restore(remembered: bool, _: object) -> None:
            mine = [call for call in self.calls if call.owner == n]
            await ledger.register([self.told(call, call.spent if remembered else 0) for call in mine])

        ledger.on_loss(restore)
        return ledger

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            for ledger in self.ledgers:
                self.run(ledger.close())
            self.runner.close()

    @staticmethod
    def told(call: Call, moved: int) -> Registration:
        return Registration(call.ref, "t", SCOPES, call.epoch, 1.0, 1.0, moved, call.spent, call.hold, b"{}")

    @property
    def exposure(self) -> int:
        return self.spent + sum(call.hold for call in self.calls)

    # --- verbs ---

    @rule(n=three, hold=money)
    def reserve(self, n: int, hold: int) -> None:
        self.drawn += 1
        ref = f"r{self.drawn}"
        answers = [self.run(self.ledgers[n].reserve(claim(ref, *SCOPES, hold=hold))) for _ in range(2)]
        assert answers[0] == answers[1]
        if len(self.calls) >= CAPACITY:
            expected = "CAPACITY"
        elif self.exposure + hold > THRESHOLD:
            expected = "SPEND"
        else:
            expected = ""
            self.calls.append(Call(ref, n, 1, 0, hold))
        answer = answers[0]
        assert (answer.reason.value if isinstance(answer, Refused) else "") == expected

    @precondition(lambda self: self.calls)
    @rule(pick=which, more=money, hold=money)
    def renew(self, pick: int, more: int, hold: int) -> None:
        call = self.calls[pick % len(self.calls)]
        kept = max(0, call.hold - more)
        fits = hold <= kept or self.exposure - call.hold + more + hold <= THRESHOLD
        renewal = Renewal(call.ref, call.spent + more, hold, SCOPES, call.epoch)
        (outcome,) = self.run(self.ledgers[call.owner].renew([renewal]))
        assert outcome == (Renewed.GRANTED if fits else Renewed.NO_FUNDS)
        call.spent += more
        self.spent += more
        call.hold = hold if fits else kept

    @precondition(lambda self: self.calls)
    @rule(pick=which, more=money, times=st.integers(1, 3))
    def settle(self, pick: int, more: int, times: int) -> None:
        call = self.calls.pop(pick % len(self.calls))
        ledger = self.ledgers[call.owner]
        for _ in range(times):
            ledger.settle(call.ref, call.spent + more, SCOPES, epoch=call.epoch, moved=call.spent)
        self.run(settled(ledger))
        self.spent += more
        self.over.append(call)

    @precondition(lambda self: self.calls)
    @rule(pick=which)
    def release(self, pick: int) -> None:
        call = self.calls.pop(pick % len(self.calls))
        self.ledgers[call.owner].release(call.ref, epoch=call.epoch)
        self.run(settled(self.ledgers[call.owner]))
        self.over.append(call)

    @rule(n=three, cost=money)
    def charge_what_was_admitted_elsewhere(self, n: int, cost: int) -> None:
        self.drawn += 1
        for _ in range(2):
            self.ledgers[n].settle(f"u{self.drawn}", cost, SCOPES)
        self.run(settled(self.ledgers[n]))
        self.spent += cost

    def leave(self, calls: list[Call]) -> None:
        """Calls that are answered, and left such that others can go on with them."""
        for call in calls:
            ledger = self.ledgers[call.owner]
            ledger.answered(call.ref, 0.0, epoch=call.epoch)
            self.drawn += 1
            ledger.remember(call.ref, b"x", self.drawn, epoch=call.epoch)
        for ledger in self.ledgers:
            self.run(settled(ledger))

    @precondition(lambda self: self.calls)
    @rule(pick=which, n=three)
    def adopt(self, pick: int, n: int) -> None:
        call = self.calls[pick % len(self.calls)]
        self.leave([call])
        for _ in range(2):  # the first answer may have been lost
            (taken,) = self.run(self.ledgers[n].adopt([call.ref], force=True))
        assert (taken.spent, taken.hold) == (call.spent, call.hold)
        assert taken.epoch == call.epoch + (call.owner != n)
        call.owner, call.epoch = n, taken.epoch

    # --- what must change nothing ---

    @precondition(lambda self: self.calls)
    @rule(pick=which, n=three, verb=st.sampled_from(["renew", "settle", "release", "register"]), cost=money)
    def former_owner(self, pick: int, n: int, verb: str, cost: int) -> None:
        call = self.calls[pick % len(self.calls)]
        epoch = call.epoch - (n == call.owner)
        self.stale(self.ledgers[n], Call(call.ref, n, epoch, cost, cost), verb)

    @precondition(lambda self: self.over)
    @rule(pick=which, n=three, verb=st.sampled_from(["renew", "settle", "release", "register"]), cost=money)
    def after_the_end(self, pick: int, n: int, verb: str, cost: int) -> None:
        call = self.over[pick % len(self.over)]
        self.stale(self.ledgers[n], Call(call.ref, n, call.epoch, cost, cost), verb)

    def stale(self, ledger: RedisLedger, call: Call, verb: str) -> None:
        if verb == "renew":
            renewal = Renewal(call.ref, call.spent, call.hold, SCOPES, call.epoch)
            assert self.run(ledger.renew([renewal])) == [Renewed.FENCED]
        elif verb == "register":
            assert self.run(ledger.register([self.told(call, 0)])) == [Renewed.FENCED]
        elif verb == "settle":
            ledger.settle(call.ref, call.spent, SCOPES, epoch=call.epoch)
            self.run(settled(ledger))
        else:
            ledger.release(call.ref, epoch=call.epoch)
            self.run(settled(ledger))

    # --- faults ---

    @rule()
    def scripts_are_forgotten(self) -> None:
        self.server.client().script_flush()

    @precondition(lambda self: self.calls)
    @rule(pick=which)
    def record_is_lost(self, pick: int) -> None:
        call = self.calls[pick % len(self.calls)]
        self.server.client().delete(f"{{tw}}:k:{call.ref}")
        renewal = Renewal(call.ref, call.spent, call.hold, SCOPES, call.epoch)
        ledger = self.ledgers[call.owner]
        assert self.run(ledger.renew([renewal])) == [Renewed.GONE]
        assert self.run(ledger.register([self.told(call, call.spent)])) == [Renewed.GRANTED]

    @rule(key=st.sampled_from(["leases", "s:trunk:t", "s:account:a", "instances", "scopes"]))
    def key_is_lost(self, key: str) -> None:
        self.server.client().delete("{tw}:" + key)
        self.run(self.all_renew())
        self.server.client().delete("{tw}:audit")
        self.run(self.ledgers[0].audit(SCOPES))

    async def all_renew(self) -> None:
        for call in self.calls:
            renewal = Renewal(call.ref, call.spent, call.hold, SCOPES, call.epoch)
            assert await self.ledgers[call.owner].renew([renewal]) == [Renewed.GRANTED]

    @precondition(lambda self: self.faults < 2)
    @rule()
    def server_is_killed(self) -> None:
        self.faults += 1
        self.server.kill()
        self.run(until(lambda: not any(one.connected for one in self.ledgers)))
        self.server.start()
        self.run(self.all_are_right())

    @precondition(lambda self: self.faults < 2)
    @rule(key=st.sampled_from(["", "{tw}:epoch"]))
    def server_is_emptied(self, key: str) -> None:
        self.faults += 1
        self.run(self.ledgers[0].usage(SCOPES))
        if key:
            self.server.client().delete(key)
        else:
            self.server.client().flushall()
            # Tombstones are gone as well: who ends a call a second time now is not told apart.
            self.over.clear()
        self.run(self.nobody_is_admitted())
        self.run(self.all_are_right())

    async def nobody_is_admitted(self) -> None:
        kinds: list[str] = []
        for ledger in self.ledgers:
            try:
                answer = await ledger.reserve(claim("nobody", *SCOPES))
            except LedgerUnavailable as error:
                kinds.append(error.kind)
            else:  # another was quicker: it is open again, and right
                assert isinstance(answer, Refused) or len(self.calls) < CAPACITY
                ledger.release("nobody")
                await settled(ledger)
        assert set(kinds) <= {"rebuilding"}

    async def all_are_right(self) -> None:
        await until(lambda: all(one.connected for one in self.ledgers))
        for ledger in self.ledgers:
            await settled(ledger)

    @rule(n=three, heir=st.integers(1, 2))
    def instance_is_killed(self, n: int, heir: int) -> None:
        """Without a word: another adopts its calls, and a new one takes its place."""
        orphans = [call for call in self.calls if call.owner == n]
        self.leave(orphans)
        self.ledgers[n]._link.close()
        self.run(self.ledgers[n].close())
        # How long a rebuild waits for the dead is tested elsewhere.
        dead = self.ledgers[n]._membership._owner
        self.server.client().zrem("{tw}:instances", dead)
        for ledger in self.ledgers:
            others = ledger._membership._others
            others[:] = [one for one in others if one != dead]
        survivor = (n + heir) % 3
        taken = self.run(self.ledgers[survivor].adopt([call.ref for call in orphans], force=True))
        for call, found in zip(orphans, taken, strict=True):
            assert (found.ref, found.spent, found.hold) == (call.ref, call.spent, call.hold)
            call.owner, call.epoch = survivor, found.epoch
        self.ledgers[n] = self.run(self.opened(n))

    # --- what holds after every step ---

    @invariant()
    def numbers_are_right(self) -> None:
        if not hasattr(self, "runner"):
            return
        held = sum(call.hold for call in self.calls)
        for usage in self.run(self.ledgers[0].usage(SCOPES)):
            assert (usage.active_calls, usage.spent, usage.reserved) == (len(self.calls), self.spent, held)

    @invariant()
    def leases_are_right(self) -> None:
        if hasattr(self, "runner"):
            owned = [self.run(ledger.leases()) for ledger in self.ledgers]
            assert owned == [sum(call.owner == n for call in self.calls) for n in range(3)]


@pytest.mark.timeout(60 + 12 * RUNS)
def test_any_order_with_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    # All that live come to a rebuild, however long the machine stands still.
    monkeypatch.setattr(membership, "AWAITED_SECONDS", 25.0)
    for server in ("redis", "valkey"):
        folder = Path(tempfile.mkdtemp(prefix="tw"))
        LedgerMachine.server = Server(server, folder)
        try:
            run_state_machine_as_test(
                LedgerMachine,
                settings=settings(
                    max_examples=RUNS // 2,
                    stateful_step_count=50,
                    deadline=None,
                    phases=[Phase.generate],
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            LedgerMachine.server.kill()
            shutil.rmtree(folder, ignore_errors=True)
