"""Provider names become hops: a real name server on loopback, and this system's own knowledge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import pytest

from policy.compiled import Provider
from proxy.call.reach import Hop
from proxy.routing import resolver as module
from proxy.routing.names import Addresses, Names
from proxy.routing.resolver import Resolver
from proxy.sip.message import HURRIED, Flow
from tests.admission.bench import policy
from tests.ledger.servers import Stopwatch
from tests.routing.dns_server import DnsServer

V4 = ("udp", ("127.0.0.1", 5060))
V6 = ("udp", ("::1", 5060))
TCP4 = ("tcp", ("127.0.0.1", 5062))
TLS4 = ("tls", ("127.0.0.1", 5061))
NAME = "sip.example.test"
SRV = f"_sip._udp.{NAME}"


def provider(hostname: str = NAME, **changes: Any) -> Provider:
    return policy(provider={"hostname": hostname, **changes}).providers["carrier"]


def remotes(resolver: Resolver, found: Provider) -> list[tuple[str, int]]:
    return [hop.flow.remote for hop in resolver.hops(found)]


@pytest.fixture
def resolver(names: Names) -> Resolver:
    return Resolver([V4], names=names, draw=lambda: 0.0)


async def resolved(
    names: Names, found: Provider, listeners: Iterable[tuple[str, tuple[str, int]]] = (V4,)
) -> tuple[Hop, ...]:
    resolver = Resolver(listeners, names=names)
    await resolver.refresh([found])
    return resolver.hops(found)


# --- which hops ---


async def test_addresses_need_no_lookup(names: Names, zone: DnsServer) -> None:
    for host in ("192.0.2.7", "127.0.0.9"):
        assert await resolved(names, provider(host)) == (Hop(Flow("udp", V4[1], (host, 5060))),)
        assert await resolved(names, provider(f"{host}:5090")) == (Hop(Flow("udp", V4[1], (host, 5090))),)
    assert zone.asked == []


async def test_ipv6_goes_by_a_listener_of_its_family(names: Names) -> None:
    six = provider("[2001:db8::7]:5090")
    assert await resolved(names, six, (V4, V6)) == (Hop(Flow("udp", V6[1], ("2001:db8::7", 5090))),)
    assert await resolved(names, six) == ()


async def test_names_of_this_machine() -> None:
    resolver = Resolver([V4])
    local = provider("localhost:5090")
    await resolver.refresh([local])
    assert remotes(resolver, local) == [("127.0.0.1", 5090)]


@pytest.mark.parametrize(
    ("listeners", "ipv6"), [((V4, V6), [False, False, True]), ((V6, V4), [True, False, False])]
)
async def test_family_of_the_first_listener_comes_first(
    names: Names, zone: DnsServer, listeners: Any, ipv6: list[bool]
) -> None:
    zone.put(NAME, "A", "192.0.2.7", "192.0.2.8")
    zone.put(NAME, "AAAA", "2001:db8::7")
    hops = await resolved(names, provider(), listeners)
    assert [":" in hop.flow.remote[0] for hop in hops] == ipv6


ELSEWHERE = ("udp", ("127.0.0.9", 5060))
ANY4 = ("udp", ("0.0.0.0", 5070))


@pytest.mark.parametrize(
    ("listeners", "source", "local"),
    [
        ((ELSEWHERE, V4), "127.0.0.1", V4[1]),
        ((V4, ELSEWHERE), "127.0.0.9", ELSEWHERE[1]),
        ((ELSEWHERE, V4), "192.0.2.99", ELSEWHERE[1]),
        ((ELSEWHERE, V4), None, ELSEWHERE[1]),
        ((V6, ELSEWHERE, V4), "127.0.0.1", V4[1]),
        ((TCP4, ELSEWHERE, V4), "127.0.0.1", V4[1]),
        ((ANY4,), "192.0.2.99", ("192.0.2.99", 5070)),
        ((ANY4,), None, ANY4[1]),
        ((ELSEWHERE, ANY4), "127.0.0.1", ("127.0.0.1", 5070)),
    ],
)
async def test_calls_leave_by_the_listener_that_the_system_would_send_from(
    names: Names, listeners: Any, source: str | None, local: tuple[str, int]
) -> None:
    resolver = Resolver(listeners, names=names, source=lambda host: source)
    carrier = provider("192.0.2.7")
    await resolver.refresh([carrier])
    assert [hop.flow.local for hop in resolver.hops(carrier)] == [local]


async def test_hosts_behind_several_listeners_are_in_the_order_of_the_answer(
    names: Names, zone: DnsServer
) -> None:
    """The zone shuffles its records: neither listener's come first for ever."""
    zone.put(NAME, "A", "192.0.2.7", "192.0.2.8")
    ways = {"192.0.2.7": "127.0.0.1", "192.0.2.8": "127.0.0.9"}
    resolver = Resolver((V4, ELSEWHERE), names=names, source=ways.__getitem__)
    firsts = set()
    for _ in range(60):
        await resolver.refresh([carrier := provider()])
        hops = resolver.hops(carrier)
        assert [hop.flow.local[0] for hop in hops] == [ways[hop.flow.remote[0]] for hop in hops]
        firsts.add(hops[0].flow.remote[0])
    assert len(firsts) == 2


async def test_srv_targets_by_priority_and_weight(names: Names, zone: DnsServer) -> None:
    zone.put(SRV, "SRV", "10 60 5071 a.test.", "10 40 5072 b.test.", "20 0 5073 c.test.")
    for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3")):
        zone.put(f"{name}.test", "A", address)
    drawn = [0.0]
    resolver = Resolver([V4], names=names, draw=lambda: drawn[0])
    carrier = provider()
    await resolver.refresh([carrier])
    by_a, by_b, last = ("192.0.2.1", 5071), ("192.0.2.2", 5072), ("192.0.2.3", 5073)
    assert remotes(resolver, carrier) == [by_b, by_a, last]
    drawn[0] = 0.99  # each call draws anew; no lookup in between
    asked = len(zone.asked)
    assert remotes(resolver, carrier) == [by_a, by_b, last]
    assert len(zone.asked) == asked


async def test_tls_asks_for_the_providers_own_name(names: Names, zone: DnsServer) -> None:
    """RFC 5922: the SRV target's name is what the DNS says, not what the operator trusts."""
    zone.put(f"_sips._tcp.{NAME}", "SRV", "0 0 5071 edge.elsewhere.test.")
    zone.put("edge.elsewhere.test", "A", "192.0.2.1")
    numbers = {NAME: -7}
    resolver = Resolver([TLS4], numbers.__getitem__, names)
    carrier = provider(transport="tls")
    await resolver.refresh([carrier])
    assert resolver.hops(carrier) == (Hop(Flow("tls", TLS4[1], ("192.0.2.1", 5071), -7)),)


async def test_status_is_not_asked_here(names: Names) -> None:
    assert await resolved(names, provider("192.0.2.7", status="blocked"))


# --- where large requests go ---


async def large(names: Names, found: Provider, listeners: Any = (V4, TCP4)) -> list[tuple[str, int] | None]:
    hops = await resolved(names, found, listeners)
    for hop in hops:
        assert hop.stream is None or hop.stream == Flow("tcp", TCP4[1], hop.stream.remote, HURRIED)
    return [None if hop.stream is None else hop.stream.remote for hop in hops]


async def test_tcp_of_an_address_is_at_the_same_port(names: Names, zone: DnsServer) -> None:
    zone.put(NAME, "A", "192.0.2.1")
    assert await large(names, provider("192.0.2.7:5090")) == [("192.0.2.7", 5090)]
    assert await large(names, provider(f"{NAME}:5091")) == [("192.0.2.1", 5091)]
    assert await large(names, provider()) == [("192.0.2.1", 5060)]


async def test_no_tcp_without_a_listener_of_ours(names: Names) -> None:
    assert await large(names, provider("192.0.2.7"), (V4,)) == [None]
    assert await large(names, provider("2001:db8::1"), (V6, TCP4)) == [None]
    assert await resolved(names, provider("192.0.2.7", transport="tcp"), (V4, TCP4)) == (
        Hop(Flow("tcp", TCP4[1], ("192.0.2.7", 5060))),
    )


async def test_tcp_is_where_the_domain_says(names: Names, zone: DnsServer) -> None:
    zone.put(SRV, "SRV", "1 0 5071 a.test.", "2 0 5072 b.test.")
    zone.put("a.test", "A", "192.0.2.1")
    zone.put("b.test", "A", "192.0.2.2")
    assert await large(names, provider()) == [("192.0.2.1", 5071), ("192.0.2.2", 5072)]
    zone.put(f"_sip._tcp.{NAME}", "SRV", "1 0 6001 tcp.test.", "2 0 6002 b.test.")
    zone.put("tcp.test", "A", "192.0.2.9", "127.0.0.1")
    assert await large(names, provider()) == [("192.0.2.9", 6001), ("192.0.2.2", 6002)]
    zone.put(NAME, "NAPTR", '1 1 "s" "SIP+D2T" "" named.test.')
    zone.put("named.test", "SRV", "1 0 6003 a.test.")
    assert await large(names, provider()) == [("192.0.2.1", 6003), ("192.0.2.1", 6003)]
    zone.drop(NAME, "NAPTR")
    zone.put(f"_sip._tcp.{NAME}", "SRV", "0 0 0 .")
    assert await large(names, provider()) == [None, None]
    zone.broken.add(f"_sip._tcp.{NAME}")
    assert await large(names, provider()) == [("192.0.2.1", 5071), ("192.0.2.2", 5072)]


async def test_tcp_address_has_to_be_acceptable_too(names: Names, zone: DnsServer) -> None:
    """D01."""
    zone.put(SRV, "SRV", "1 0 5071 a.test.")
    zone.put("a.test", "A", "192.0.2.1")
    zone.put(f"_sip._tcp.{NAME}", "SRV", "1 0 6001 evil.test.")
    zone.put("evil.test", "A", "127.0.0.1", "169.254.1.1")
    assert await large(names, provider()) == [("192.0.2.1", 5071)]


# --- where a name may lead (D01) ---


async def test_networks_decide_where_a_name_may_lead(names: Names, zone: DnsServer) -> None:
    zone.put(NAME, "A", "203.0.113.5", "192.0.2.7")
    (hop,) = await resolved(names, provider(networks=["192.0.2.0/24"]))
    assert hop.flow.remote == ("192.0.2.7", 5060)
    assert await resolved(names, provider(networks=["198.51.100.0/24"])) == ()
    assert await resolved(names, provider("203.0.113.5", networks=["198.51.100.0/24"])) == ()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.5"])
@pytest.mark.parametrize("by_srv", [False, True])
async def test_name_does_not_lead_to_this_machine_unless_the_operator_says_so(
    names: Names, zone: DnsServer, address: str, by_srv: bool
) -> None:
    zone.put("host.test" if by_srv else NAME, "A", address)
    if by_srv:
        zone.put(SRV, "SRV", "0 0 5060 host.test.", "1 0 5060 localhost.")
    assert await resolved(names, provider()) == ()
    found = await resolved(names, provider(networks=[f"{address}/32"]))
    assert found[0].flow.remote == (address, 5060)


@pytest.mark.parametrize("address", ["::1", "fe80::1", "::ffff:127.0.0.1", "::ffff:169.254.1.1"])
async def test_the_same_for_ipv6(names: Names, zone: DnsServer, address: str) -> None:
    zone.put(NAME, "AAAA", address)
    assert await resolved(names, provider(), (V4, V6)) == ()


async def test_one_bad_target_leaves_the_others(names: Names, zone: DnsServer) -> None:
    zone.put(SRV, "SRV", "0 0 5071 evil.test.", "1 0 5072 good.test.")
    zone.put("evil.test", "A", "127.0.0.1")
    zone.put("good.test", "A", "192.0.2.1")
    (hop,) = await resolved(names, provider())
    assert hop.flow.remote == ("192.0.2.1", 5072)


@pytest.mark.usefixtures("hasty")
async def test_all_addresses_of_the_name_are_its_own(resolver: Resolver, zone: DnsServer) -> None:
    zone.put(SRV, "SRV", "0 0 5071 a.test.", "1 0 5072 b.test.")
    zone.put("a.test", "A", "192.0.2.7", "192.0.2.8", "127.0.0.1")
    zone.put("b.test", "AAAA", "2001:db8::7")
    found = provider()
    await resolver.refresh([found])
    hosts = ("192.0.2.7", "192.0.2.8", "2001:db8::7", "127.0.0.1", "192.0.2.9")
    assert [resolver.leads_to(found, host) for host in hosts] == [True, True, True, False, False]
    assert resolver.provider_at("192.0.2.8")
    zone.silent = True
    await resolver.refresh([found])  # what was known last
    assert resolver.leads_to(found, "192.0.2.8")
    resolver.keep_only([])
    assert not resolver.leads_to(found, "192.0.2.8")
    assert not resolver.provider_at("192.0.2.8")


# --- answers come, change, and fail to come ---


async def test_fresh_answer_takes_the_place_of_the_last(resolver: Resolver, zone: DnsServer) -> None:
    carrier = provider()
    for address in ("192.0.2.7", "192.0.2.8"):
        zone.put(NAME, "A", address)
        await resolver.refresh([carrier])
        assert remotes(resolver, carrier) == [(address, 5060)]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("trouble", ["gone", "broken", "truncated", "silent"])
async def test_name_that_stops_resolving_keeps_its_last_addresses(
    resolver: Resolver, zone: DnsServer, trouble: str
) -> None:
    zone.put(SRV, "SRV", "0 0 5071 a.test.")
    zone.put("a.test", "A", "192.0.2.7")
    carrier = provider()
    await resolver.refresh([carrier])
    if trouble == "gone":
        zone.drop(SRV, "SRV")
        zone.drop("a.test", "A")
    elif trouble == "broken":
        zone.put(NAME, "A", "192.0.2.99")  # not to be taken for the service
        zone.broken.add(SRV)
    elif trouble == "truncated":
        zone.truncates = zone.deaf_to_tcp = True
    else:
        zone.silent = True
    await resolver.refresh([carrier])
    assert remotes(resolver, carrier) == [("192.0.2.7", 5071)]
    forbidden = provider(networks=["198.51.100.0/24"])
    await resolver.refresh([forbidden])
    assert resolver.hops(forbidden) == ()  # the operator has forbidden that address meanwhile


async def test_domain_that_has_no_such_service_keeps_nothing(resolver: Resolver, zone: DnsServer) -> None:
    zone.put(SRV, "SRV", "0 0 5071 a.test.")
    zone.put("a.test", "A", "192.0.2.7")
    carrier = provider()
    await resolver.refresh([carrier])
    zone.put(SRV, "SRV", "0 0 0 .")
    await resolver.refresh([carrier])
    assert resolver.hops(carrier) == ()


async def test_name_that_now_leads_astray_keeps_nothing(resolver: Resolver, zone: DnsServer) -> None:
    """D01: rebinding."""
    carrier = provider(networks=["192.0.2.0/24"])
    for address in ("192.0.2.7", "203.0.113.5"):
        zone.put(NAME, "A", address)
        await resolver.refresh([carrier])
    assert resolver.hops(carrier) == ()
    assert not resolver.leads_to(carrier, "203.0.113.5")


async def test_provider_with_another_host_does_not_inherit_the_address(
    resolver: Resolver, zone: DnsServer
) -> None:
    zone.put("old.test", "A", "192.0.2.7")
    old, new = provider("old.test"), provider("new.test")
    await resolver.refresh([old])
    await resolver.refresh([new])
    assert resolver.hops(new) == ()
    assert resolver.hops(old)  # calls of the old policy still go on
    resolver.keep_only([new])
    assert resolver.hops(old) == ()


async def test_without_an_answer_the_system_is_asked() -> None:
    """A resolver that gives nothing for names of this kind: search lists and other sources go on working."""

    class Deaf(Names):
        async def ask(self, name: str, kind: str) -> Any:
            raise module.Unanswered(name)

        def local(self, name: str) -> None:
            return None

    resolver, local = Resolver([V4], names=Deaf()), provider("localhost:5090")
    await resolver.refresh([local])
    assert remotes(resolver, local) == [("127.0.0.1", 5090)]


async def test_system_is_not_asked_over_the_head_of_what_is_known(zone: DnsServer) -> None:
    """It would give the address of the domain's web server for that of its service."""

    class WithSystem(Names):
        async def by_system(self, name: str) -> Addresses:
            return Addresses(("192.0.2.99",), 30.0)

    zone.put(SRV, "SRV", "0 0 5071 a.test.")
    zone.put("a.test", "A", "192.0.2.7")
    resolver, carrier = Resolver([V4], names=WithSystem([zone.address])), provider()
    await resolver.refresh([carrier])
    zone.broken.add(SRV)
    await resolver.refresh([carrier])
    assert remotes(resolver, carrier) == [("192.0.2.7", 5071)]


async def test_lookup_that_takes_too_long_is_given_up(
    resolver: Resolver, zone: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKUP_SECONDS", 0.05)
    zone.silent = True
    await asyncio.wait_for(resolver.refresh([provider()]), 15)
    assert resolver.hops(provider()) == ()


async def test_trouble_is_said_once(
    resolver: Resolver, zone: DnsServer, caplog: pytest.LogCaptureFixture
) -> None:
    zone.put(NAME, "A", "127.0.0.1")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await resolver.refresh([provider()])
        assert caplog.text.count("leads to 127.0.0.1, which is not used") == 1
        zone.drop(NAME, "A")
        await resolver.refresh([provider()])
    assert "does not resolve" in caplog.text


# --- time ---


class Clock:
    """The loop's time, which passes by hand alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        begun, self.ahead = loop.time(), 0.0
        monkeypatch.setattr(loop, "time", lambda: begun + self.ahead)


@pytest.mark.parametrize(("ttl", "seconds"), [(0, 5), (60, 60), (86_400, 300)])
async def test_answers_are_good_for_their_time_within_bounds(
    resolver: Resolver, zone: DnsServer, monkeypatch: pytest.MonkeyPatch, ttl: int, seconds: float
) -> None:
    clock = Clock(monkeypatch)
    zone.put(SRV, "SRV", "0 0 5071 a.test.", ttl=86_400)
    zone.put("a.test", "A", "192.0.2.7", ttl=ttl)
    carrier = provider()
    await resolver.refresh_due([carrier])
    clock.ahead += seconds - 2
    await resolver.refresh_due([carrier])
    assert zone.count(SRV, "SRV") == 1
    clock.ahead += 2
    await resolver.refresh_due([carrier])
    assert zone.count(SRV, "SRV") == 2


async def test_what_failed_is_tried_again_soon(
    resolver: Resolver, zone: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    carrier = provider()
    zone.broken.add(NAME)
    await resolver.refresh_due([carrier])
    zone.broken.clear()
    zone.put(NAME, "A", "192.0.2.7")
    await resolver.refresh_due([carrier])
    assert resolver.hops(carrier) == ()
    clock.ahead += module.RETRY_SECONDS
    await resolver.refresh_due([carrier])
    assert remotes(resolver, carrier) == [("192.0.2.7", 5060)]


async def test_addresses_are_looked_at_once(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, carrier = Clock(monkeypatch), provider("192.0.2.7")
    await resolver.refresh_due([carrier])
    clock.ahead += module.LONGEST_SECONDS - 1
    before = resolver.hops(carrier)
    await resolver.refresh_due([carrier])
    assert resolver.hops(carrier) is before


# --- what a change of the policy waits for ---


async def test_a_changed_provider_is_looked_up_at_once(resolver: Resolver, zone: DnsServer) -> None:
    zone.put(NAME, "A", "192.0.2.7")
    await resolver.renew([provider()], 5.0)
    assert remotes(resolver, provider()) == [("192.0.2.7", 5060)]


async def test_a_slow_name_server_holds_no_change_up(resolver: Resolver, zone: DnsServer) -> None:
    zone.put(NAME, "A", "192.0.2.7")
    carrier, forbidden = provider(), provider(networks=["198.51.100.0/24"])
    await resolver.refresh([carrier])
    zone.silent = True
    async with Stopwatch() as watch:
        await resolver.renew([forbidden], 0.05)
    assert watch.seconds < 2.0
    assert resolver.hops(forbidden) == ()  # what is forbidden is not used until there is an answer
    zone.silent = False
    zone.put(NAME, "A", "198.51.100.7")
    await resolver.refresh_due([forbidden])
    assert remotes(resolver, forbidden) == [("198.51.100.7", 5060)]
