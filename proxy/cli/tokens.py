"""The `tokens` and `audit` commands: who may use the HTTP API, and what was done with it."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from config.values import Name
from proxy.admin.access.audit import CHANGES, STREAMS, entry, merged
from proxy.admin.access.tenancy import id_of_account
from proxy.admin.access.tokens import ID_BYTES, SECRET_BYTES, issue, mistakes_in
from proxy.configuration import Compiled
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.ledger.redis_ledger import RedisLedger
from proxy.ledger.sharded_ledger import ShardedLedger, connector_of
from proxy.ledger.tokens import StoredToken, Tokens, TooManyTokens
from proxy.objects.owners import document_in_force
from proxy.observe.clock import iso_now


async def create(
    compiled: Compiled, path: Path, name: str, scopes: tuple[str, ...], account: str | None
) -> str:
    """A new token, which nobody can show again. `path` is the file that `compiled` was made of. Raises
    ValueError."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    mistake = mistakes_in(scopes, account)
    if mistake is not None:
        raise ValueError(mistake)
    async with _ledger(compiled) as ledger:
        text, token = issue(
            name,
            scopes,
            account,
            account_id=None if account is None else await _account_id(compiled, path, account),
            by=_who(),
            at=iso_now(),
            token_id=secrets.token_bytes(ID_BYTES),
            secret=secrets.token_bytes(SECRET_BYTES),
        )
        await Tokens(ledger.requests).add(token)
        await _tell(ledger, f"tokens create {name}", token)
    return text


async def listed(compiled: Compiled) -> list[StoredToken]:
    """Every token, by name. Raises ValueError."""
    async with _ledger(compiled) as ledger:
        return await Tokens(ledger.requests).every()


async def revoke(compiled: Compiled, which: str) -> StoredToken:
    """End a token, by its id or, where one token alone has it, its name. Raises ValueError."""
    async with _ledger(compiled) as ledger:
        tokens = Tokens(ledger.requests)
        every = await tokens.every()
        found = [token for token in every if token.id == which] or [
            token for token in every if token.name == which
        ]
        if not found:
            raise ValueError(f"no token has the id or the name `{which}`")
        if len(found) > 1:
            ids = ", ".join(token.id for token in found)
            raise ValueError(f"several tokens are called `{which}`: revoke one by its id, {ids}")
        await tokens.remove(found[0].id)
        await _tell(ledger, f"tokens revoke {found[0].name}", found[0])
        return found[0]


async def audit(compiled: Compiled, limit: int) -> list[dict[str, Any]]:
    """The last entries of the audit, newest first. Raises ValueError."""
    async with _ledger(compiled) as ledger:
        streams = [await ledger.records(stream, limit) for stream in STREAMS]
    return merged(streams, limit)


async def _account_id(compiled: Compiled, path: Path, name: str) -> str:
    """Of the account of that name in the policy in force. Raises ValueError, or LedgerUnavailable."""
    assert compiled.config is not None
    return id_of_account(await document_in_force(path, compiled.config), name)


async def _tell(ledger: RedisLedger | ShardedLedger, action: str, token: StoredToken) -> None:
    line = entry(iso_now(), _who(), action, token=token.id, account=token.account)
    ledger.append_records(CHANGES, [line])
    await ledger.ping()  # what was posted before has left


def _who() -> str:
    try:
        return f"command ({getpass.getuser()})"
    except (OSError, KeyError):
        return "command"


@asynccontextmanager
async def _ledger(compiled: Compiled) -> AsyncIterator[RedisLedger | ShardedLedger]:
    """The ledger of the running instances. Raises ValueError."""
    if compiled.config is None:
        raise ValueError("there is no configuration to find the ledger by")
    section = compiled.config.ledger
    try:
        ledger = await connector_of(section.shard_by)(section.url, section.data_dir)
        try:
            yield ledger
        finally:
            await ledger.close()
    except (LedgerUnavailable, LedgerRefused) as error:
        raise ValueError(f"the ledger is away: {error}") from error
    except TooManyTokens as error:
        raise ValueError(str(error)) from error
