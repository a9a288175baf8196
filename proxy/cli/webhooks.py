"""The `webhooks` commands: try the endpoints out, and what became of events that could not be told."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from config.model import LedgerConfig
from proxy.configuration import Compiled
from proxy.ledger.hook_queue import HookQueue, open_hook_queue
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.observe.clock import iso_ms, utc_now
from proxy.routing.names import Names
from proxy.webhooks.messages import event_json, request_of
from proxy.webhooks.outcome import Outcome
from proxy.webhooks.service import sender_of
from proxy.webhooks.settings import HookSettings

T = TypeVar("T")


async def try_out(compiled: Compiled, endpoint: str | None) -> list[tuple[str, Outcome]]:
    """Post a test event to one endpoint, or to all but the trunks' callbacks. Raises ValueError when there is
    none, OSError for authorities that cannot be read."""
    if compiled.config is None or compiled.policy is None:
        raise ValueError("there is no configuration to take endpoints from")
    settings = HookSettings.of(compiled.config, compiled.policy)
    known = {name: one for name, one in settings.recipients.items() if endpoint in (None, name)}
    if endpoint is None:
        known = {name: one for name, one in known.items() if not one.callback}
    if not known:
        raise ValueError(
            f"there is no endpoint `{endpoint}`" if endpoint else "`webhooks` has no `endpoints`"
        )
    sender = sender_of(settings, Names.of_environment())
    now, id_ = utc_now(), f"msg_test_{secrets.token_hex(8)}"
    outcomes = []
    for name, recipient in known.items():
        if recipient.callback:
            data = {"trunk": name.partition(":")[2], "spent_amount": "0.00", "threshold_amount": "0.00"}
            event = event_json("trunk.threshold_freed", now, data)
        else:
            event = event_json("webhook.test", now, {"endpoint": name})
        headers, body = request_of(recipient, id_, event, now)
        outcomes.append((name, await sender.post(recipient, headers, body)))
    return outcomes


async def dead_letters(compiled: Compiled, limit: int) -> list[str]:
    """A line for each of the newest dead letters. Raises ValueError when the ledger is away."""

    async def read(queue: HookQueue) -> list[str]:
        return [
            f"{iso_ms(letter.at_ms)} {letter.id} {letter.endpoint} {_kind(letter.event)}"
            f" after {letter.attempts} tries: {letter.why}"
            for letter in await queue.dead(limit)
        ]

    return await _with_queue(compiled, read)


async def replay(compiled: Compiled, id_: str | None) -> int:
    """How many deliveries are due again. Raises ValueError when the ledger is away or has no such event."""
    count = await _with_queue(compiled, lambda queue: queue.replay(id_))
    if id_ is not None and not count:
        raise ValueError(f"no dead letter has the id `{id_}`")
    return count


async def _with_queue(compiled: Compiled, work: Callable[[HookQueue], Awaitable[T]]) -> T:
    section = compiled.config.ledger if compiled.config is not None else LedgerConfig()
    try:
        queue = await open_hook_queue(section.url, section.data_dir, "visitor")
        try:
            return await work(queue)
        finally:
            await queue.close()
    except (LedgerUnavailable, LedgerRefused) as error:
        raise ValueError(f"the ledger is away: {error}") from error


def _kind(event: bytes) -> str:
    try:
        return str(json.loads(event)["type"])
    except (ValueError, KeyError, TypeError):
        return "?"
