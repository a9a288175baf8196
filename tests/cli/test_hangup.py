"""The panic button, through a real instance's ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cli.hangup import hang_up
from proxy.configuration import Compiled, load_policy
from proxy.ledger import redis_ledger
from tests.ledger.servers import Server, until
from tests.live import Line, aside, configuration, running, write


async def test_ends_the_calls_of_a_trunk(empty_server: Server, phones: Line, tmp_path: Path) -> None:
    content = configuration(phones, ledger={"url": empty_server.url})
    async with running(tmp_path, content, phones) as app:
        await app.ledger.hears_hangups()
        compiled = load_policy(app.path)
        assert await hang_up(compiled, "office", None) == []
        await aside(phones.talk)
        await aside(phones.talk)
        refs = sorted(app.accounting.live)
        assert sorted(await hang_up(compiled, "office", None)) == refs
        for _ in refs:
            await aside(phones.take_byes)
        await until(lambda: not app.accounting.live)


async def test_ends_one_call(empty_server: Server, phones: Line, tmp_path: Path) -> None:
    content = configuration(phones, ledger={"url": empty_server.url})
    async with running(tmp_path, content, phones) as app:
        await app.ledger.hears_hangups()
        await aside(phones.talk)
        (ref,) = app.accounting.live
        compiled = load_policy(app.path)
        with pytest.raises(ValueError, match="no live call has the ref `nobody`"):
            await hang_up(compiled, None, "nobody")
        assert await hang_up(compiled, None, ref) == [ref]
        await aside(phones.take_byes)


async def test_nobody_to_tell(empty_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = load_policy(write(tmp_path, configuration(ledger={"url": empty_server.url})))
    with pytest.raises(ValueError, match="no instance is running on this ledger"):
        await hang_up(compiled, "office", None)
    with pytest.raises(ValueError, match="no trunk is called `nobody`"):
        await hang_up(compiled, "nobody", None)
    monkeypatch.setattr(redis_ledger, "PATIENCE", 0.05)
    away = load_policy(write(tmp_path, configuration(ledger={"data_dir": str(tmp_path / "data")})))
    with pytest.raises(ValueError, match="the ledger is away"):
        await hang_up(away, "office", None)
    assert not (tmp_path / "data").exists()  # the command starts no ledger
    with pytest.raises(ValueError, match="no configuration"):
        await hang_up(Compiled(None, None, (), ()), "office", None)
