"""Calls of accounts that each have a part of the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from policy.compiled import Scope
from proxy.ledger.ledger import Claim
from proxy.ledger.sharded_ledger import ShardedLedger
from tests.ledger.servers import scope, until

ShardedOpener = Callable[..., Awaitable[ShardedLedger]]


def sharded(account: str, provider: Scope, **limits: int) -> tuple[Scope, ...]:
    """The scopes of an account's calls over a provider."""
    shard = f"account:{account}"
    return (
        replace(scope(shard, **limits), shard=shard),
        replace(scope(f"trunk:{account}-pbx"), shard=shard),
        provider,
    )


def provider(**limits: int) -> Scope:
    return replace(scope("provider:p", **limits), shard="provider:p")


def claim(ref: str, scopes: tuple[Scope, ...], hold: int = 0) -> Claim:
    return Claim(ref, "pbx", scopes, hold, b'{"call_id":"a"}')


async def settled(ledger: ShardedLedger) -> None:
    await until(lambda: ledger.waiting == 0)


async def used(ledger: ShardedLedger, *scopes: Scope) -> list[tuple[int, int, int]]:
    return [(one.active_calls, one.spent, one.reserved) for one in await ledger.usage(scopes)]
