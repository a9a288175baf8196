"""One instance, wired together: start, reload, hang-up, drain, stop."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.model import Listener
from proxy.app import Application, _minter
from proxy.ledger import keys, redis_ledger
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.listening import CannotBind, _sent_by
from tests.call.playbook import answer
from tests.ledger.servers import Server, settled, until
from tests.live import (
    Line,
    alive,
    application,
    aside,
    configuration,
    descendants,
    only_linux,
    running,
    write,
)
from tests.routing.dns_server import DnsServer

DRAIN, LONG = 60.0, 15.0
"""Seconds that a drain may take, and that none takes whose calls have ended, on a busy machine."""


def content(phones: Line | None, server: Server, **changes: Any) -> dict[str, Any]:
    return configuration(phones, ledger={"url": server.url}, **changes)


# --- start and stop ---


async def test_ready_when_started_and_nothing_left_when_stopped(short_folder: Path) -> None:
    only_linux()
    path = write(short_folder, configuration(ledger={"data_dir": str(short_folder / "data")}))
    app = application(path, Application)
    before = descendants(os.getpid())
    await app.start()
    ((_, local),) = app.server.endpoints
    assert app.ready_line() == (
        f"ready sip=udp:127.0.0.1:{local[1]} admin={app.admin_url} ledger=embedded "
        f"policy={app.store.policy.version}"
    )
    children = descendants(os.getpid()) - before
    assert len(children) == 2  # the ledger's server and the HTTP process
    async with httpx.AsyncClient(base_url=app.admin_url) as http:
        assert (await http.get("/readyz")).status_code == 200
    await app.stop()
    assert not [pid for pid in children if alive(pid)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(local)
    assert len(app.keeper) == 0


async def test_port_that_is_taken(short_folder: Path) -> None:
    only_linux()
    before = descendants(os.getpid())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        config = configuration(
            listen=["udp:127.0.0.1:0", f"udp:127.0.0.1:{port}"],
            ledger={"data_dir": str(short_folder / "data")},
        )
        app = application(write(short_folder, config))
        with pytest.raises(CannotBind, match=f"cannot bind udp:127.0.0.1:{port}: Address already in use"):
            await app.start()
    assert not [pid for pid in descendants(os.getpid()) - before if alive(pid)]


async def test_http_port_that_is_taken(empty_server: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        config = configuration(ledger={"url": empty_server.url}, admin={"listen": where})
        app = application(write(tmp_path, config), Application)
        with pytest.raises(CannotBind, match=f"cannot bind {where} for HTTP"):
            await app.start()
    assert len(app.keeper) == 0


async def test_records_that_cannot_be_written(empty_server: Server, tmp_path: Path) -> None:
    config = content(None, empty_server, records={"file": str(tmp_path / "no" / "records")})
    with pytest.raises(CannotBind, match=r"cannot write records to .*No such file"):
        await application(write(tmp_path, config)).start()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
async def test_records_that_a_full_disk_does_not_take_are_counted(
    empty_server: Server, phones: Line, tmp_path: Path
) -> None:
    config = content(phones, empty_server, records={"file": "/dev/full"})
    async with running(tmp_path, config, phones) as app:
        before = dict(app.metrics.snapshot()["samples"])["trunkwarden_records_dropped_total"]
        await aside(phones.talk)  # as ever
        await until(lambda: app.metrics.records_dropped() == 1)
        after = dict(app.metrics.snapshot()["samples"])["trunkwarden_records_dropped_total"]
    assert (before, after) == ([([], 0)], [([], 1)])


async def test_name_servers_that_are_none(
    empty_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKWARDEN_NAMESERVERS", "dns.example.org")
    with pytest.raises(CannotBind, match="TRUNKWARDEN_NAMESERVERS in the environment: 'dns"):
        await application(write(tmp_path, content(None, empty_server))).start()


async def test_ledger_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_ledger, "PATIENCE", 0.05)
    config = configuration(ledger={"url": f"unix://{tmp_path}/nobody.sock"})
    with pytest.raises((LedgerUnavailable, LedgerRefused)):
        await application(write(tmp_path, config)).start()


async def test_records_reach_file_and_ledger_also_at_the_very_end(
    empty_server: Server, phones: Line, tmp_path: Path
) -> None:
    path = tmp_path / "records.jsonl"
    config = content(phones, empty_server, records={"file": str(path)})
    async with running(tmp_path, config, phones):
        ok = await aside(phones.talk)
        await aside(phones.hang_up, ok)
    kinds = [json.loads(line)["record"] for line in path.read_text().splitlines()]
    assert kinds == ["decision", "call"]
    client = empty_server.client()
    assert [client.xlen(keys.WHOLE.records(stream)) for stream in ("decisions", "calls")] == [1, 1]


async def test_calls_are_left_alone_by_a_stop(empty_server: Server, phones: Line, tmp_path: Path) -> None:
    async with running(tmp_path, content(phones, empty_server), phones) as app:
        await aside(phones.talk)
    assert await aside(phones.pbx.silent)
    assert await aside(phones.provider.silent)
    assert app.accounting.live
    assert empty_server.client().zcard(keys.WHOLE.leases) == 1  # to be adopted


# --- reload ---


async def test_a_reload_opens_the_records_again_also_with_a_bad_file(
    empty_server: Server, phones: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    path = folder / "calls.jsonl"
    config = content(phones, empty_server, records={"file": str(path)})
    async with running(tmp_path, config, phones) as app:
        for number in (1, 2):
            path.rename(folder / f"calls.{number}")
            if number == 2:
                write(tmp_path, {**config, "providers": "none"})
            assert ((await app.reload()).policy is None) == (number == 2)
            await until(path.exists)
        await aside(phones.talk)
        folder.rename(tmp_path / "elsewhere")
        await app.reload()
        await until(lambda: "records go on to the old file" in caplog.text)
    assert (tmp_path / "elsewhere" / "calls.2").read_text() == ""
    (line,) = (tmp_path / "elsewhere" / "calls.jsonl").read_text().splitlines()
    assert json.loads(line)["record"] == "decision"


async def test_reload(empty_server: Server, phones: Line, tmp_path: Path) -> None:
    config = content(phones, empty_server)
    async with running(tmp_path, config, phones) as app:
        first = app.store.policy.version
        write(tmp_path, content(phones, empty_server, trunk={"status": "blocked"}, currency="EUR"))
        compiled = await app.reload()
        assert compiled.problems == ()
        assert app.store.policy.version != first
        assert app.log.currency == "EUR"
        phones.dial()
        await aside(phones.pbx.expect, "403 INVITE")
        assert app.metrics._reloads == {"success": 1, "failure": 0}


async def test_bad_file_changes_nothing(
    empty_server: Server, phones: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, content(phones, empty_server), phones) as app:
        before = app.store.policy
        path = write(tmp_path, "trunks: [{name: office, provder: x}]\nlistn: []\n")
        compiled = await app.reload()
        assert compiled.policy is None
        assert app.store.policy is before
        assert {problem.file for problem in app.problems} == {str(path)}
        assert len(app.problems) >= 2
        assert "reload refused" in caplog.text
        assert app.metrics._reloads == {"success": 0, "failure": 1}
        ok = await aside(phones.talk)
        await aside(phones.hang_up, ok)
        path.unlink()
        assert (await app.reload()).policy is None
        write(tmp_path, content(phones, empty_server))
        assert (await app.reload()).policy is not None
        assert app.problems == ()


async def test_reload_puts_another_provider_in_place_without_a_gap(
    empty_server: Server, phones: Line, tmp_path: Path, zone: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKWARDEN_NAMESERVERS", zone.host_port)
    async with running(tmp_path, content(phones, empty_server), phones) as app:
        moved = content(phones, empty_server)
        moved["providers"] = [{"name": "carrier", "hostname": "name.invalid"}]
        write(tmp_path, moved)
        await app.reload()
        assert app.metrics.provider_up == {"carrier": False}
        phones.dial()  # the old address is not this provider's any more
        await aside(phones.pbx.expect, "404 INVITE")
        write(tmp_path, content(phones, empty_server))
        await app.reload()
        assert app.metrics.provider_up == {"carrier": True}
        await aside(phones.talk)


async def test_reload_says_what_waits_for_a_restart(
    empty_server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, content(None, empty_server))
    compiled = application(path)
    app = type(compiled)(path, compiled.config, compiled.store.policy, ledger_url=empty_server.url)
    await app.start()
    try:
        await app.reload()
        assert "takes effect" not in caplog.text
        write(tmp_path, content(None, empty_server, unknown_source="drop"))
        await app.reload()
        assert "`unknown_source` has changed: it takes effect when" in caplog.text
        assert "`ledger` has changed" not in caplog.text
    finally:
        await app.stop()


# --- hang-up and drain ---


async def test_hang_up_by_ref_and_by_trunk(empty_server: Server, phones: Line, tmp_path: Path) -> None:
    async with running(tmp_path, content(phones, empty_server), phones) as app:
        for _ in range(3):
            await aside(phones.talk)
        sos = await aside(phones.talk, "sip:112@127.0.0.1")
        live = app.accounting.live
        first, *others = [ref for ref, one in live.items() if not one.session.verdict.emergency]
        assert app.hang_up(None, "elsewhere") == app.hang_up("nobody", None) == []
        assert app.hang_up(first, None) == [first]
        await aside(phones.take_byes)
        await until(lambda: first not in live)
        assert sorted(app.hang_up(None, "office")) == sorted(others)
        for _ in range(2):
            await aside(phones.take_byes)
        await until(lambda: len(app.accounting.live) == 1)  # the emergency call goes on
        await aside(phones.hang_up, sos)


async def test_drain(empty_server: Server, phones: Line, tmp_path: Path) -> None:
    async with running(tmp_path, content(phones, empty_server), phones) as app:
        ok = await aside(phones.talk)
        draining = app.keeper.start(app.drain(DRAIN), name="drain")
        await until(lambda: app.core.gate is not None)
        phones.dial()
        refusal = await aside(phones.pbx.expect, "503 INVITE")
        assert refusal.first(b"retry-after") == b"5"
        assert not draining.done()
        sos = await aside(phones.talk, "sip:112@127.0.0.1")
        await aside(phones.hang_up, ok)
        assert not draining.done()
        await aside(phones.hang_up, sos)
        await asyncio.wait_for(draining, LONG)


async def test_drain_waits_for_a_call_that_is_being_judged(
    own_server: Server, phones: Line, tmp_path: Path
) -> None:
    async with running(tmp_path, content(phones, own_server), phones) as app:
        asked: list[Any] = []
        ask = app.ledger.ask
        app.ledger.ask = lambda *question: asked.append(question)  # type: ignore[method-assign]
        phones.dial()
        await until(lambda: bool(asked))
        draining = app.keeper.start(app.drain(DRAIN), name="drain")
        await until(lambda: app.core.gate is not None)
        assert not (await asyncio.wait([draining], timeout=0.12))[0]
        ask(*asked[0])
        outgoing = await aside(phones.provider.expect, "INVITE")
        phones.provider.send(answer(outgoing, 486, "Busy Here"), phones.proxy)
        await asyncio.wait_for(draining, LONG)
        await settled(app.ledger)


async def test_drain_ends_in_time_and_cuts_nothing(
    empty_server: Server, phones: Line, tmp_path: Path
) -> None:
    async with running(tmp_path, content(phones, empty_server), phones) as app:
        await aside(phones.talk)
        await asyncio.wait_for(app.drain(0.05), LONG)
        assert app.accounting.live
    assert await aside(phones.provider.silent)


async def test_drain_of_an_idle_instance_ends_at_once(empty_server: Server, tmp_path: Path) -> None:
    async with running(tmp_path, content(None, empty_server)) as app:
        await asyncio.wait_for(app.drain(DRAIN), LONG)


# --- names and tokens ---


def test_refs_are_random_and_their_tokens_signed_by_the_key() -> None:
    mint, other = _minter(b"key"), _minter(b"another")
    drawn = [mint() for _ in range(100)]
    assert len({ref for ref, _, _ in drawn}) == 100
    for ref, *tokens in drawn:
        assert len(ref) == 22
        assert all(token.startswith(ref.encode() + b".") for token in tokens)
    signatures = {token[23:] for _, *tokens in drawn for token in tokens}
    assert len(signatures) == 200
    assert signatures & {token[23:] for _ in range(100) for token in other()[1:]} == set()


@pytest.mark.parametrize(
    ("bind", "advertise", "shown"),
    [
        ("udp:192.0.2.1:5060", None, b"192.0.2.1:5060"),
        ("udp:[2001:db8::1]:5060", None, b"[2001:db8::1]:5060"),
        ("udp:0.0.0.0:5060", "sip.example.org:5070", b"sip.example.org:5070"),
    ],
)
def test_what_via_says(bind: str, advertise: str | None, shown: bytes) -> None:
    listener = Listener(bind=bind)
    assert _sent_by(listener, advertise, (listener.host, listener.port)) == shown
    own = Listener(bind=bind, advertise="own.example.org:5062")
    assert _sent_by(own, advertise, (own.host, own.port)) == b"own.example.org:5062"


def test_listener_on_all_addresses_names_one_that_can_be_reached() -> None:
    for bind in ("udp:0.0.0.0:5060", "udp:[::]:5060"):
        listener = Listener(bind=bind)
        shown = _sent_by(listener, None, (listener.host, listener.port))
        assert shown not in (b"0.0.0.0:5060", b"[::]:5060")
        assert shown.endswith(b":5060")
