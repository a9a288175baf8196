from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from proxy.admin import api
from proxy.admin.api import Api, create_app
from proxy.admin.control_client import ControlClient
from proxy.admin.control_server import ControlServer
from proxy.admin.ledger_access import AdminLedger, LedgerAccess
from proxy.admin.security import Guard
from proxy.ledger import versions
from proxy.ledger.redis_ledger import open_ledger
from proxy.objects.editor import open_editor
from proxy.observe.tasks import TaskKeeper
from tests.admin.house import House
from tests.admin.stage import Stage, Target, ToldLedger
from tests.ledger.servers import PATIENT, Server

POLICY = """
emergency: none
trunks:
  - {name: office, allowed_sip_ips: [192.0.2.10], destination_whitelist: [us], capacity_limit: 3}
  - {name: open, allowed_sip_ips: [192.0.2.11], destination_whitelist: [us]}
"""


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(api, "HEARTBEAT_SECONDS", 30.0)  # a busy machine may stand still for longer than one
    target, told, tasks = Target(), ToldLedger(), TaskKeeper()
    server, client = ControlServer(target), ControlClient(tasks)
    await server.start(tmp_path / "control")
    await client.connect(tmp_path / "control")

    async def opener() -> ToldLedger:
        return told

    file = tmp_path / "trunkwarden.yaml"
    file.write_text(POLICY)
    editor = open_editor(file, "file", "unix:///nowhere", tmp_path)
    app = create_app(Api(client, LedgerAccess(opener), tasks, sip_pid=1), "1.2.3", editor)
    transport = httpx.ASGITransport(Guard(app, None), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
        yield Stage(target, told, http, app)
    client.close()
    await tasks.stop()
    await server.stop()


OWN = """
policy: {source: store}
emergency: none
"""


@pytest.fixture
async def house(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(versions, "HEAD_DEADLINE", PATIENT)  # as above
    server = Server("valkey", short_folder)
    ledger = await open_ledger(server.url, short_folder, lease_seconds=30, owner="test", deadline=PATIENT)
    target, tasks = Target(), TaskKeeper()
    control, client = ControlServer(target), ControlClient(tasks)
    await control.start(short_folder / "control")
    await client.connect(short_folder / "control")

    async def opener() -> AdminLedger:
        return ledger

    access = LedgerAccess(opener)
    file = short_folder / "trunkwarden.yaml"
    file.write_text(OWN)
    editor = open_editor(file, "store", server.url, short_folder)
    app = create_app(Api(client, access, tasks, sip_pid=1), "1.2.3", editor)
    yield House(target, ledger, access, app, tasks, server)
    client.close()
    await editor.close()
    await tasks.stop()
    await control.stop()
    await ledger.close()
    server.kill()
