"""The `webhooks` commands: try the endpoints out, and what became of events that could not be told."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from config.model import Config, LedgerConfig
from proxy.configuration import Compiled
from proxy.ledger.hook_queue import HookQueue, open_hook_queue
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.objects.document import Document
from proxy.objects.owners import document_in_force, ids_of, owner_of, owners_of
from proxy.observe.clock import iso_ms, utc_now
from proxy.routing.names import Names
from proxy.webhooks.callback_key import callback_key
from proxy.webhooks.messages import event_json, request_of
from proxy.webhooks.outcome import Outcome
from proxy.webhooks.service import sender_of
from proxy.webhooks.settings import HookSettings

T = TypeVar("T")


async def try_out(compiled: Compiled, path: Path, endpoint: str | None) -> list[tuple[str, Outcome]]:
    """Post a test event to one endpoint, or to all but the trunks' callbacks. `path` is the file that
    `compiled` was made of. Raises ValueError when there is none, OSError for authorities that cannot be
    read."""
    if compiled.config is None or compiled.policy is None:
        raise ValueError("there is no configuration to take endpoints from")
    ids = ids_of(await _document(compiled.config, path))
    settings = HookSettings.of(compiled.config, compiled.policy, {}, owners_of(compiled.config.trunks, ids))
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


async def secret_of(compiled: Compiled, path: Path, account: str | None, trunk: str | None) -> str:
    """What signs the callbacks of an account's trunks, or of a trunk of no account; one of the two is given.
    Raises ValueError."""
    if compiled.config is None or compiled.config.webhooks.callback_secret is None:
        raise ValueError("callbacks are not signed: there is no `webhooks.callback_secret_file`")
    document = await _document(compiled.config, path)
    if trunk is not None:
        found = document.find("trunks", trunk)
        if found is None:
            raise ValueError(f"there is no trunk `{trunk}`")
        account = found.spec.get("account")
    owner = owner_of(trunk or "", account, ids_of(document))
    if owner is None:
        raise ValueError(f"there is no account `{account}`")
    return callback_key(compiled.config.webhooks.callback_secret.get_secret_value(), owner)


async def _document(config: Config, path: Path) -> Document:
    try:
        return await document_in_force(path, config)
    except (LedgerUnavailable, LedgerRefused) as error:
        raise ValueError(f"the policy is in the store, which cannot be asked: {error}") from error


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
