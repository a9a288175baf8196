"""From what instances see to events: each once, on a real queue. Usage is what a test says it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from config.web_address import Reach
from config.webhooks import EVENTS
from policy.compiled import Scope
from proxy.ledger.hook_queue import HookQueue, open_hook_queue
from proxy.ledger.ledger import ScopeUsage
from proxy.observe.happenings import Tally
from proxy.webhooks import watcher as module
from proxy.webhooks.counts import Counts
from proxy.webhooks.settings import HookSettings, Recipient, TrunkFacts
from proxy.webhooks.watcher import Seen, Watcher
from tests.ledger.servers import PATIENT, Server

LIMIT = 10_000_000


class Stage:
    """Several watchers on one queue; `spent` by trunk in micro-units."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.spent: dict[str, int] = {}
        self.queues: list[HookQueue] = []
        self.told: list[tuple[str, dict[str, Any]]] = []

    async def usage(self, scopes: Sequence[Scope]) -> list[ScopeUsage]:
        return [ScopeUsage(0, self.spent.get(scope.name, 0), 0, 0) for scope in scopes]

    async def watcher(self) -> Watcher:
        queue = await open_hook_queue(self.server.url, Path(), f"i{len(self.queues)}", deadline=PATIENT)
        self.queues.append(queue)
        return Watcher(queue, self.usage, Counts())

    async def events(self) -> list[str]:
        """What was told since the last time."""
        found = []
        while claimed := await self.queues[0].claim(100, 60_000):
            for one in claimed:
                await self.queues[0].done(one)
                body = json.loads(one.event)
                found.append((body["type"], body["data"]))
        self.told = found
        return [kind for kind, _ in found]

    def nobody_leads(self) -> None:
        """The time of the one that leads is over."""
        assert 0 < self.server.client().pttl("{tw}:hooks:leader") <= module.LEAD_MS
        self.server.client().delete("{tw}:hooks:leader")

    def long_since_up(self, provider: str) -> None:
        """The last time that anybody could call it was so long ago that it is down."""
        assert self.server.client().zincrby("{tw}:hooks:up", -module.DOWN_MS - 1, provider) > 0

    def may_tell_again(self, event: str, trunk: str) -> None:
        """The time in which it is not told another time is over."""
        key = f"{{tw}}:hooks:once:{event}:{trunk}"
        assert 0 < self.server.client().pttl(key) <= module.QUIET_MS
        self.server.client().delete(key)


@pytest.fixture
async def stage(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Whose time is over, and when, says the test: a machine that stands still for some seconds does not."""
    for name in ("LEAD_MS", "DOWN_MS", "QUIET_MS"):
        monkeypatch.setattr(module, name, 3_600_000)
    server.client().flushall()
    made = Stage(server)
    yield made
    for queue in made.queues:
        await queue.close()


def settings(
    threshold: int | None = LIMIT, active: bool = True, events: tuple[str, ...] = EVENTS
) -> HookSettings:
    return HookSettings(
        {"ops": Recipient("ops", "https://a.example/", "s", events)},
        {"t": TrunkFacts("t", "acme", active, threshold, "rolling_24h", "", False)},
        "USD", Reach(), Reach(), 1.0, (1,), None,
    )  # fmt: skip


def seen(version: str = "v1", providers: dict[str, bool] | None = None, **told: Any) -> Seen:
    base = {"stamp": version, "version": version, "number": None, "providers": providers or {}}
    base |= {"tallies": [], "short": {}}
    return base | told  # type: ignore[return-value]


async def test_nothing_to_tell_at_the_first_start(stage: Stage) -> None:
    await (await stage.watcher()).look(seen(providers={"p": True}), settings())
    assert await stage.events() == []


async def test_threshold_is_reached_and_freed_once_over_all(stage: Stage) -> None:
    watchers = [await stage.watcher() for _ in range(3)]

    async def look() -> list[str]:
        for one in watchers:
            await one.look(seen(), settings())
        return await stage.events()

    stage.spent["t"] = LIMIT - 1
    assert await look() == []
    stage.spent["t"] = LIMIT
    assert await look() == ["trunk.threshold_reached"]
    assert stage.told[0][1] == {
        "trunk": "t", "account": "acme", "threshold_amount": "10.00", "spent_amount": "10.00",
        "reserved_amount": "0.00", "currency": "USD", "window": "rolling_24h",
    }  # fmt: skip
    assert await look() == []
    stage.spent["t"] = LIMIT - 1
    assert await look() == ["trunk.threshold_freed"]
    assert await look() == []


async def test_threshold_is_reached_when_a_call_finds_no_money(stage: Stage) -> None:
    watchers = [await stage.watcher() for _ in range(2)]
    stage.spent["t"] = LIMIT - 50
    await watchers[0].look(seen(), settings())
    await watchers[1].look(seen(short={"t": 50}), settings())  # it fits by now
    await watchers[0].look(seen(), settings())
    assert await stage.events() == []
    await watchers[1].look(seen(short={"t": 60}), settings())
    stage.spent["t"] = LIMIT - 49
    await watchers[0].look(seen(), settings())
    assert await stage.events() == ["trunk.threshold_reached"]
    stage.spent["t"] = LIMIT - 50
    await watchers[0].look(seen(), settings())
    assert await stage.events() == ["trunk.threshold_freed"]


async def test_higher_threshold_frees(stage: Stage) -> None:
    one = await stage.watcher()
    stage.spent["t"] = LIMIT
    await one.look(seen(), settings())
    await one.look(seen("v2"), settings(None))
    assert await stage.events() == ["trunk.threshold_reached", "policy.changed", "trunk.threshold_freed"]
    assert stage.told[2][1]["threshold_amount"] is None


async def test_who_watches_next_tells_nothing_twice(stage: Stage) -> None:
    one, two = await stage.watcher(), await stage.watcher()
    stage.spent["t"] = LIMIT
    await one.look(seen(), settings())
    stage.nobody_leads()
    await two.look(seen(), settings())
    assert await stage.events() == ["trunk.threshold_reached"]
    stage.spent["t"] = 0
    await one.look(seen(), settings())  # it leads no more
    assert await stage.events() == []
    await two.look(seen(), settings())
    assert await stage.events() == ["trunk.threshold_freed"]


async def test_provider_is_down_when_nobody_can_call_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_SECONDS", 0.0)
    one, two = await stage.watcher(), await stage.watcher()

    async def look(first: bool, second: bool) -> list[str]:
        await two.look(seen(providers={"p": second}), settings())
        await one.look(seen(providers={"p": first}), settings())  # it leads
        return await stage.events()

    await one.look(seen(providers={"p": True}), settings())
    assert await look(True, True) == []
    assert await look(False, False) == []  # not for long yet
    stage.long_since_up("p")
    assert await look(False, True) == []
    stage.long_since_up("p")
    assert await look(False, False) == ["provider.down"]
    assert stage.told == [("provider.down", {"provider": "p"})]
    assert await look(False, True) == ["provider.up"]


async def test_trunk_is_blocked_and_unblocked(stage: Stage) -> None:
    one, two = await stage.watcher(), await stage.watcher()
    for watcher in (one, two):
        await watcher.look(seen(), settings(active=True))
    for watcher in (one, two):
        await watcher.look(seen("v2"), settings(active=False))
    assert await stage.events() == ["policy.changed", "trunk.blocked"]
    assert stage.told[0][1] == {"version": "v2", "previous": "v1", "number": None}
    for watcher in (one, two):
        await watcher.look(seen("v1"), settings(active=True))
    assert await stage.events() == ["policy.changed", "trunk.unblocked"]
    fresh = await stage.watcher()  # an instance that starts
    await fresh.look(seen("v1"), settings(active=True))
    assert await stage.events() == []


async def test_rejections_are_told_once_in_a_while_with_their_number(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRY_AGAIN_SECONDS", 0.0)
    one = await stage.watcher()
    kind = "call.outbound_whitelist_rejected"

    async def look(count: int) -> list[str]:
        tallies: list[Tally] = [{"event": kind, "trunk": "t", "count": count, "last": {"called": "+33"}}]
        one.collect(seen(tallies=tallies if count else []))
        await one.look(seen(), settings())
        return await stage.events()

    assert await look(3) == [kind]
    assert stage.told[0][1] == {"trunk": "t", "account": "acme", "count": 3, "last": {"called": "+33"}}
    assert await look(1000) == []
    assert await look(1000) == []
    stage.may_tell_again(kind, "t")
    assert await look(0) == [kind]
    assert stage.told[0][1]["count"] == 2000


async def test_what_nobody_wants_to_know_is_not_kept(stage: Stage) -> None:
    one = await stage.watcher()
    tally: Tally = {"event": "velocity.threshold_passed", "trunk": "t", "count": 1, "last": {}}
    one.collect(seen(tallies=[tally]))
    await one.look(seen(), settings(events=("provider.down",)))
    assert await stage.events() == []
    await one.look(seen(), settings())
    assert await stage.events() == []


async def test_what_is_gone_is_forgotten(stage: Stage) -> None:
    one = await stage.watcher()
    stage.spent["t"] = LIMIT
    await one.look(seen(), settings())
    assert set(await stage.queues[0].states()) == {"policy", "status:t", "threshold:t"}
    empty = HookSettings(settings().recipients, {}, "USD", Reach(), Reach(), 1.0, (1,), None)
    await one.look(seen("v2"), empty)
    assert set(await stage.queues[0].states()) == {"policy"}
