from __future__ import annotations

import pytest

from proxy.admin.access import pace
from proxy.admin.access.pace import A_DAY, BURST, INTERVAL, Pace
from tests.admin.house import ROOT, House


def test_an_account_has_a_burst_and_then_some_each_minute() -> None:
    pace = Pace()
    assert [pace.wait("acme", 5.0) for _ in range(BURST)] == [0.0] * BURST
    assert pace.wait("acme", 5.0) == pytest.approx(INTERVAL)
    assert pace.wait("umbrella", 5.0) == 0.0
    assert pace.wait("acme", 5.0 + INTERVAL / 2) == pytest.approx(INTERVAL / 2)
    assert pace.wait("acme", 5.0 + INTERVAL) == 0.0
    assert pace.wait("acme", 5.0 + INTERVAL) > 0
    assert [pace.wait("acme", 1e6) for _ in range(BURST)] == [0.0] * BURST


def test_an_account_has_so_many_a_day() -> None:
    """Where a thousand versions are kept, one account at one instance takes a day to push them all out."""
    pace, now, changes, since = Pace(), 0.0, 0, []
    while changes < 1000:
        wait = pace.wait("acme", now)
        now += wait
        if wait == 0.0:
            changes += 1
            since.append(now)
    assert since[A_DAY - 1] == pytest.approx((A_DAY - BURST) * INTERVAL, rel=0.3)
    assert since[-1] == pytest.approx(86_400.0, rel=0.01)
    assert pace.wait("umbrella", now) == 0.0


async def test_who_has_changed_too_much_still_reads_and_ends_calls(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_RATES", ((BURST, 3600.0),))  # however long the requests of this test take
    await house.put("accounts", name="acme", destination_whitelist=["us"])
    async with await house.tenant("acme", "write", "calls") as acme, house.client(ROOT) as root:
        for path in ("/v1/outplans/x", "/didww/v3/voice_out_trunks/x") * (BURST // 2):
            assert (await acme.delete(path)).status_code == 404
        answer = await acme.post("/v1/outplans", json={"name": "acme.o"})
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 3600
        assert (await acme.get("/v1/accounts")).status_code == 200
        assert (await acme.delete("/v1/calls/none")).status_code == 404
        assert (await root.post("/v1/outplans", json={"name": "o"})).status_code == 201
