"""A client of the history: `history URL FOLDER SEED OPERATIONS`. Runs random verbs on calls that others use,
too, and prints one JSON line for each that was answered, in the order in which they were sent."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

from policy.compiled import Scope
from proxy.ledger.ledger import LedgerUnavailable, Refused, Renewal
from proxy.ledger.redis_ledger import RedisLedger, open_ledger
from tests.ledger.servers import claim, scope, settled

OWNER = "same"  # so that any client may end or renew any call, at the same moment as another
AT_ONCE = 40
IN_ROUND = 600  # operations of one client before it goes on to fresh calls and scopes
REFS = 60


def scopes_of(number: int, side: str) -> tuple[Scope, ...]:
    """The scopes of one of a round's two trunks, which share account and provider."""
    return (
        scope(f"account:{number}", capacity=20, threshold=2000),
        scope(f"trunk:{side}{number}", capacity=12, threshold=1500)
        if side == "x"
        else scope(f"trunk:{side}{number}", capacity=16),
        scope(f"provider:{number}", threshold=1800),
    )


async def reserve(ledger: RedisLedger, ref: str, side: str, hold: int, number: int) -> list[object]:
    try:
        answer = await ledger.reserve(claim(ref, *scopes_of(number, side), hold=hold))
    except LedgerUnavailable as error:
        if error.kind != "other":
            raise
        return ["reserve", ref, "void", ""]
    if isinstance(answer, Refused):
        return ["reserve", ref, answer.reason.value, answer.scope_id]
    return ["reserve", ref, "admitted", answer.hold]


async def renew(ledger: RedisLedger, ref: str, side: str, spent: int, hold: int, number: int) -> list[object]:
    (outcome,) = await ledger.renew([Renewal(ref, spent, hold, scopes_of(number, side))])
    return ["renew", ref, outcome]


async def main(url: str, folder: str, seed: int, operations: int) -> None:
    """Say `ready`, wait for a line, then go."""
    draw = random.Random(seed)
    ledger = await open_ledger(url, Path(folder), lease_seconds=3000, owner=OWNER, deadline=60.0)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    done = 0
    while done < operations:
        number = done // IN_ROUND
        asked: list[asyncio.Task[list[object]]] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, operations - done)):
                done += 1
                at = draw.randrange(REFS)
                ref, side = f"r{number}-{at}", "xy"[at % 2]
                verb = draw.choices(["reserve", "renew", "settle", "release"], [4, 4, 1, 1])[0]
                if verb == "reserve":
                    asked.append(group.create_task(reserve(ledger, ref, side, draw.randint(0, 150), number)))
                elif verb == "renew":
                    spent, hold = draw.randint(0, 120), draw.randint(0, 150)
                    asked.append(group.create_task(renew(ledger, ref, side, spent, hold, number)))
                elif verb == "settle":
                    ledger.settle(ref, draw.randint(0, 120))
                else:
                    ledger.release(ref)
        for task in asked:
            print(json.dumps(task.result()))
    await settled(ledger)
    print("over", flush=True)
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
