"""The HTTP process's own connection to the ledger, opened when it is first needed and again when it was
lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from policy.compiled import Scope
from proxy.ledger.hangup import HangupResult
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable, LiveCall, ScopeUsage
from proxy.ledger.requests import Requests
from proxy.ledger.streams import older
from proxy.ledger.tokens import StoredToken, Tokens

T = TypeVar("T")

OPEN_SECONDS = 4.0
ANSWER_SECONDS = 5.0


class AdminLedger(Protocol):
    """The verbs of the ledger that the HTTP API uses. All raise LedgerUnavailable."""

    async def usage(self, scopes: Sequence[Scope]) -> list[ScopeUsage]: ...

    async def calls(self, limit: int = 1000) -> list[LiveCall]: ...

    async def records(self, stream: str, limit: int) -> list[bytes]: ...

    async def hang_up(self, *, ref: str | None = None, trunk: str | None = None) -> HangupResult:
        """Tell the instances to end calls, and wait for what they answer."""
        ...

    def append_records(self, stream: str, lines: Sequence[bytes]) -> None: ...

    @property
    def requests(self) -> Requests: ...

    async def close(self) -> None: ...


class LedgerAccess:
    """The same verbs, on a connection that is made on demand. A ledger that is away at the start costs an
    answer, not the process."""

    def __init__(self, opener: Callable[[], Awaitable[AdminLedger]]) -> None:
        """`opener` connects, or raises LedgerUnavailable, LedgerRefused or OSError."""
        self._opener = opener
        self._ledger: AdminLedger | None = None
        self._opening = asyncio.Lock()

    async def usage(self, scopes: Sequence[Scope]) -> list[ScopeUsage]:
        ledger = await self._open()
        return await _in_time(ledger.usage(scopes))

    async def calls(self, limit: int) -> list[LiveCall]:
        ledger = await self._open()
        return await _in_time(ledger.calls(limit))

    async def records(self, stream: str, limit: int) -> list[bytes]:
        ledger = await self._open()
        return await _in_time(ledger.records(stream, limit))

    async def hang_up(self, *, ref: str | None = None, trunk: str | None = None) -> HangupResult:
        ledger = await self._open()
        return await _in_time(ledger.hang_up(ref=ref, trunk=trunk))

    async def append(self, stream: str, lines: Sequence[bytes]) -> None:
        """Behind the wire."""
        (await self._open()).append_records(stream, lines)

    async def older(self, stream: str, before: bytes) -> list[tuple[bytes, bytes]]:
        """As `proxy.ledger.streams.older`."""
        ledger = await self._open()
        return await _in_time(older(ledger.requests, stream, before))

    async def tokens(self) -> Tokens:
        """Those of the HTTP API."""
        return Tokens((await self._open()).requests)

    async def find_token(self, token_id: str) -> StoredToken | None:
        return await _in_time((await self.tokens()).find(token_id))

    async def close(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            await ledger.close()

    async def _open(self) -> AdminLedger:
        async with self._opening:
            if self._ledger is None:
                try:
                    async with asyncio.timeout(OPEN_SECONDS):
                        self._ledger = await self._opener()
                except TimeoutError:
                    raise LedgerUnavailable("timeout", f"no connection within {OPEN_SECONDS:g} s") from None
                except OSError as error:
                    raise LedgerUnavailable("connection", str(error)) from None
                except LedgerRefused as error:
                    raise LedgerUnavailable("other", str(error)) from None
            return self._ledger


async def _in_time(work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await work
    except TimeoutError:
        raise LedgerUnavailable("timeout", f"no answer within {ANSWER_SECONDS:g} s") from None
