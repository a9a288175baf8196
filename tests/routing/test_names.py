"""Questions to a real name server on loopback, over UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from pathlib import Path

import pytest

from proxy.routing.names import MOST_RECORDS, NAMESERVERS_VARIABLE, Addresses, Found, Names, Unanswered
from tests.ledger.servers import Stopwatch
from tests.routing.dns_server import DnsServer


async def texts(names: Names, name: str, kind: str) -> list[str]:
    return [record.to_text() for record in (await names.ask(name, kind)).records]


async def test_records_and_their_time(names: Names, zone: DnsServer) -> None:
    zone.put("_sip._udp.example.test", "SRV", "10 5 5080 a.example.test.", ttl=77)
    assert await texts(names, "_sip._udp.example.test", "SRV") == ["10 5 5080 a.example.test."]
    assert (await names.ask("_sip._udp.example.test.", "SRV")).seconds == 77


async def test_no_such_name_and_no_such_record_are_answers(names: Names, zone: DnsServer) -> None:
    zone.put("example.test", "A", "192.0.2.1")
    assert (await names.ask("nowhere.test", "SRV")).records == ()
    assert (await names.ask("example.test", "NAPTR")).records == ()
    assert await names.addresses("nowhere.test") == Addresses((), 30.0)


@pytest.mark.usefixtures("hasty")
async def test_silence_failure_and_nonsense_are_none(names: Names, zone: DnsServer) -> None:
    zone.broken.add("broken.test")
    with pytest.raises(Unanswered, match=r"broken\.test A"):
        await names.ask("broken.test", "A")
    zone.silent = True
    async with Stopwatch() as watch:
        with pytest.raises(Unanswered):
            await names.ask("example.test", "A")
    assert watch.seconds < 5
    for odd in ("a" * 70 + ".test", "a..b"):
        with pytest.raises(Unanswered):
            await names.ask(odd, "A")


async def test_truncated_answer_is_asked_for_again_over_tcp(names: Names, zone: DnsServer) -> None:
    zone.put("example.test", "A", "192.0.2.1")
    zone.truncates = True
    assert await texts(names, "example.test", "A") == ["192.0.2.1"]
    assert [transport for _, _, transport in zone.asked] == ["udp", "tcp"]


@pytest.mark.usefixtures("hasty")
async def test_truncated_answer_of_a_server_that_is_deaf_to_tcp_is_none(
    names: Names, zone: DnsServer
) -> None:
    zone.put("example.test", "A", "192.0.2.1")
    zone.truncates = zone.deaf_to_tcp = True
    with pytest.raises(Unanswered):
        await names.ask("example.test", "A")


@pytest.mark.parametrize("follows", [True, False])
async def test_aliases(names: Names, zone: DnsServer, follows: bool) -> None:
    zone.follows = follows
    zone.put("example.test", "CNAME", "other.test.", ttl=9)
    zone.put("other.test", "CNAME", "third.test.")
    zone.put("third.test", "A", "192.0.2.1", "192.0.2.2")
    found = await names.addresses("example.test")
    assert (sorted(found.hosts), found.seconds) == (["192.0.2.1", "192.0.2.2"], 9.0)


@pytest.mark.parametrize("follows", [True, False])
async def test_aliases_that_lead_in_circles(names: Names, zone: DnsServer, follows: bool) -> None:
    zone.follows = follows
    zone.put("a.test", "CNAME", "b.test.")
    zone.put("b.test", "CNAME", "a.test.")
    with pytest.raises(Unanswered):
        await names.ask("a.test", "A")
    assert len(zone.asked) < 20


async def test_answers_are_read_up_to_a_bound(names: Names, zone: DnsServer) -> None:
    zone.put("example.test", "A", *(f"192.0.2.{number}" for number in range(60)))
    assert len((await names.ask("example.test", "A")).records) == MOST_RECORDS


async def test_both_families(names: Names, zone: DnsServer) -> None:
    zone.put("example.test", "A", "192.0.2.1", ttl=50)
    zone.put("example.test", "AAAA", "2001:db8::1", ttl=40)
    assert await names.addresses("example.test") == Addresses(("192.0.2.1", "2001:db8::1"), 40.0)
    zone.drop("example.test", "A")
    assert await names.addresses("example.test") == Addresses(("2001:db8::1",), 40.0)


async def test_hosts_file_and_localhost_come_first(zone: DnsServer, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(
        "192.0.2.9 Carrier carrier.example.test # ours\nnonsense\n2001:db8::9\tcarrier\n# 192.0.2.8 x\n"
    )
    names = Names([zone.address], str(file))
    assert names.local("carrier") == Addresses(("192.0.2.9", "2001:db8::9"), 30.0)
    assert names.local("CARRIER.example.test.") == Addresses(("192.0.2.9",), 30.0)
    assert names.local("x") is None
    assert names.local("localhost") == names.local("sip.localhost") == Addresses(("127.0.0.1", "::1"), 30.0)
    assert (await names.addresses("carrier")).hosts == ("192.0.2.9", "2001:db8::9")
    assert zone.asked == []
    assert Names([], str(tmp_path / "none")).local("carrier") is None


async def test_system_is_asked_where_no_servers_were_named(names: Names) -> None:
    assert (await names.by_system("localhost")).hosts == ()
    assert "127.0.0.1" in (await Names().by_system("localhost")).hosts
    assert (await Names().by_system("a" * 70)).hosts == ()


async def test_servers_of_the_environment(zone: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    zone.put("example.test", "A", "192.0.2.1")
    monkeypatch.setenv(NAMESERVERS_VARIABLE, f" {zone.host_port}, ")
    assert (await Names.of_environment().addresses("example.test")).hosts == ("192.0.2.1",)
    for wrong in ("dns.example.org", "192.0.2.1:99999", "192.0.2.1:x"):
        monkeypatch.setenv(NAMESERVERS_VARIABLE, wrong)
        with pytest.raises(ValueError):
            Names.of_environment()


async def test_second_server_is_asked_when_the_first_is_silent(zone: DnsServer) -> None:
    zone.put("example.test", "A", "192.0.2.1")
    other = DnsServer()
    other.silent = True
    try:
        names = Names([other.address, zone.address])
        assert await names.ask("example.test", "A") != Found((), 0.0)
    finally:
        other.close()


async def test_system_that_hangs_is_asked_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, free = [], threading.Event()

    def hangs(name: str, *_: object, **__: object) -> list[object]:
        asked.append(name)
        free.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    names = Names()
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await names.by_system("carrier.test")
    assert asked == ["carrier.test"]
    free.set()
    for _ in range(200):
        if not names._asking:
            break
        await asyncio.sleep(0.01)
    assert (await names.by_system("carrier.test")).hosts == ()
    assert asked == ["carrier.test"] * 2
