"""The far ends of the HTTP process for its tests: a SIP process and a ledger that answer as told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx

from config.model import Config
from policy.compiled import Scope
from proxy.admin.control_protocol import Heartbeat, PolicyState, ReloadOutcome
from proxy.admin.security import Guard
from proxy.ledger.hangup import HangupResult
from proxy.ledger.ledger import LedgerUnavailable, LiveCall, ScopeUsage
from proxy.observe.exposition import Snapshot
from proxy.observe.metrics import Metrics
from proxy.webhooks.settings import section_of


class Target:
    """A ControlTarget whose answers a test sets. `gate`, when set, holds every heartbeat back."""

    def __init__(self) -> None:
        self.numbers = Metrics()
        self.parts = {"sockets": True, "ledger": True, "policy": True}
        self.detail: dict[str, str] = {}
        self.problems: list[str] = []
        self.version = "v1"
        self.scopes = {
            "office": Scope("trunk:office", "trunk", "office", capacity_limit=3, threshold=100_000_000),
            "open": Scope("trunk:open", "trunk", "open"),
        }
        self.accounts: dict[str, str] = {}
        self.gate: asyncio.Event | None = None
        self.heartbeats = 0
        self.explained: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.ready: list[int] = []

    async def heartbeat(self) -> Heartbeat:
        self.heartbeats += 1
        if self.gate is not None:
            await self.gate.wait()
        return {"parts": self.parts, "detail": self.detail}

    def metrics(self) -> Snapshot:
        return self.numbers.snapshot()

    def policy(self) -> PolicyState:
        return {"version": self.version, "loaded_at": "2025-03-01T12:00:00.000Z", "problems": self.problems}

    def trunk_scopes(self) -> Mapping[str, Scope]:
        return self.scopes

    def trunk_accounts(self) -> Mapping[str, str | None]:
        return {name: self.accounts.get(name) for name in self.scopes}

    async def reload(self) -> ReloadOutcome:
        if not self.problems:
            self.version = "v2"
        return {"version": self.version, "problems": self.problems}

    def happenings(self) -> dict[str, Any]:
        return {
            "stamp": self.version,
            "version": self.version,
            "number": None,
            "providers": self.numbers.provider_up,
            **self.numbers.happenings.take(),
        }

    async def webhooks(self, start: int) -> dict[str, Any]:
        return {"section": section_of(Config()), "trunks": [], "more": False}

    async def explain(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        self.explained.append(request)
        return {"decision": "refused", "reason": "COUNTRY"}


class ToldLedger:
    """An AdminLedger that answers what a test put in; `unavailable` makes every verb fail."""

    def __init__(self) -> None:
        self.unavailable = False
        self.used: dict[str, ScopeUsage] = {}
        self.live: list[LiveCall] = []
        self.lines: list[bytes] = []
        self.hung_up: list[tuple[str | None, str | None]] = []
        self.closed = False
        self.instances = 1
        self.answering = 1

    def _check(self) -> None:
        if self.unavailable:
            raise LedgerUnavailable("timeout", "no answer")

    async def usage(self, scopes: Sequence[Scope]) -> list[ScopeUsage]:
        self._check()
        return [self.used.get(scope.id, ScopeUsage(0, 0, 0, 1_740_830_400_000)) for scope in scopes]

    async def calls(self, limit: int = 1000) -> list[LiveCall]:
        self._check()
        return self.live[:limit]

    async def records(self, stream: str, limit: int) -> list[bytes]:
        self._check()
        assert stream == "decisions"
        return self.lines[:limit]

    async def hang_up(self, *, ref: str | None = None, trunk: str | None = None) -> HangupResult:
        self._check()
        self.hung_up.append((ref, trunk))
        refs = [call.ref for call in self.live if ref in (None, call.ref) and trunk in (None, call.trunk)]
        return HangupResult(self.instances, self.answering, tuple(refs))

    async def close(self) -> None:
        self.closed = True


class Stage:
    """The application in this process, on a real control socket."""

    def __init__(self, target: Target, ledger: ToldLedger, guarded: httpx.AsyncClient, app: Any) -> None:
        self.target = target
        self.ledger = ledger
        self.http = guarded
        self.app = app

    def with_token(self, token: str) -> httpx.AsyncClient:
        """A client of the same application behind a token."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(Guard(self.app, token)), base_url="http://proxy.example:8080"
        )


async def until_ready(http: httpx.AsyncClient) -> None:
    """The SIP process has a second to answer in, which a busy machine does not always give it."""

    async def ready() -> bool:
        return (await http.get("/readyz")).status_code == 200

    await until(ready, 30)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until the condition holds; a TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
