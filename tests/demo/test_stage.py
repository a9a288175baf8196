from __future__ import annotations

import asyncio

import pytest

from proxy.demo import stage as module
from proxy.demo.stage import CannotStage, Record, staged
from tests.demo.waiting import until


@pytest.mark.usefixtures("loopback_addresses")
async def test_peers_speak_through_the_real_proxy_and_nothing_is_left() -> None:
    records: list[Record] = []
    async with staged(lambda: 0.01) as stage:
        folder = stage.app.path.parent
        assert stage.app.config.ledger.data_dir.is_relative_to(folder)
        stage.on_record = records.append
        async with asyncio.timeout(40):
            outcome = await stage.office.talk(stage.office.dial("+442079460123"), 0.01)
            refused = await stage.office.talk(stage.office.dial("+33199001234"), 0.01)
        await until(lambda: len(records) == 3)
    assert outcome.status == 200
    assert (refused.status, refused.code) == (403, "COUNTRY")
    assert sorted((record["record"], record["country"]) for record in records) == [
        ("call", "GB"),
        ("decision", "FR"),
        ("decision", "GB"),
    ]
    assert stage.provider.seen == 1
    assert not folder.exists()
    assert stage.app.admin.pid is None
    assert not stage.app.ledger.connected


async def test_an_address_that_cannot_be_bound_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROVIDER", "192.0.2.77")
    with pytest.raises(CannotStage, match=r"192\.0\.2\.77 cannot be bound"):
        async with staged(lambda: 0.01):
            pass


async def test_on_macos_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROVIDER", "192.0.2.77")
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(CannotStage, match=r"sudo ifconfig lo0 alias 192\.0\.2\.77 up"):
        async with staged(lambda: 0.01):
            pass
