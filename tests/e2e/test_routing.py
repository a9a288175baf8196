"""Where calls go, judged by what the hosts there receive; a name server of the test's own says where."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy.routing.names import NAMESERVERS_VARIABLE
from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.peer import Peer
from tests.e2e.ports import EVIL, PROVIDER, SECOND_PROVIDER
from tests.e2e.sip_text import SDP
from tests.e2e.stream_peer import StreamListener
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually
from tests.routing.dns_server import DnsServer

# Each test has a provider of its own, found by `NAME.test`, and a trunk of its own that leads there.
TRANSPORTS = {
    "dead": "udp", "late": "udp", "naptr": "tcp", "refused": "tcp", "large": "udp", "no-tcp": "udp",
    "tcp-elsewhere": "udp", "rebind-a": "udp", "rebind-srv": "udp", "renewed": "udp", "silence": "udp",
}  # fmt: skip
DESKS = {name: f"127.0.0.{number}" for number, name in enumerate(TRANSPORTS, 20)}
PADDING = (("X-Padding", "x" * 2000),)
# The call itself may wait for a host that is silent.
PATIENCE = 15.0

MakePeer = Callable[..., Peer]


@pytest.fixture(scope="module")
def zone() -> Iterator[DnsServer]:
    server = DnsServer()
    server.put("one.test", "A", PROVIDER, ttl=1)
    server.put("two.test", "A", SECOND_PROVIDER, ttl=1)
    yield server
    server.close()


@pytest.fixture(scope="module")
def proxy(
    serve_module: Any, redis_server: Any, zone: DnsServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trunkwarden]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NAMESERVERS_VARIABLE, zone.host_port)
        config = configuration(
            tmp_path_factory.mktemp("routing"),
            redis_server.url,
            [
                {
                    "name": name,
                    "hostname": f"{name}.test",
                    "transport": transport,
                    "networks": [PROVIDER, SECOND_PROVIDER],
                }
                for name, transport in TRANSPORTS.items()
            ],
            [trunk(name, desk, provider=name, capacity_limit=1) for name, desk in DESKS.items()],
            listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
            timers={"provider_response_seconds": 2},
        )
        yield serve_module(config)


class House:
    """A provider's domain, and the desk that calls it."""

    def __init__(self, name: str, proxy: Trunkwarden, zone: DnsServer, new_peer: MakePeer) -> None:
        self.name = name
        self.proxy = proxy
        self.zone = zone
        self.desk = new_peer(DESKS[name])
        self.udp = proxy.sockets["udp"]

    def srv(self, *records: str, label: str = "_sip._udp") -> None:
        """`priority weight port host`."""
        self.zone.put(f"{label}.{self.name}.test", "SRV", *records, ttl=1)

    def up(self) -> bool:
        """Whether the program says that calls may be sent there."""
        return self.proxy.metric("trunkwarden_provider_up", provider=self.name) == 1

    def open(self) -> None:
        """The program learns what the domain says now."""
        self.proxy.reload()
        eventually(self.up, PATIENCE, "an address")

    def call(self, **more: Any) -> OutgoingCall:
        return OutgoingCall(self.desk, self.udp, WASHINGTON, **more).send()

    def whole_call(self, far: Peer, **more: Any) -> IncomingCall:
        """A call through to its end; the provider's side of it."""
        made = self.call(**more)
        far_end = incoming(far, self.udp, made, PATIENCE)
        far_end.accept()
        hang_up(made, made.answered(PATIENCE), far_end)
        self.proxy.wait_until_idle(self.name)
        return far_end

    def busy_call(self, far: Peer, **more: Any) -> IncomingCall:
        """A call that is refused there."""
        made = self.call(**more)
        far_end = incoming(far, self.udp, made, PATIENCE)
        far_end.respond("486 Busy Here")
        assert made.final().status == 486
        return far_end


@pytest.fixture
def house(request: pytest.FixtureRequest, proxy: Trunkwarden, zone: DnsServer, new_peer: MakePeer) -> House:
    """Of the provider that the test is marked with."""
    return House(request.param, proxy, zone, new_peer)


def at(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("house", names, indirect=True)


@pytest.fixture
def listen() -> Iterator[Callable[..., StreamListener]]:
    made: list[StreamListener] = []

    def one(host: str, port: int = 0) -> StreamListener:
        made.append(StreamListener(host, port=port))
        return made[-1]

    yield one
    for listener in made:
        listener.close()


@at("dead")
def test_second_target_takes_the_calls_of_a_dead_first(house, new_peer) -> None:
    """P12, P31: another branch, one reservation (there is room for one call only); the next call does not
    wait."""
    silent, alive = new_peer(PROVIDER), new_peer(SECOND_PROVIDER)
    house.srv(f"10 0 {silent.address[1]} one.test.", f"20 0 {alive.address[1]} two.test.")
    house.open()
    far_end = house.whole_call(alive)
    tried = silent.requests("INVITE", far_end.invite.one("call-id"))
    assert tried
    assert tried[0].all("via")[0] != far_end.invite.all("via")[0]
    assert tried[0].uri == far_end.invite.uri == f"sip:{WASHINGTON}@dead.test"
    assert house.up()
    before = silent.count("INVITE")
    house.whole_call(alive)
    assert silent.count("INVITE") == before
    decisions = "trunkwarden_admission_decisions_total"
    eventually(lambda: house.proxy.metric(decisions, trunk="dead", decision="admitted") == 2, PATIENCE)


@at("late")
def test_target_that_answers_late_is_cancelled_or_hung_up(house, new_peer) -> None:
    slow, alive = new_peer(PROVIDER), new_peer(SECOND_PROVIDER)
    house.srv(f"10 0 {slow.address[1]} one.test.", f"20 0 {alive.address[1]} two.test.")
    house.open()
    made = house.call()
    late = incoming(slow, house.udp, made)
    far_end = incoming(alive, house.udp, made, PATIENCE)
    late.respond("180 Ringing")
    cancel = late.expect("CANCEL")
    assert cancel.all("via")[0] == late.invite.all("via")[0]
    late.accept()  # it crossed
    late.expect("ACK")
    late.reply(late.expect("BYE"))
    far_end.accept()
    hang_up(made, made.answered(PATIENCE), far_end)
    house.proxy.wait_until_idle("late")


@at("naptr")
def test_naptr_leads_to_tcp(house, zone, listen) -> None:
    """P31."""
    listener = listen(PROVIDER)
    zone.put("naptr.test", "NAPTR", '10 10 "s" "SIP+D2T" "" calls.test.', '5 10 "s" "SIP+D2U" "" evil.test.')
    zone.put("calls.test", "SRV", f"0 0 {listener.address[1]} one.test.")
    house.open()
    made = house.call()
    far_end = incoming(listener.peer(), house.udp, made)
    assert far_end.invite.all("via")[0].startswith("SIP/2.0/TCP ")
    far_end.respond("486 Busy Here")
    assert made.final().status == 486


@at("refused")
def test_refused_connection_leads_to_the_next_target(house, listen) -> None:
    listener = listen(SECOND_PROVIDER)
    with socket.create_server((PROVIDER, 0)) as closed:
        nobody = closed.getsockname()[1]
    house.srv(f"1 0 {nobody} one.test.", f"2 0 {listener.address[1]} two.test.", label="_sip._tcp")
    house.open()
    made = house.call()
    far_end = incoming(listener.peer(), house.udp, made)
    far_end.respond("486 Busy Here")
    assert made.final().status == 486


@at("large")
def test_large_invite_goes_by_tcp(house, new_peer, listen) -> None:
    """P31: 2,000 bytes and more, at the same port since the domain says nothing of TCP."""
    far = new_peer(PROVIDER)
    listener = listen(PROVIDER, far.address[1])
    house.srv(f"0 0 {far.address[1]} one.test.")
    house.open()
    made = house.call(extra=PADDING)
    far_end = incoming(listener.peer(), house.udp, made)
    invite = far_end.invite
    assert len(invite.raw) > 2000
    assert invite.all("via")[0].startswith("SIP/2.0/TCP ")
    routes = invite.record_routes()
    tcp, udp = house.proxy.sockets["tcp"][1], house.udp[1]
    assert [f":{tcp};transport=tcp" in routes[0], f":{udp};lr" in routes[1]] == [True, True]
    assert invite.body == SDP
    far_end.accept()
    hang_up(made, made.answered(), far_end)
    assert far.count("INVITE") == 0
    house.proxy.wait_until_idle("large")
    house.whole_call(far)  # a small one goes by UDP


@at("no-tcp")
def test_large_invite_goes_by_udp_where_there_is_no_tcp(house, new_peer) -> None:
    far = new_peer(PROVIDER)
    house.srv(f"0 0 {far.address[1]} one.test.")
    house.open()
    far_end = house.whole_call(far, extra=PADDING)
    assert len(far_end.invite.raw) > 2000
    assert far_end.invite.all("via")[0].startswith("SIP/2.0/UDP ")
    assert len(far_end.invite.record_routes()) == 1


@at("tcp-elsewhere")
def test_domain_says_where_tcp_is(house, new_peer, listen) -> None:
    far, listener = new_peer(PROVIDER), listen(SECOND_PROVIDER)
    house.srv(f"0 0 {far.address[1]} one.test.")
    house.srv(f"0 0 {listener.address[1]} two.test.", label="_sip._tcp")
    house.open()
    made = house.call(extra=PADDING)
    far_end = incoming(listener.peer(), house.udp, made)
    far_end.respond("486 Busy Here")
    assert made.final().status == 486
    assert far.count("INVITE") == 0


@at("rebind-a", "rebind-srv")
def test_name_that_rebinds_leads_nowhere_else(house, zone, new_peer) -> None:
    """D01."""
    far = new_peer(PROVIDER)
    evil = new_peer(EVIL, port=far.address[1])
    zone.put("rebound.test", "A", PROVIDER, ttl=1)
    house.srv(f"0 0 {far.address[1]} rebound.test.")
    house.open()
    house.busy_call(far)
    if house.name == "rebind-a":
        zone.put("rebound.test", "A", EVIL, ttl=1)
    else:
        zone.put("evil.test", "A", EVIL)
        house.srv(f"0 0 {far.address[1]} evil.test.")
    house.proxy.reload()
    eventually(lambda: not house.up(), PATIENCE, "the provider's end")
    assert house.call().final().status == 404
    assert evil.received == []


@at("renewed")
def test_answer_is_renewed_when_its_time_is_over(house, new_peer) -> None:
    """Without a reload, and without a call that waits for it."""
    old, new = new_peer(PROVIDER), new_peer(SECOND_PROVIDER)
    house.srv(f"0 0 {old.address[1]} one.test.")
    house.open()
    house.busy_call(old)
    house.srv(f"0 0 {new.address[1]} two.test.")

    def arrives() -> bool:
        made = house.call()
        far = eventually(
            lambda: next((one for one in (old, new) if one.requests("INVITE", made.call_id)), None), PATIENCE
        )
        incoming(far, house.udp, made).respond("486 Busy Here")
        assert made.final().status == 486
        return far is new

    eventually(arrives, PATIENCE, "a call at the new host")


@at("silence")
def test_silent_name_server_keeps_what_is_known(house, zone, new_peer) -> None:
    far = new_peer(PROVIDER)
    house.srv(f"0 0 {far.address[1]} one.test.")
    house.open()
    reloads = "trunkwarden_policy_reloads_total"
    before = house.proxy.metric(reloads, result="success")
    zone.silent = True
    try:
        house.proxy.reload()
        eventually(lambda: house.proxy.metric(reloads, result="success") > before, PATIENCE)
        house.busy_call(far)
    finally:
        zone.silent = False
