"""Provider names become flows: the real resolver of the system for what it knows, a replaced one for what it
cannot be made to say."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import pytest

from policy.compiled import Provider
from proxy.routing import resolver as module
from proxy.routing.resolver import Resolver
from proxy.sip.message import Flow
from tests.admission.bench import policy

V4 = ("udp", ("127.0.0.1", 5060))
V6 = ("udp", ("::1", 5060))


def provider(hostname: str, **changes: Any) -> Provider:
    return policy(provider={"hostname": hostname, **changes}).providers["carrier"]


async def resolved(found: Provider, listeners: Iterable[tuple[str, tuple[str, int]]] = (V4,)) -> Flow | None:
    resolver = Resolver(listeners)
    await resolver.refresh([found])
    return resolver.route(found)


class Names:
    """What the DNS says, by name; a name that is not in it does not resolve."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known: dict[str, list[str]] = {}
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_DGRAM,
                17,
                "",
                (address, port),
            )
            for address in self.known[host]
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


async def test_addresses_need_no_lookup(names: Names) -> None:
    assert await resolved(provider("192.0.2.7")) == Flow("udp", V4[1], ("192.0.2.7", 5060))
    assert await resolved(provider("192.0.2.7:5090")) == Flow("udp", V4[1], ("192.0.2.7", 5090))
    assert await resolved(provider("127.0.0.9")) == Flow("udp", V4[1], ("127.0.0.9", 5060))


async def test_ipv6_goes_by_a_listener_of_its_family(names: Names) -> None:
    six = provider("[2001:db8::7]:5090")
    assert await resolved(six, (V4, V6)) == Flow("udp", V6[1], ("2001:db8::7", 5090))
    assert await resolved(six) is None


async def test_names_by_the_system() -> None:
    assert await resolved(provider("localhost:5090")) == Flow("udp", V4[1], ("127.0.0.1", 5090))


async def test_first_address_that_a_listener_reaches(names: Names) -> None:
    names.known["sip.example.org"] = ["2001:db8::7", "192.0.2.7", "192.0.2.8"]
    assert await resolved(provider("sip.example.org")) == Flow("udp", V4[1], ("192.0.2.7", 5060))


async def test_all_addresses_of_the_name_are_its_own(names: Names) -> None:
    names.known["sip.example.org"] = ["192.0.2.7", "192.0.2.8", "2001:db8::7", "127.0.0.1"]
    found = provider("sip.example.org")
    resolver = Resolver([V4])
    await resolver.refresh([found])
    hosts = ("192.0.2.7", "192.0.2.8", "2001:db8::7", "127.0.0.1", "192.0.2.9")
    assert [resolver.leads_to(found, host) for host in hosts] == [True, True, True, False, False]
    del names.known["sip.example.org"]
    await resolver.refresh([found])  # what was known last
    assert resolver.leads_to(found, "192.0.2.8")
    resolver.keep_only([])
    assert not resolver.leads_to(found, "192.0.2.8")


async def test_name_that_does_not_resolve_has_no_route(names: Names) -> None:
    assert await resolved(provider("sip.example.org")) is None


async def test_status_is_not_asked_here(names: Names) -> None:
    assert await resolved(provider("192.0.2.7", status="blocked")) is not None


async def test_networks_decide_where_a_name_may_lead(names: Names) -> None:
    names.known["sip.example.org"] = ["203.0.113.5", "192.0.2.7"]
    found = await resolved(provider("sip.example.org", networks=["192.0.2.0/24"]))
    assert found is not None
    assert found.remote == ("192.0.2.7", 5060)
    assert await resolved(provider("sip.example.org", networks=["198.51.100.0/24"])) is None
    assert await resolved(provider("203.0.113.5", networks=["198.51.100.0/24"])) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.5"])
async def test_name_does_not_lead_to_this_machine_unless_the_operator_says_so(
    names: Names, address: str
) -> None:
    names.known["sip.example.org"] = [address]
    assert await resolved(provider("sip.example.org")) is None
    assert await resolved(provider("sip.example.org", networks=[f"{address}/32"])) is not None


async def test_fresh_answer_takes_the_place_of_the_last(names: Names) -> None:
    carrier = provider("sip.example.org")
    resolver = Resolver([V4])
    for address in ("192.0.2.7", "192.0.2.8"):
        names.known["sip.example.org"] = [address]
        await resolver.refresh([carrier])
        assert resolver.route(carrier) == Flow("udp", V4[1], (address, 5060))


async def test_name_that_stops_resolving_keeps_its_last_address(names: Names) -> None:
    carrier = provider("sip.example.org")
    resolver = Resolver([V4])
    names.known["sip.example.org"] = ["192.0.2.7"]
    await resolver.refresh([carrier])
    names.known.clear()
    await resolver.refresh([carrier])
    assert resolver.route(carrier) == Flow("udp", V4[1], ("192.0.2.7", 5060))
    await resolver.refresh([provider("sip.example.org", networks=["198.51.100.0/24"])])
    assert resolver.route(carrier) is None  # the operator has forbidden that address meanwhile


async def test_name_that_now_leads_astray_keeps_nothing(names: Names) -> None:
    carrier = provider("sip.example.org", networks=["192.0.2.0/24"])
    resolver = Resolver([V4])
    for address in ("192.0.2.7", "203.0.113.5"):
        names.known["sip.example.org"] = [address]
        await resolver.refresh([carrier])
    assert resolver.route(carrier) is None


async def test_provider_with_another_host_does_not_inherit_the_address(names: Names) -> None:
    names.known["old.example.org"] = ["192.0.2.7"]
    old, new = provider("old.example.org"), provider("new.example.org")
    resolver = Resolver([V4])
    await resolver.refresh([old])
    await resolver.refresh([new])
    assert resolver.route(new) is None
    assert resolver.route(old) is not None  # calls of the old policy still go on
    resolver.keep_only([new])
    assert resolver.route(old) is None


async def test_lookup_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def never(*_: Any, **__: Any) -> list[Any]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(loop, "getaddrinfo", never)
    monkeypatch.setattr(module, "LOOKUP_SECONDS", 0.01)
    assert await asyncio.wait_for(resolved(provider("sip.example.org")), 2) is None
