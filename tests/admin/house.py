"""The application behind its guard, on a real ledger."""

from __future__ import annotations

from typing import Any

import httpx

from policy.compiled import Scope
from proxy.admin.access.audit import Audit
from proxy.admin.access.tenancy import in_force
from proxy.admin.ledger_access import LedgerAccess
from proxy.admin.security import Guard
from proxy.ledger.ledger import Claim, Reservation
from proxy.ledger.redis_ledger import RedisLedger
from proxy.observe.clock import iso_now
from proxy.observe.tasks import TaskKeeper
from tests.admin.stage import Target
from tests.ledger.servers import Server

ROOT = "the-configured-token"


class House:
    """`root` has the configured token; `tenant` makes a token and gives a client that shows it."""

    def __init__(
        self,
        target: Target,
        ledger: RedisLedger,
        access: LedgerAccess,
        app: Any,
        tasks: TaskKeeper,
        server: Server,
    ) -> None:
        self.server = server
        self.target = target
        self.ledger = ledger
        self.access = access
        self.app = app
        self.tasks = tasks
        find = in_force(access.find_token, app.state.policy)
        self.guard = Guard(app, ROOT, find=find, audit=Audit(access.append, tasks, iso_now))

    def client(self, token: str | None, source: str = "192.0.2.1") -> httpx.AsyncClient:
        """One who comes from `source`."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.guard, client=(source, 40000)),
            base_url="http://proxy.example:8080",
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
        )

    async def create(self, name: str, *scopes: str, account: str | None = None) -> dict[str, Any]:
        """A token, as the answer shows it."""
        async with self.client(ROOT) as root:
            wanted = {"name": name, "scopes": scopes, "account": account}
            answer = await root.post("/v1/tokens", json=wanted)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def tenant(self, account: str, *scopes: str) -> httpx.AsyncClient:
        """A client with a token of this account."""
        return self.client((await self.create(f"of-{account}", *scopes, account=account))["token"])

    async def put(self, kind: str, **fields: Any) -> dict[str, Any]:
        """An object of the policy, made by root."""
        async with self.client(ROOT) as root:
            answer = await root.post(f"/v1/{kind}", json=fields)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def live_call(self, ref: str, trunk: str, record: bytes) -> None:
        scope: Scope = self.target.scopes[trunk]
        outcome = await self.ledger.reserve(Claim(ref, trunk, (scope,), 0, record))
        assert isinstance(outcome, Reservation)
