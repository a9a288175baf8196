from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from proxy.admin.api import Api, create_app
from proxy.admin.control_client import ControlClient
from proxy.admin.control_server import ControlServer
from proxy.admin.ledger_access import LedgerAccess
from proxy.admin.security import Guard
from proxy.observe.tasks import TaskKeeper
from tests.admin.stage import Stage, Target, ToldLedger


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    target, told, tasks = Target(), ToldLedger(), TaskKeeper()
    server, client = ControlServer(target), ControlClient(tasks)
    await server.start(tmp_path / "control")
    await client.connect(tmp_path / "control")

    async def opener() -> ToldLedger:
        return told

    app = create_app(Api(client, LedgerAccess(opener), tasks, sip_pid=1), "1.2.3")
    transport = httpx.ASGITransport(Guard(app, None), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
        yield Stage(target, told, http, app)
    client.close()
    await tasks.stop()
    await server.stop()
