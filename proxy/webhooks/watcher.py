"""Watcher: from what happens on this instance, and from what the ledger counts for all, to events in the
queue: each once, however many instances see it.

Every instance reports what happened to its own calls and what its own policy says. One of them, chosen by the
ledger for some seconds at a time, watches what is the same for all: the trunks' money, and whether anybody
can still call a provider.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypedDict

from policy.compiled import Scope
from policy.rating.money import amount
from proxy.ledger.hook_queue import Guard, HookQueue, Watch
from proxy.ledger.ledger import ScopeUsage
from proxy.observe.clock import utc_now
from proxy.observe.happenings import Tally
from proxy.webhooks.counts import Counts
from proxy.webhooks.messages import event_json
from proxy.webhooks.settings import HookSettings, TrunkFacts

_log = logging.getLogger(__name__)

LEAD_MS: Final = 5_000
DOWN_MS: Final = 5_000
"""A provider is down when no instance could call it for so long."""

QUIET_MS: Final = 60_000
"""What may happen many times a second is told of a trunk once in so long, with how often it was."""

_SETTLED_SECONDS: Final = 6.0  # before an instance that has just begun to watch judges providers
_SHORT_SECONDS: Final = 3600.0  # how long it is remembered that a call found no money
_TRY_AGAIN_SECONDS: Final = 5.0

UsageOf = Callable[[Sequence[Scope]], Awaitable[list[ScopeUsage]]]


class Seen(TypedDict):
    """What the SIP process tells once a second. stamp: another one with each policy that is loaded. number:
    its version in the store; None: it is in the file. providers: which can be called. The rest as in
    proxy.observe.happenings."""

    stamp: str
    version: str
    number: int | None
    providers: dict[str, bool]
    tallies: list[Tally]
    short: dict[str, int]


class _Pending:
    __slots__ = ("count", "due", "last")

    def __init__(self) -> None:
        self.count = 0
        self.due = 0.0
        self.last: Mapping[str, str | None] = {}


class Watcher:
    """`usage` asks the ledger what scopes hold."""

    def __init__(self, queue: HookQueue, usage: UsageOf, counts: Counts) -> None:
        self._queue = queue
        self._usage = usage
        self._counts = counts
        self._stamp = ""
        self._version = ""
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._leads_since: float | None = None
        self._states: dict[str, str] = {}
        self._short_since: dict[str, float] = {}

    def collect(self, seen: Seen) -> None:
        """Remember what was counted; it is told when it is time."""
        for tally in seen["tallies"]:
            pending = self._pending.setdefault((tally["event"], tally["trunk"]), _Pending())
            pending.count += tally["count"]
            pending.last = tally["last"]

    async def look(self, seen: Seen, settings: HookSettings) -> None:
        """Put into the queue what there is to tell. Raises LedgerUnavailable; what was not told is told the
        next time."""
        if seen["stamp"] != self._stamp:
            await self._policy(seen, settings)
            self._stamp = seen["stamp"]
        await self._tell_counted(settings)
        up = [name for name, works in seen["providers"].items() if works]
        watch = await self._queue.watch(up, list(seen["providers"]), seen["short"], LEAD_MS)
        if not watch.leads:
            self._leads_since = None
            return
        now = asyncio.get_running_loop().time()
        if self._leads_since is None:
            self._states = await self._queue.states()
            self._leads_since = now
            await self._prune(seen, settings)
        if now - self._leads_since >= _SETTLED_SECONDS:
            await self._providers(watch, settings)
        await self._thresholds(watch, settings, now)

    # --- what every instance tells --------------------------------------------------------------------------

    async def _policy(self, seen: Seen, settings: HookSettings) -> None:
        """What the policy that is in force now says otherwise than the one before."""
        known = await self._queue.states()
        if seen["version"] != known.get("policy"):
            data = {"version": seen["version"], "previous": known.get("policy"), "number": seen["number"]}
            await self._tell(
                "policy.changed", data, settings, guard=Guard("state", "policy", seen["version"], quiet=True)
            )
        for facts in settings.trunks.values():
            status = "active" if facts.active else "blocked"
            field = f"status:{facts.name}"
            if known.get(field) != status:
                event = "trunk.unblocked" if facts.active else "trunk.blocked"
                guard = Guard("state", field, status, quiet=True)
                await self._tell(event, _of(facts), settings, facts.name, guard)
        if self._leads_since is not None:
            self._states = await self._queue.states()
            await self._prune(seen, settings)

    async def _tell_counted(self, settings: HookSettings) -> None:
        now = asyncio.get_running_loop().time()
        for key, pending in list(self._pending.items()):
            event, trunk = key
            facts = settings.trunks.get(trunk)
            if facts is None or not any(settings.told_of(event, trunk)):
                del self._pending[key]
            elif pending.due <= now:
                data = {**_of(facts), "count": pending.count, "last": dict(pending.last)}
                guard = Guard("once", f"{event}:{trunk}", str(QUIET_MS))
                if await self._tell(event, data, settings, trunk, guard):
                    del self._pending[key]
                else:
                    pending.due = now + _TRY_AGAIN_SECONDS

    # --- what one instance watches --------------------------------------------------------------------------

    async def _prune(self, seen: Seen, settings: HookSettings) -> None:
        """Nothing more is known of trunks and providers that are gone."""
        gone = []
        for field in self._states:
            kind, colon, name = field.partition(":")
            there = seen["providers"] if kind == "provider" else settings.trunks
            if colon and name not in there:
                gone.append(field)
        await self._queue.forget(gone)
        for field in gone:
            del self._states[field]

    async def _providers(self, watch: Watch, settings: HookSettings) -> None:
        for name, idle in watch.idle_ms.items():
            value = "down" if idle > DOWN_MS else "up"
            await self._turn(f"provider:{name}", value, f"provider.{value}", {"provider": name}, settings)

    async def _thresholds(self, watch: Watch, settings: HookSettings, now: float) -> None:
        limited = [
            facts
            for facts in settings.trunks.values()
            if facts.threshold is not None or self._states.get(f"threshold:{facts.name}") == "reached"
        ]
        if not limited:
            return
        usages = await self._usage([facts.scope for facts in limited])
        for facts, usage in zip(limited, usages, strict=True):
            name, threshold = facts.name, facts.threshold
            wanted = max(1, watch.short.get(name, 1))
            reached = threshold is not None and usage.spent + wanted > threshold
            data = {
                **_of(facts),
                "threshold_amount": None if threshold is None else amount(threshold),
                "spent_amount": amount(usage.spent),
                "reserved_amount": amount(usage.reserved),
                "currency": settings.currency,
                "window": facts.window,
            }
            event = "trunk.threshold_reached" if reached else "trunk.threshold_freed"
            value = "reached" if reached else "free"
            freed = not reached and self._states.get(f"threshold:{name}") == "reached"
            await self._turn(f"threshold:{name}", value, event, data, settings, name)
            if freed or self._stale(name, name in watch.short and not reached, now):
                await self._queue.forget((), (name,))

    def _stale(self, trunk: str, waits: bool, now: float) -> bool:
        """Whether it is long ago that a call of a trunk that has money found none."""
        if not waits:
            self._short_since.pop(trunk, None)
            return False
        return now - self._short_since.setdefault(trunk, now) > _SHORT_SECONDS

    async def _turn(
        self,
        field: str,
        value: str,
        event: str,
        data: Mapping[str, Any],
        settings: HookSettings,
        trunk: str | None = None,
    ) -> None:
        """Tell that something is otherwise now. How things should be is nothing to tell when nobody knew
        better."""
        before = self._states.get(field)
        if before != value:
            guard = Guard("state", field, value, quiet=value in ("up", "free"))
            await self._tell(event, data, settings, trunk, guard, led=True)
            self._states[field] = value

    async def _tell(
        self,
        event: str,
        data: Mapping[str, Any],
        settings: HookSettings,
        trunk: str | None = None,
        guard: Guard | None = None,
        *,
        led: bool = False,
    ) -> bool:
        names = list(settings.told_of(event, trunk))
        put = await self._queue.put(event_json(event, utc_now(), data), names, guard, led=led)
        if put is None:
            return False
        self._counts.events[event] += 1
        self._counts.deliveries["gone"] += put[1]
        return True


def _of(facts: TrunkFacts) -> dict[str, Any]:
    said: dict[str, Any] = {"trunk": facts.name, "account": facts.account}
    return said if facts.id is None else {**said, "id": facts.id}
