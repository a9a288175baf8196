"""The queue of events that are told to others over HTTP: on the ledger, so that nothing is lost with an
instance and nothing is told twice by several.

A delivery is one event for one endpoint. Whoever delivers claims it for a while; one that is not settled by
then is due again, so each is told at least once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from proxy.ledger.embedded import EmbeddedServer
from proxy.ledger.endpoint import Endpoint
from proxy.ledger.keys import WHOLE
from proxy.ledger.ledger import Unobserved
from proxy.ledger.link import Link
from proxy.ledger.requests import Requests
from proxy.observe.tasks import TaskKeeper

MOST_WAITING: Final = 1_000
"""Deliveries that wait for one endpoint; the oldest gives way to a new one."""

MOST_DEAD: Final = 1_000
"""Dead letters that are kept."""

_KEYS: Final = (WHOLE.clock,)


@dataclass(frozen=True, slots=True)
class Guard:
    """What makes an event of several reports one. `state`: only where it brings `field` another `value`; of a
    field that had none nothing is told when `quiet`. `once`: one in `value` milliseconds."""

    kind: str = ""
    field: str = ""
    value: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event (JSON) that is to be told to an endpoint. `attempt` counts from 1; `put_ms` by the ledger's
    clock."""

    id: str
    endpoint: str
    event: bytes
    attempt: int
    put_ms: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up, and why."""

    id: str
    endpoint: str
    event: bytes
    attempts: int
    at_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Watch:
    """`leads`: this instance is the one that watches. `idle_ms`: for how long no instance could call a
    provider. `short`: micro-units that a trunk was last known not to have; of the one that watches."""

    leads: bool
    idle_ms: Mapping[str, int]
    short: Mapping[str, int]


class HookQueue:
    """The verbs. All raise LedgerUnavailable. `instance` names who watches."""

    def __init__(self, link: Link, requests: Requests, keeper: TaskKeeper, instance: str) -> None:
        self._link = link
        self._requests = requests
        self._keeper = keeper
        self._instance = instance.encode()

    async def watch(
        self, up: Iterable[str], providers: Sequence[str], short: Mapping[str, int], lead_ms: int
    ) -> Watch:
        """Say which `providers` can be called and which trunks were short of money; try to be the instance
        that watches for the next `lead_ms`."""
        able = [name.encode() for name in up]
        arguments = [self._instance, b"%d" % lead_ms, b"%d" % len(able), *able, b"%d" % len(providers)]
        arguments += [name.encode() for name in providers]
        for trunk, wanted in short.items():
            arguments += [trunk.encode(), b"%d" % wanted]
        leads, idle, *rest = cast("list[list[int]]", await self._run("hook_watch", arguments))
        flat = cast("list[bytes]", rest[0]) if rest else []
        wanted_by = {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}
        return Watch(bool(leads), dict(zip(providers, idle, strict=True)), wanted_by)

    async def put(
        self, event: bytes, endpoints: Sequence[str], guard: Guard | None = None, *, led: bool = False
    ) -> tuple[str, int] | None:
        """Take an event in, unless its guard says that it is known; None then. `led`: only if this instance
        is the one that watches. The event's id, and how many older deliveries gave way."""
        held = guard or Guard()
        value = f"-{held.value}" if held.quiet else held.value
        head = (held.kind, held.field, value, self._instance.decode() if led else "")
        arguments = [part.encode() for part in head]
        arguments += [b"%d" % MOST_WAITING, b"%d" % MOST_DEAD, event, *(name.encode() for name in endpoints)]
        taken, id_, gone = cast("tuple[int, bytes, int]", await self._run("hook_put", arguments))
        return (id_.decode(), gone) if taken else None

    async def states(self) -> dict[str, str]:
        """The fields of `state` guards and their values."""
        flat = cast(
            "list[bytes]", await self._requests.plain("hooks", b"HGETALL", WHOLE.prefix + b"hooks:states")
        )
        return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}

    async def forget(self, fields: Sequence[str], shorts: Sequence[str] = ()) -> None:
        """Drop fields of `state` guards, and what trunks were short of."""
        for key, names in ((b"hooks:states", fields), (b"hooks:short", shorts)):
            if names:
                encoded = [name.encode() for name in names]
                await self._requests.plain("hooks", b"HDEL", WHOLE.prefix + key, *encoded)

    async def claim(self, most: int, lease_ms: int, left_alone: Iterable[str] = ()) -> list[Delivery]:
        """At most `most` deliveries that are due, one an endpoint, for `lease_ms`."""
        arguments = [b"%d" % most, b"%d" % lease_ms, *(name.encode() for name in left_alone)]
        rows = cast("list[tuple[bytes, bytes, bytes, int, int]]", await self._run("hook_claim", arguments))
        return [Delivery(row[0].decode(), row[1].decode(), *row[2:]) for row in rows]

    async def done(self, delivery: Delivery) -> None:
        """It was told."""
        await self._settle(delivery, b"done", 0, "")

    async def again(self, delivery: Delivery, after_ms: int, why: str) -> None:
        """It was not told, and is due again."""
        await self._settle(delivery, b"again", after_ms, why)

    async def bury(self, delivery: Delivery, why: str) -> None:
        """It is given up, and becomes a dead letter."""
        await self._settle(delivery, b"dead", 0, why)

    async def dead(self, limit: int = 100) -> list[DeadLetter]:
        """The newest dead letters, newest first."""
        rows = await self._run("hook_dead", [b"list", b"%d" % limit]) if limit > 0 else []
        return [
            DeadLetter(row[0].decode(), row[1].decode(), row[2], row[3], row[4], row[5].decode())
            for row in cast("list[tuple[bytes, bytes, bytes, int, int, bytes]]", rows)
        ]

    async def replay(self, id_: str | None = None) -> int:
        """Make dead letters due again, those of one event or all; how many."""
        return cast("int", await self._run("hook_dead", [b"replay", (id_ or "").encode()]))

    async def sizes(self) -> tuple[int, int]:
        """Deliveries that wait, and dead letters."""
        waiting, dead = cast("list[int]", await self._run("hook_sizes", []))
        return waiting, dead

    async def close(self) -> None:
        self._link.close()
        await self._keeper.stop()

    async def _settle(self, delivery: Delivery, what: bytes, after_ms: int, why: str) -> None:
        arguments = [delivery.id.encode(), delivery.endpoint.encode(), b"%d" % delivery.attempt, what]
        arguments += [b"%d" % after_ms, why.encode("utf-8", "replace"), b"%d" % MOST_DEAD]
        await self._run("hook_settle", arguments)

    def _run(self, verb: str, arguments: Sequence[bytes]) -> Awaitable[object]:
        return self._requests.script(verb, _KEYS, arguments)


Opener = Callable[[], Awaitable[HookQueue]]


async def open_hook_queue(
    url: str, data_dir: Path, instance: str, *, deadline: float = 2.0, patience: float = 0.0
) -> HookQueue:
    """Connect to the queue on a ledger that runs. `url` and `data_dir` as the configuration has them. Raises
    LedgerUnavailable or LedgerRefused."""
    address = EmbeddedServer(data_dir).url if url == "embedded" else url
    keeper = TaskKeeper()
    observer = Unobserved()
    link = Link(Endpoint(address, timeout=3.0), deadline=deadline, keeper=keeper, observer=observer)
    try:
        await link.open(patience)
    except BaseException:
        link.close()
        await keeper.stop()
        raise
    return HookQueue(link, Requests(link, observer), keeper, instance)
