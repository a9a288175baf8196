from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.admin.api import Api, create_app
from proxy.admin.control_client import ControlClient
from proxy.admin.control_server import ControlServer
from proxy.admin.ledger_access import AdminLedger, LedgerAccess
from proxy.ledger.redis_ledger import open_ledger
from proxy.observe.tasks import TaskKeeper
from tests.admin.access.house import House
from tests.admin.stage import Target
from tests.ledger.servers import Server


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a Unix socket."""
    path = Path(tempfile.mkdtemp(prefix="tw"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def house(folder: Path) -> AsyncIterator[House]:
    server = Server("valkey", folder)
    ledger = await open_ledger(server.url, folder, lease_seconds=30, owner="test")
    target, tasks = Target(), TaskKeeper()
    control, client = ControlServer(target), ControlClient(tasks)
    await control.start(folder / "control")
    await client.connect(folder / "control")

    async def opener() -> AdminLedger:
        return ledger

    access = LedgerAccess(opener)
    app = create_app(Api(client, access, tasks, sip_pid=1), "1.2.3")
    yield House(target, ledger, access, app, tasks)
    client.close()
    await tasks.stop()
    await control.stop()
    await ledger.close()
    server.kill()
