"""What the HTTP process may ask, of a real instance."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from policy.reasons import ReasonCode
from proxy.admission.inquiry import Unclear
from proxy.app import Application
from proxy.control import Control
from proxy.ledger.ledger import LedgerUnavailable
from tests.ledger.servers import Server, until
from tests.live import PBX_HOST, Line, aside, configuration, running, write


@pytest.fixture
async def app(own_server: Server, phones: Line, tmp_path: Path) -> AsyncIterator[Application]:
    content = configuration(phones, ledger={"url": own_server.url}, trunk={"capacity_limit": "1"})
    async with running(tmp_path, content, phones) as started:
        yield started


async def test_heartbeat_names_what_fails(app: Application, own_server: Server) -> None:
    control = Control(app)
    assert await control.heartbeat() == {
        "parts": {"sockets": True, "ledger": True, "policy": True, "accepting": True},
        "detail": {},
    }
    app.core.gate = ReasonCode.DRAINING
    own_server.kill()
    await until(lambda: not app.housekeeping.ledger_answers)
    beat = await control.heartbeat()
    assert [name for name, works in beat["parts"].items() if not works] == ["ledger", "accepting"]
    assert set(beat["detail"]) == {"ledger", "accepting"}


async def test_policy_and_reload(app: Application, tmp_path: Path) -> None:
    control = Control(app)
    before = control.policy()
    assert before == {
        "version": app.store.policy.version,
        "loaded_at": before["loaded_at"],
        "problems": [],
        "store_version": None,
    }
    assert before["loaded_at"].endswith("Z")
    path = write(tmp_path, "nonsense: 1\n")
    outcome = await control.reload()
    assert outcome["version"] == before["version"]
    assert outcome["problems"] == control.policy()["problems"]
    assert outcome["problems"][0].startswith(f"{path}:1: nonsense: ")
    write(tmp_path, configuration(trunk={"status": "blocked"}))
    outcome = await control.reload()
    assert outcome["problems"] == []
    assert outcome["version"] != before["version"]
    assert control.policy()["problems"] == []


async def test_trunks_and_metrics(app: Application) -> None:
    control = Control(app)
    (scope,) = control.trunk_scopes().values()
    assert (scope.id, scope.capacity_limit) == ("trunk:office", 1)
    snapshot = control.metrics()
    assert [["office"], 0] in json.loads(json.dumps(snapshot))["samples"]["trunkwarden_calls_active"]


async def test_explain(app: Application, phones: Line) -> None:
    control = Control(app)
    asked = {"source": PBX_HOST, "to": "+442071838750"}
    fields = await control.explain(asked)
    assert (fields["decision"], fields["trunk"], fields["headroom"]) == ("admitted", "office", None)
    await aside(phones.talk)
    live = await control.explain({**asked, "live": True})
    assert (live["decision"], live["reason"], live["sip_status"]) == ("refused", "CAPACITY", 403)
    assert live["headroom"][0]["active_calls"] == 1
    assert json.dumps(live)


async def test_explain_without_sense_or_ledger(app: Application, own_server: Server) -> None:
    control = Control(app)
    with pytest.raises(Unclear):
        await control.explain({"source": "nonsense", "to": "112"})
    own_server.kill()
    await until(lambda: not app.ledger.connected)
    with pytest.raises(LedgerUnavailable):
        await control.explain({"source": PBX_HOST, "to": "112", "live": True})
