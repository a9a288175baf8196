"""RFC 3263 on a real name server."""

from __future__ import annotations

import pytest

from proxy.routing.location import Location, Target, locate
from proxy.routing.names import Names, Unanswered
from tests.routing.dns_server import DnsServer

HOST = "carrier.test"


def targets(location: Location) -> list[tuple[tuple[int, int], int, tuple[str, ...], int]]:
    return sorted(
        (rank, weight, tuple(sorted(hosts)), port) for rank, weight, hosts, port in location.targets
    )


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
async def test_address_is_not_looked_up(names: Names, zone: DnsServer, host: str) -> None:
    assert (await locate(names, host, None, "udp")).targets == (Target((0, 0), 0, (host,), 5060),)
    assert (await locate(names, host, None, "tls")).targets == (Target((0, 0), 0, (host,), 5061),)
    assert (await locate(names, host, 5090, "tcp")).targets == (Target((0, 0), 0, (host,), 5090),)
    assert zone.asked == []


async def test_port_asks_for_addresses_alone(names: Names, zone: DnsServer) -> None:
    zone.put(HOST, "A", "192.0.2.7")
    zone.put(f"_sip._udp.{HOST}", "SRV", "0 0 5080 other.test.")
    assert targets(await locate(names, HOST, 5090, "udp")) == [((0, 0), 0, ("192.0.2.7",), 5090)]
    assert {kind for _, kind, _ in zone.asked} == {"A", "AAAA"}


@pytest.mark.parametrize(
    ("transport", "service", "replacement"),
    [
        ("udp", "SIP+D2U", "_sip._udp.x.test"),
        ("tcp", "sip+d2t", "_sip._tcp.x.test"),
        ("tls", "SIPS+D2T", "any.test"),
    ],
)
async def test_naptr_of_our_transport_is_followed(
    names: Names, zone: DnsServer, transport: str, service: str, replacement: str
) -> None:
    zone.put(
        HOST,
        "NAPTR",
        f'10 10 "s" "{service}" "" {replacement}.',
        '5 10 "s" "SIP+D2S" "" _sip._sctp.x.test.',
        f'1 1 "u" "{service}" "!.*!sip:evil@evil.test!" .',
        f'1 2 "s" "{service}" "!.*!evil.test!" evil.test.',
        ttl=90,
    )
    zone.put(replacement, "SRV", "3 4 5099 host.x.test.", ttl=80)
    zone.put("host.x.test", "A", "192.0.2.7", ttl=70)
    zone.put(HOST, "A", "192.0.2.1")
    location = await locate(names, HOST, None, transport)
    assert location == Location((Target((0, 3), 4, ("192.0.2.7",), 5099),), 70.0, by_service=True)
    assert not any("evil" in name for name, _, _ in zone.asked)


async def test_naptr_order_and_what_it_leads_to_in_vain(names: Names, zone: DnsServer) -> None:
    zone.put(
        HOST, "NAPTR", '20 1 "s" "SIP+D2U" "" second.test.', '10 9 "S" "SIP+D2U" "" nothing.test.',
        '10 10 "s" "SIP+D2U" "" first.test.',
    )  # fmt: skip
    for name, address in (("first", "192.0.2.1"), ("second", "192.0.2.2")):
        zone.put(f"{name}.test", "SRV", f"0 0 5060 {name}-host.test.")
        zone.put(f"{name}-host.test", "A", address)
    assert targets(await locate(names, HOST, None, "udp")) == [((1, 0), 0, ("192.0.2.1",), 5060)]


async def test_naptr_of_other_transports_leaves_the_usual_name(names: Names, zone: DnsServer) -> None:
    zone.put(HOST, "NAPTR", '10 10 "s" "SIP+D2T" "" _sip._tcp.elsewhere.test.')
    zone.put(f"_sip._udp.{HOST}", "SRV", "0 0 5080 a.test.")
    zone.put("a.test", "A", "192.0.2.7")
    assert targets(await locate(names, HOST, None, "udp")) == [((0, 0), 0, ("192.0.2.7",), 5080)]


@pytest.mark.parametrize(
    ("transport", "label"), [("udp", "_sip._udp"), ("tcp", "_sip._tcp"), ("tls", "_sips._tcp")]
)
async def test_srv_without_naptr(names: Names, zone: DnsServer, transport: str, label: str) -> None:
    zone.put(f"{label}.{HOST}", "SRV", "10 60 5080 a.test.", "20 0 5081 b.test.", "20 5 0 c.test.")
    zone.put("a.test", "CNAME", "real.test.")
    zone.put("real.test", "A", "192.0.2.1", "192.0.2.2")
    zone.put("b.test", "AAAA", "2001:db8::1")
    assert targets(await locate(names, HOST, None, transport)) == [
        ((0, 10), 60, ("192.0.2.1", "192.0.2.2"), 5080),
        ((0, 20), 0, ("2001:db8::1",), 5081),
    ]


async def test_addresses_without_srv(names: Names, zone: DnsServer) -> None:
    zone.put(HOST, "A", "192.0.2.7", ttl=33)
    assert await locate(names, HOST, None, "tls") == Location(
        (Target((0, 0), 0, ("192.0.2.7",), 5061),), 33.0
    )


async def test_full_stop_says_that_there_is_no_such_service(names: Names, zone: DnsServer) -> None:
    zone.put(HOST, "A", "192.0.2.7")
    zone.put(f"_sip._udp.{HOST}", "SRV", "0 0 0 .")
    location = await locate(names, HOST, None, "udp")
    assert location.denied
    assert location.targets == ()
    zone.put(f"_sip._udp.{HOST}", "SRV", "0 0 5060 .")
    assert (await locate(names, HOST, None, "udp")).denied


async def test_name_that_is_not_there(names: Names, zone: DnsServer) -> None:
    location = await locate(names, HOST, None, "udp")
    assert (location.targets, location.denied) == ((), False)


@pytest.mark.parametrize("broken", [HOST, f"_sip._udp.{HOST}", "a.test"])
async def test_part_that_nobody_answers_spoils_the_whole(names: Names, zone: DnsServer, broken: str) -> None:
    """Else calls would go to the web server at the name's address as soon as a question is lost."""
    zone.put(HOST, "A", "192.0.2.1")
    zone.put(f"_sip._udp.{HOST}", "SRV", "0 0 5080 a.test.")
    zone.put("a.test", "A", "192.0.2.7")
    zone.broken.add(broken)
    with pytest.raises(Unanswered):
        await locate(names, HOST, None, "udp")


async def test_target_that_nobody_answers_for_leaves_the_others(names: Names, zone: DnsServer) -> None:
    zone.put(f"_sip._udp.{HOST}", "SRV", "0 0 5080 a.test.", "1 0 5080 b.test.", "2 0 5080 none.test.")
    zone.put("b.test", "A", "192.0.2.7")
    zone.broken.add("a.test")
    location = await locate(names, HOST, None, "udp")
    assert targets(location) == [((0, 1), 0, ("192.0.2.7",), 5080)]
    assert location.seconds == 0.0  # to be asked again soon


async def test_services_are_bounded(names: Names, zone: DnsServer) -> None:
    zone.put(HOST, "NAPTR", *(f'{n} 0 "s" "SIP+D2U" "" s{n}.test.' for n in range(30)))
    location = await locate(names, HOST, None, "udp")
    assert location.targets == ()
    assert sum(kind == "SRV" for _, kind, _ in zone.asked) == 5
    zone.put(f"_sip._udp.{HOST}", "SRV", *(f"0 0 {5000 + n} a.test." for n in range(100)))
    zone.put("a.test", "A", *(f"192.0.2.{n}" for n in range(100)))
    location = await locate(names, HOST, None, "udp")
    assert len(location.targets) == 16
    assert {len(target.hosts) for target in location.targets} == {8}


async def test_hosts_file_stands_above_the_dns(zone: DnsServer, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "hosts").write_text(f"192.0.2.9 {HOST}\n")
    zone.put(f"_sip._udp.{HOST}", "SRV", "0 0 5080 a.test.")
    location = await locate(Names([zone.address], str(tmp_path / "hosts")), HOST, None, "udp")
    assert targets(location) == [((0, 0), 0, ("192.0.2.9",), 5060)]
    assert zone.asked == []
