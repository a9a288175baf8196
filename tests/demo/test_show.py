from __future__ import annotations

import asyncio

import pytest

from proxy.demo.provider import BUSY
from proxy.demo.screen import Screen
from proxy.demo.show import Show
from proxy.demo.stage import staged
from proxy.demo.traffic import PlannedCall, Traffic
from tests.demo.waiting import until


class Script(Traffic):
    """The calls of the test, one straight after the other, and then none."""

    def __init__(self, *plans: PlannedCall) -> None:
        super().__init__(0)
        self._plans = list(plans)

    def next(self) -> PlannedCall:
        return self._plans.pop(0)

    def pause(self) -> float:
        return 0.05 if self._plans else 3600.0

    def ring_seconds(self) -> float:
        return 0.01


@pytest.mark.usefixtures("loopback_addresses")
async def test_decisions_and_ends_are_shown_and_summed_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.demo.show._CLOSING_SECONDS", 30.0)
    script = Script(
        PlannedCall("office", "+442079460123", 0.05, 5.0),
        PlannedCall("office", "+442079460" + BUSY, 0.05, 5.0),
        PlannedCall("office", "+33199001234", 0.05, 5.0),
        PlannedCall("stranger", "+442079460123", 0.05, 5.0),
        PlannedCall("office", "+12125550123", 3600.0, 5.0),  # goes on until the show ends
    )
    stop = asyncio.Event()
    async with staged(script.ring_seconds) as stage:
        show = Show(stage, Screen(), script)
        running = stage.keeper.start(show.run(stop), name="show")
        await until(lambda: show.decisions.total() == 5 and show.ended.total() == 2)
        await until(lambda: any(call.dialog is not None for call in stage.office.up))
        async with asyncio.timeout(40):
            stop.set()
            await running
        assert await stage.app.ledger.calls() == []
    assert show.decisions == {
        ("office-pbx", "admitted", ""): 3,
        ("office-pbx", "refused", "COUNTRY"): 1,
        ("-", "refused", "SOURCE"): 1,
    }
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["office-pbx", "+33199001234", "FR", "refused", "COUNTRY", "403"] in [line[1:] for line in lines]
    assert ["-", "+442079460123", "-", "refused", "SOURCE", "403"] in [line[1:] for line in lines]
    assert ["office-pbx", "+442079460486", "GB", "ended", "by", "provider", "486"] in [
        line[1:] for line in lines
    ]
    assert any(line[1:4] == ["office-pbx", "+12125550123", "US"] and line[-1] == "0.01" for line in lines)
    assert ["office-pbx", "3", "0.022"] in lines
    assert "5 calls judged, 2 refused; 3 INVITEs reached the provider" in out
    assert f"dashboard  {stage.app.admin_url}/" in out
