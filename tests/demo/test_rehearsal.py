from __future__ import annotations

from dataclasses import replace

import pytest

from policy.reasons import REFUSALS, ReasonCode
from proxy.demo.rehearsal import CASES, Case, Rehearsal, Result, rehearse
from proxy.demo.screen import Screen
from proxy.demo.stage import staged

BUSY = Case("busy", "office", "1", None, 486, cost="0")
COUNTRY = Case("wrong country", "office", "1", "COUNTRY", 403)


@pytest.mark.parametrize(
    ("result", "deviations"),
    [
        (Result(BUSY, 486, None, "admitted", None, {"cost": "0"}), []),
        (Result(BUSY, 200, None, "admitted", None, {"cost": "0"}), ["200, wanted 486"]),
        (Result(BUSY, 486, None, "admitted", None, {"cost": "0.1"}), ["0.1, wanted 0"]),
        (Result(BUSY, 486, None, "admitted", None, {"cost": "0.00"}), []),
        (Result(BUSY, 486, None, "admitted", None, None), ["-, wanted 0"]),
        (Result(COUNTRY, 403, "COUNTRY", "refused", "COUNTRY"), []),
        (Result(COUNTRY, 403, "PREFIX", "refused", "PREFIX"), ["PREFIX, wanted COUNTRY"]),
        (Result(COUNTRY, 403, None, "refused", "COUNTRY"), ["-, wanted COUNTRY"]),
        (
            Result(COUNTRY, 200, None, "admitted", None),
            ["admitted, wanted refused", "-, wanted COUNTRY", "200, wanted 403"],
        ),
        (
            Result(COUNTRY, 403, "COUNTRY", "no record", None),
            ["no record, wanted refused", "-, wanted COUNTRY"],
        ),
        (
            Result(
                replace(BUSY, ended_by="proxy"), 486, None, "admitted", None, {"cost": "0", "ended_by": "x"}
            ),
            ["x, wanted proxy"],
        ),
    ],
)
def test_deviations_are_named(result: Result, deviations: list[str]) -> None:
    assert result.deviations() == deviations
    verdict = result.cells()[-1]
    assert verdict == ("yes" if not deviations else "NO: " + "; ".join(deviations))


def test_expected_statuses_are_those_of_the_contract() -> None:
    for case in CASES:
        if case.reason is not None:
            assert case.status == REFUSALS[ReasonCode(case.reason)].status


@pytest.mark.usefixtures("loopback_addresses")
async def test_one_wrong_expectation_fails_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    right = Case("wrong country", "office", "+33199001234", "COUNTRY", 403)
    wrong = Case("denied prefix", "office", "+19005550123", "COUNTRY", 403)
    async with staged(lambda: 0.01) as stage:
        assert await rehearse(stage, Screen(), (right,))
        assert not await rehearse(stage, Screen(), (right, wrong))
    out = capsys.readouterr().out
    assert "1 of 1 calls as expected; 0 leases left" in out
    assert "1 of 2 calls as expected; 0 leases left" in out
    assert "NO: PREFIX, wanted COUNTRY" in out


@pytest.mark.usefixtures("loopback_addresses")
async def test_a_lease_that_is_left_fails_the_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.demo.rehearsal.LIMIT_SECONDS", 0.1)
    async with staged(lambda: 0.01) as stage:
        call = stage.office.dial("+442079460123")
        await call.outcome()
        assert await Rehearsal(stage).leases_gone() == 1
        stage.provider.seen = 0
        assert not await rehearse(stage, Screen(), ())
        await call.hang_up()
    assert "1 leases left" in capsys.readouterr().out


@pytest.mark.usefixtures("loopback_addresses")
async def test_a_call_that_slips_to_the_provider_fails_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    async with staged(lambda: 0.01) as stage:
        stage.provider.seen = 1
        assert not await rehearse(stage, Screen(), ())
    assert "1 INVITEs reached the provider, 0 calls were admitted" in capsys.readouterr().out
