"""What `explain` asks and shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cli.explain import ask, render
from proxy.configuration import Compiled, load_policy
from proxy.ledger import redis_ledger
from proxy.ledger.redis_ledger import open_ledger
from tests.ledger.servers import PATIENT, Server
from tests.live import PBX_HOST, configuration, write


def compiled(folder: Path, server: Server | None = None, **changes: object) -> Compiled:
    ledger = {"data_dir": str(folder / "data")} if server is None else {"url": server.url}
    return load_policy(write(folder, configuration(ledger=ledger, **changes)))


async def test_asks_the_policy_without_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compiled(tmp_path, trunk={"capacity_limit": "0"})
    fields = await ask(found, PBX_HOST, "+442071838750", None, None, live=False)
    assert (fields["decision"], fields["request_uri"]) == ("admitted", "sip:+442071838750@127.0.0.1:5999")
    assert not (tmp_path / "data").exists()
    render(fields)
    assert "headroom: not asked" in capsys.readouterr().out


async def test_asks_the_ledger_for_room(empty_server: Server, tmp_path: Path) -> None:
    found = compiled(tmp_path, empty_server, trunk={"capacity_limit": "3"})
    ledger = await open_ledger(empty_server.url, tmp_path, lease_seconds=30, owner="x", deadline=PATIENT)
    fields = await ask(found, PBX_HOST, "+442071838750", None, None, live=True)
    await ledger.close()
    assert fields["headroom"][0]["capacity_left"] == 3


async def test_ledger_that_is_away_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_ledger, "PATIENCE", 0.05)
    with pytest.raises(ValueError, match="the ledger cannot be asked"):
        await ask(compiled(tmp_path), PBX_HOST, "+442071838750", None, None, live=True)
    with pytest.raises(ValueError, match="no policy"):
        await ask(Compiled(None, None, (), ()), PBX_HOST, "1", None, None, live=False)


async def test_shows_every_check_and_what_the_caller_sees(
    empty_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = compiled(tmp_path, empty_server)
    render(await ask(found, PBX_HOST, "+33142685300", None, None, live=True))
    shown = capsys.readouterr().out
    for text in (
        "source",
        "country",
        "refuse",
        "FR is not in destination_whitelist",
        "headroom",
        "unlimited",
    ):
        assert text in shown
    for line in ("decision: refused", "reason: COUNTRY", "sip_status: 403", "called: +33142685300"):
        assert line in shown.splitlines()
    assert "provider: " not in shown


def test_the_headroom_fits_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = {
        "scope": "trunk:acme.office",
        "active_calls": 3,
        "capacity_left": None,
        "spent_amount": "1234.567891",
        "reserved_amount": "0.00",
        "amount_left": "10.00",
    }
    render({"checks": [], "decision": "admitted", "headroom": [row]})
    shown = capsys.readouterr().out
    assert "…" not in shown
    for text in ("reserved", "capacity", "1234.567891", "unlimited"):
        assert text in shown


def test_text_of_others_is_not_taken_for_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    check = {"name": "number", "scope": "[bold]", "outcome": "[red]", "detail": "[link=x]:smile:"}
    render({"checks": [check], "decision": "[blink]refused", "headroom": None})
    shown = capsys.readouterr().out
    for text in ("[bold]", "[red]", "[link=x]:smile:", "decision: [blink]refused"):
        assert text in shown
