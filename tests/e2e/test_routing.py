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
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually
from tests.routing.dns_server import DnsServer

DESK = "127.0.0.20"
NAME = "carrier.test"
PADDING = (("X-Padding", "x" * 2000),)
# The call itself may wait for a host that is silent.
PATIENCE = 10.0

Start = Callable[..., Trunkwarden]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[DnsServer]:
    server = DnsServer()
    monkeypatch.setenv(NAMESERVERS_VARIABLE, server.host_port)
    server.put("one.test", "A", PROVIDER, ttl=1)
    server.put("two.test", "A", SECOND_PROVIDER, ttl=1)
    yield server
    server.close()


@pytest.fixture
def start(serve: Any, redis_server: Any, zone: DnsServer, tmp_path: Any) -> Start:
    """Starts the program with one provider, found by name."""

    def made(hostname: str = NAME, **changes: Any) -> Trunkwarden:
        carrier = {
            "name": "carrier",
            "hostname": hostname,
            "networks": [PROVIDER, SECOND_PROVIDER],
            **changes,
        }
        config = configuration(
            tmp_path / "config",
            redis_server.url,
            [carrier],
            [trunk("desk", DESK, capacity_limit=1)],
            listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
        )
        started: Trunkwarden = serve(config)
        return started

    return made


@pytest.fixture
def listen() -> Iterator[Callable[..., StreamListener]]:
    made: list[StreamListener] = []

    def one(host: str, port: int = 0) -> StreamListener:
        made.append(StreamListener(host, port=port))
        return made[-1]

    yield one
    for listener in made:
        listener.close()


def srv(zone: DnsServer, *records: str, label: str = "_sip._udp") -> None:
    zone.put(f"{label}.{NAME}", "SRV", *records, ttl=1)


def call(desk: Peer, proxy: Trunkwarden, **more: Any) -> OutgoingCall:
    return OutgoingCall(desk, proxy.sockets["udp"], WASHINGTON, **more).send()


def whole_call(desk: Peer, proxy: Trunkwarden, far: Peer, **more: Any) -> Any:
    """A call through to its end; the provider's side of it. `far` may be a connection."""
    made = call(desk, proxy, **more)
    far_end = incoming(far, proxy.sockets["udp"], made, PATIENCE)
    far_end.accept()
    hang_up(made, made.answered(PATIENCE), far_end)
    proxy.wait_until_idle()
    return far_end


def test_second_target_takes_the_calls_of_a_dead_first(start, zone, new_peer) -> None:
    """P12, P31: another branch, one reservation (there is room for one call only); the next call does not
    wait."""
    silent, alive = new_peer(PROVIDER), new_peer(SECOND_PROVIDER)
    srv(zone, f"10 0 {silent.address[1]} one.test.", f"20 0 {alive.address[1]} two.test.")
    proxy = start()
    far_end = whole_call(new_peer(DESK), proxy, alive)
    tried = silent.requests("INVITE", far_end.invite.one("call-id"))
    assert tried
    assert tried[0].all("via")[0] != far_end.invite.all("via")[0]
    assert tried[0].uri == far_end.invite.uri == f"sip:{WASHINGTON}@{NAME}"
    assert proxy.metric("trunkwarden_provider_up", provider="carrier") == 1
    before = silent.count("INVITE")
    whole_call(new_peer(DESK), proxy, alive)
    assert silent.count("INVITE") == before
    decisions = "trunkwarden_admission_decisions_total"
    eventually(lambda: proxy.metric(decisions, decision="admitted") == 2, PATIENCE, "two admissions")


def test_target_that_answers_late_is_cancelled_or_hung_up(start, zone, new_peer) -> None:
    slow, alive = new_peer(PROVIDER), new_peer(SECOND_PROVIDER)
    srv(zone, f"10 0 {slow.address[1]} one.test.", f"20 0 {alive.address[1]} two.test.")
    proxy = start()
    made = call(new_peer(DESK), proxy)
    late = incoming(slow, proxy.sockets["udp"], made)
    far_end = incoming(alive, proxy.sockets["udp"], made, PATIENCE)
    late.respond("180 Ringing")
    cancel = late.expect("CANCEL")
    assert cancel.all("via")[0] == late.invite.all("via")[0]
    late.accept()  # it crossed
    late.expect("ACK")
    late.reply(late.expect("BYE"))
    far_end.accept()
    hang_up(made, made.answered(PATIENCE), far_end)
    proxy.wait_until_idle()


def test_naptr_leads_to_tcp(start, zone, new_peer, listen) -> None:
    """P31."""
    listener = listen(PROVIDER)
    zone.put(
        NAME, "NAPTR", '10 10 "s" "SIP+D2T" "" calls.test.', '5 10 "s" "SIP+D2U" "" _sip._udp.evil.test.'
    )
    zone.put("calls.test", "SRV", f"0 0 {listener.address[1]} one.test.")
    proxy = start(transport="tcp")
    made = call(new_peer(DESK), proxy)
    far = listener.peer()
    far_end = incoming(far, proxy.sockets["udp"], made)
    assert far_end.invite.all("via")[0].startswith("SIP/2.0/TCP ")
    far_end.respond("486 Busy Here")
    assert made.final().status == 486


def test_refused_connection_leads_to_the_next_target(start, zone, new_peer, listen) -> None:
    listener = listen(SECOND_PROVIDER)
    with socket.create_server((PROVIDER, 0)) as closed:
        nobody = closed.getsockname()[1]
    srv(zone, f"1 0 {nobody} one.test.", f"2 0 {listener.address[1]} two.test.", label="_sip._tcp")
    proxy = start(transport="tcp")
    made = call(new_peer(DESK), proxy)
    far_end = incoming(listener.peer(), proxy.sockets["udp"], made)
    far_end.respond("486 Busy Here")
    assert made.final().status == 486


def test_large_invite_goes_by_tcp(start, new_peer, listen) -> None:
    """P31: 2,000 bytes and more."""
    far = new_peer(PROVIDER)
    listener = listen(PROVIDER, far.address[1])
    proxy = start(far.host_port)
    made = call(new_peer(DESK), proxy, extra=PADDING)
    stream = listener.peer()
    far_end = incoming(stream, proxy.sockets["udp"], made)
    invite = far_end.invite
    assert len(invite.raw) > 2000
    assert invite.all("via")[0].startswith("SIP/2.0/TCP ")
    routes = invite.record_routes()
    tcp, udp = proxy.sockets["tcp"][1], proxy.sockets["udp"][1]
    assert [f":{tcp};transport=tcp" in routes[0], f":{udp};lr" in routes[1]] == [True, True]
    assert invite.body == SDP
    far_end.accept()
    hang_up(made, made.answered(), far_end)
    assert far.count("INVITE") == 0
    proxy.wait_until_idle()
    whole_call(new_peer(DESK), proxy, far)  # a small one goes by UDP


def test_large_invite_goes_by_udp_where_there_is_no_tcp(start, new_peer) -> None:
    far = new_peer(PROVIDER)
    proxy = start(far.host_port)
    far_end = whole_call(new_peer(DESK), proxy, far, extra=PADDING)
    assert len(far_end.invite.raw) > 2000
    assert far_end.invite.all("via")[0].startswith("SIP/2.0/UDP ")
    assert len(far_end.invite.record_routes()) == 1


def test_domain_says_where_tcp_is(start, zone, new_peer, listen) -> None:
    far, listener = new_peer(PROVIDER), listen(SECOND_PROVIDER)
    srv(zone, f"0 0 {far.address[1]} one.test.")
    srv(zone, f"0 0 {listener.address[1]} two.test.", label="_sip._tcp")
    proxy = start()
    made = call(new_peer(DESK), proxy, extra=PADDING)
    far_end = incoming(listener.peer(), proxy.sockets["udp"], made)
    far_end.respond("486 Busy Here")
    assert made.final().status == 486


@pytest.mark.parametrize("how", ["A", "SRV"])
def test_name_that_rebinds_leads_nowhere_else(start, zone, new_peer, how: str) -> None:
    """D01."""
    far = new_peer(PROVIDER)
    evil = new_peer(EVIL, port=far.address[1])
    srv(zone, f"0 0 {far.address[1]} one.test.")
    proxy = start()
    whole_call(new_peer(DESK), proxy, far)
    if how == "A":
        zone.put("one.test", "A", EVIL, ttl=1)
    else:
        zone.put("evil.test", "A", EVIL)
        srv(zone, f"0 0 {far.address[1]} evil.test.")
    asked = zone.count(f"_sip._udp.{NAME}", "SRV")
    proxy.reload()
    eventually(lambda: zone.count(f"_sip._udp.{NAME}", "SRV") > asked, PATIENCE, "the lookup")
    eventually(
        lambda: proxy.metric("trunkwarden_provider_up", provider="carrier") == 0,
        PATIENCE,
        "the provider's end",
    )
    assert call(new_peer(DESK), proxy).final().status == 404
    assert evil.received == []


def test_answer_is_renewed_when_its_time_is_over(start, zone, new_peer) -> None:
    """Without a reload, and without a call that waits for it."""
    old, new = new_peer(PROVIDER), new_peer(SECOND_PROVIDER)
    srv(zone, f"0 0 {old.address[1]} one.test.")
    proxy = start()
    whole_call(new_peer(DESK), proxy, old)
    srv(zone, f"0 0 {new.address[1]} two.test.")
    asked = zone.count("two.test", "AAAA")
    eventually(lambda: zone.count("two.test", "AAAA") > asked, 15.0, "the lookup")
    desk = new_peer(DESK)

    def arrives() -> bool:
        made = call(desk, proxy)
        far = eventually(
            lambda: next((one for one in (old, new) if one.requests("INVITE", made.call_id)), None), PATIENCE
        )
        incoming(far, proxy.sockets["udp"], made).respond("486 Busy Here")
        assert made.final().status == 486
        return far is new

    eventually(arrives, PATIENCE, "a call at the new host")


def test_silent_name_server_keeps_what_is_known(start, zone, new_peer) -> None:
    far = new_peer(PROVIDER)
    srv(zone, f"0 0 {far.address[1]} one.test.")
    proxy = start()
    zone.silent = True
    proxy.reload()
    eventually(lambda: proxy.metric("trunkwarden_policy_reloads_total", result="success") >= 1, 15.0)
    whole_call(new_peer(DESK), proxy, far)
