from __future__ import annotations

import asyncio

import pytest

from proxy.admin import ledger_access
from proxy.admin.ledger_access import LedgerAccess
from proxy.ledger.hangup import HangupResult
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from tests.admin.stage import ToldLedger


async def test_it_is_opened_once_when_it_is_needed() -> None:
    opened: list[ToldLedger] = []

    async def opener() -> ToldLedger:
        await asyncio.sleep(0)
        opened.append(ToldLedger())
        return opened[-1]

    access = LedgerAccess(opener)
    assert opened == []
    await asyncio.gather(access.calls(1), access.usage([]), access.records("decisions", 1))
    assert len(opened) == 1
    await access.close()
    assert opened[0].closed


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ConnectionRefusedError("refused"), "connection"),
        (LedgerUnavailable("noauth", "password"), "noauth"),
        (LedgerRefused("too old"), "other"),
    ],
)
async def test_a_ledger_that_is_away_is_tried_again(failure: Exception, kind: str) -> None:
    failing = True

    async def opener() -> ToldLedger:
        if failing:
            raise failure
        return ToldLedger()

    access = LedgerAccess(opener)
    with pytest.raises(LedgerUnavailable) as raised:
        await access.calls(1)
    assert raised.value.kind == kind
    failing = False
    assert await access.calls(1) == []


async def test_a_ledger_that_hangs_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_access, "OPEN_SECONDS", 0.02)
    monkeypatch.setattr(ledger_access, "ANSWER_SECONDS", 0.02)

    class Hanging(ToldLedger):
        async def hang_up(self, *, ref: str | None = None, trunk: str | None = None) -> HangupResult:
            await asyncio.Event().wait()
            return HangupResult(0, 0, ())

    async def never() -> ToldLedger:
        await asyncio.Event().wait()
        return ToldLedger()

    async def hanging() -> ToldLedger:
        return Hanging()

    for opener in (never, hanging):
        with pytest.raises(LedgerUnavailable) as raised:
            await LedgerAccess(opener).hang_up(ref="x")
        assert raised.value.kind == "timeout"
