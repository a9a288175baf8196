"""Which way packets go: listeners, proxies above and below, NAT, and Contacts that lead nowhere."""

from __future__ import annotations

import pytest

from proxy.call.forwarding import Identity
from proxy.sip.message import SipRequest, SipResponse
from tests.call.playbook import CARRIER, PBX, PROXY, Playbook, answer, established, in_dialog, invite, policy

INSIDE = ("127.0.0.1", 5060)
OUTSIDE = ("127.0.0.7", 5070)
SIX = ("::1", 5060)
CARRIER_SIX = ("::3", 5090)


def hang_up(play: Playbook) -> None:
    play.sessions[0].hang_up(b'Q.850;cause=31;text="Test"', play.now)
    play.pump()


# --- two listeners


@pytest.fixture(params=["v4", "v6"])
def bridge(request: pytest.FixtureRequest) -> tuple[Playbook, tuple[str, int], tuple[str, int]]:
    """(playbook, listener towards the provider, the provider's address); the caller is at INSIDE."""
    outer, carrier = (OUTSIDE, CARRIER) if request.param == "v4" else (SIX, CARRIER_SIX)
    outer_name = b"proxy.example.org:5070" if request.param == "v4" else b"[::1]:5060"
    # The order decides which listener the playbook's route leaves by.
    identities = {outer: Identity("udp", outer_name), INSIDE: Identity("udp", b"127.0.0.1:5060")}
    host = f"[{carrier[0]}]" if ":" in carrier[0] else carrier[0]
    play = Playbook(policy(provider={"hostname": f"{host}:{carrier[1]}"}), identities=identities)
    return play, outer, carrier


def test_call_between_two_listeners(bridge: tuple[Playbook, tuple[str, int], tuple[str, int]]) -> None:
    """P18: a Record-Route for each side, both left behind in both directions; each packet leaves by its
    side's socket."""
    play, outer, carrier = bridge
    host = f"[{carrier[0]}]" if ":" in carrier[0] else carrier[0]
    contact = f"sip:carrier@{host}:{carrier[1]}"
    play.receive(invite(), PBX, INSIDE)
    outgoing = play.last(carrier)
    name = b"[::1]:5060" if outer == SIX else b"proxy.example.org:5070"
    routes = outgoing.all(b"record-route")
    assert len(routes) == 2
    assert routes[0].startswith(b"<sip:" + name + b";lr;tw=")
    assert routes[1].startswith(b"<sip:127.0.0.1:5060;lr;tw=")
    via = outgoing.first(b"via")
    assert via is not None
    assert via.startswith(b"SIP/2.0/UDP " + name + b";branch=")

    play.receive(answer(outgoing, 180, contact=contact), carrier, outer)
    play.receive(answer(outgoing, 200, contact=contact), carrier, outer)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"), PBX, INSIDE)
    play.receive(in_dialog("INFO", ok, cseq=2, branch="z9hG4bK-info"), PBX, INSIDE)
    info = play.last(carrier)
    assert info.all(b"route") == []
    play.receive(answer(info, 200), carrier, outer)
    play.receive(in_dialog("BYE", ok, cseq=3, from_callee=True), carrier, outer)
    bye = play.last(PBX)
    assert bye.all(b"route") == []
    assert bye.first(b"via").startswith(b"SIP/2.0/UDP 127.0.0.1:5060;branch=")
    play.receive(answer(bye, 200), PBX, INSIDE)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    for (to, _, _), local in zip(play.sent, play.left_by, strict=True):
        assert local == (outer if to == carrier else INSIDE)


def test_hang_up_between_two_listeners(bridge: tuple[Playbook, tuple[str, int], tuple[str, int]]) -> None:
    play, outer, carrier = bridge
    play.receive(invite(), PBX, INSIDE)
    host = f"[{carrier[0]}]" if ":" in carrier[0] else carrier[0]
    play.receive(answer(play.last(carrier), 200, contact=f"sip:c@{host}:{carrier[1]}"), carrier, outer)
    play.receive(in_dialog("ACK", play.last(PBX), cseq=1, branch="z9hG4bK-ack"), PBX, INSIDE)
    play.take()
    del play.left_by[:]
    hang_up(play)
    byes = {to: local for (to, _, _), local in zip(play.sent, play.left_by, strict=True)}
    assert byes == {carrier: outer, PBX: INSIDE}


def test_contact_of_another_family_is_reached_by_who_named_it() -> None:
    """No socket of ours reaches it: the provider's own address is the way."""
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 200, contact="sip:gw@[2001:db8::9]:5060"), CARRIER)
    ok = play.last(PBX)
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    assert play.last(CARRIER).uri == b"sip:gw@[2001:db8::9]:5060"


@pytest.mark.parametrize("name", [b"sip.example.org", b"SIP.Example.ORG:5080", b"198.51.100.7:5060"])
def test_advertised_name_stands_in_via_and_record_route(name: bytes) -> None:
    play = Playbook(identities={PROXY: Identity("udp", name)})
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2))
    bye = play.last(CARRIER)
    assert bye.first(b"via").startswith(b"SIP/2.0/UDP " + name + b";branch=")
    play.receive(answer(bye, 200), CARRIER)
    assert play.commands[-1] == "Ended"


# --- proxies above


def from_above(data: bytes, record_route: str, source: tuple[str, int] = ("127.0.0.2", 5080)) -> bytes:
    """The request as a proxy in front of the PBX hands it on."""
    start, _, rest = data.partition(b"\r\n")
    via = f"Via: SIP/2.0/UDP {source[0]}:{source[1]};branch=z9hG4bK-above\r\n"
    return start + b"\r\n" + via.encode() + f"Record-Route: {record_route}\r\n".encode() + rest


ABOVE = ("127.0.0.2", 5080)


def test_route_set_towards_the_caller() -> None:
    play = Playbook()
    play.receive(from_above(invite(), "<sip:127.0.0.2:5080;lr>,<sip:10.0.0.9;lr>"), ABOVE)
    outgoing = play.last(CARRIER)
    assert len(outgoing.all(b"via")) == 3
    play.receive(answer(outgoing, 200), CARRIER)
    ok = play.last(ABOVE)
    assert len(ok.all(b"via")) == 2
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=1, from_callee=True), CARRIER)
    bye = play.last(ABOVE)
    assert bye.uri == b"sip:alice@127.0.0.2:5070"
    assert bye.all(b"route") == [b"<sip:127.0.0.2:5080;lr>", b"<sip:10.0.0.9;lr>"]
    play.receive(answer(bye, 200), ABOVE)
    assert play.take()[-1] == "carrier <- 200 (BYE)"
    assert play.commands[-1] == "Ended"


def test_our_own_bye_follows_the_route_set_towards_the_caller() -> None:
    play = Playbook()
    play.receive(from_above(invite(), "<sip:127.0.0.2:5080;lr>"), ABOVE)
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    hang_up(play)
    bye = play.last(ABOVE)
    assert (bye.method, bye.all(b"route")) == (b"BYE", [b"<sip:127.0.0.2:5080;lr>"])


def test_strict_router_above() -> None:
    """§12.2.1.1: it finds itself in the Request-URI, and the caller at the end of Route."""
    play = Playbook()
    play.receive(from_above(invite(), "<sip:127.0.0.2:5080>,<sip:10.0.0.9;lr>"), ABOVE)
    ok_for = answer(play.last(CARRIER), 200)
    play.receive(ok_for, CARRIER)
    ok = play.last(ABOVE)
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=1, from_callee=True), CARRIER)
    bye = play.last(ABOVE)
    assert bye.uri == b"sip:127.0.0.2:5080"
    assert bye.all(b"route") == [b"<sip:10.0.0.9;lr>", b"<sip:alice@127.0.0.2:5070>"]


def test_proxy_above_that_listens_elsewhere_is_followed_within_the_trunk() -> None:
    play = Playbook(policy(trunk={"allowed_sip_ips": ["127.0.0.2", "127.0.0.12"]}))
    play.receive(from_above(invite(), "<sip:127.0.0.12:5060;lr>"), ABOVE)
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(ABOVE)
    play.take()
    for cseq in (1, 2):
        branch = f"z9hG4bK-{cseq}"
        play.receive(in_dialog("INFO", ok, cseq=cseq, from_callee=True, branch=branch), CARRIER)
        assert play.take() == ["127.0.0.12:5060 <- INFO"]
        play.receive(in_dialog("INFO", ok, cseq=cseq + 1, branch=branch), ABOVE)  # changes nothing
        play.take()


def test_record_route_of_the_caller_leads_no_packet_out_of_its_trunk() -> None:
    play = Playbook()
    play.receive(from_above(invite(), "<sip:127.0.0.9:5066;lr>"), ABOVE)
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(ABOVE)
    play.take()
    play.receive(in_dialog("INFO", ok, cseq=1, from_callee=True), CARRIER)
    hang_up(play)
    assert {to for to, _, _ in play.sent} == {ABOVE, CARRIER}


# --- the caller's own address


def test_caller_that_sends_from_another_port_than_it_listens_on() -> None:
    """Without rport the Via says where it listens (§18.2.2): for responses, and for requests as well."""
    play = Playbook()
    source = ("127.0.0.2", 50123)
    data = invite().replace(b";rport", b"")
    play.receive(data, source)
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack").replace(b";rport", b""), source)
    play.take()
    play.receive(in_dialog("INFO", ok, cseq=1, from_callee=True), CARRIER)
    assert play.take() == ["pbx <- INFO"]


def test_caller_without_a_contact_is_reached_at_its_source() -> None:
    play = Playbook()
    play.receive(invite().replace(b"Contact: <sip:alice@127.0.0.2:5070>\r\n", b""))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    hang_up(play)
    assert play.last(PBX).uri == b"sip:127.0.0.2:5070"


# --- Contacts


@pytest.mark.parametrize(
    "contact",
    [
        "",
        "Contact: <>",
        "Contact: *",
        "Contact: <mailto:a@b>",
        "Contact: <sip:a@b\xff>",
        "Contact: <sip:a b@c>",
    ],
)
def test_callee_without_a_usable_contact_is_asked_where_the_call_went(contact: str) -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    data = answer(outgoing, 200).replace(
        b"Contact: <sip:carrier@127.0.0.3:5090>", contact.encode("latin-1") or b"X: y"
    )
    play.receive(data, CARRIER)
    play.take()
    hang_up(play)
    requests = [message for to, message, _ in play.sent if to == CARRIER]
    assert [request.method for request in requests] == [b"ACK", b"BYE"]
    assert {request.uri for request in requests} == {outgoing.uri}


@pytest.mark.parametrize(
    ("contact", "target"),
    [
        ("sip:c@127.0.0.3:5090?Replaces=x%3Bto-tag%3Dy", b"sip:c@127.0.0.3:5090"),
        ("sip:c@127.0.0.3:5090;method=REFER;x=y", b"sip:c@127.0.0.3:5090;x=y"),
        ("sip:c@127.0.0.3:5090;transport=udp;ob", b"sip:c@127.0.0.3:5090;transport=udp;ob"),
        ("sip:a;method=b@127.0.0.3:5090", b"sip:a;method=b@127.0.0.3:5090"),
    ],
)
def test_what_no_request_uri_may_have_is_left_out(contact: str, target: bytes) -> None:
    """§19.1.1, Table 1."""
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 200, contact=contact), CARRIER)
    play.receive(in_dialog("ACK", play.last(PBX), cseq=1, branch="z9hG4bK-ack"))
    assert play.last(CARRIER).uri == target


def test_contact_of_an_earlier_response_serves_when_a_later_one_has_none() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    first = answer(outgoing, 183, contact="sip:early@127.0.0.3:5091")
    below = b"Record-Route: <sip:127.0.0.4:5060;lr>\r\nRecord-Route:"
    play.receive(first.replace(b"Record-Route:", below, 1), CARRIER)
    bare = answer(outgoing, 180).replace(b"Contact: <sip:carrier@127.0.0.3:5090>\r\n", b"")
    play.receive(bare, CARRIER)
    play.receive(in_dialog("PRACK", play.last(PBX), cseq=2), PBX)
    prack = play.last(("127.0.0.4", 5060))
    assert prack.uri == b"sip:early@127.0.0.3:5091"
    assert prack.all(b"route") == [b"<sip:127.0.0.4:5060;lr>"]


# --- both sides alike


def test_both_sides_at_one_address() -> None:
    """A hairpin: the PBX is its own provider."""
    play = Playbook(policy(provider={"hostname": f"{PBX[0]}:{PBX[1]}"}))
    play.receive(invite())
    outgoing = next(m for to, m, _ in play.sent if isinstance(m, SipRequest))
    contact = "sip:bob@127.0.0.2:5070"
    play.receive(answer(outgoing, 200, contact=contact), PBX)
    ok = next(m for to, m, _ in play.sent if isinstance(m, SipResponse) and m.status == 200)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=1, from_callee=True, branch="z9hG4bK-callee"), PBX)
    bye = play.last(PBX)
    assert (bye.uri, bye.from_tag, bye.to_tag) == (b"sip:alice@127.0.0.2:5070", b"uas1", b"pbx1")
    play.receive(answer(bye, 200), PBX)
    assert play.commands[-1] == "Ended"
    assert play.sessions[0].ended_by == "provider"


@pytest.mark.parametrize("from_callee", [False, True])
def test_both_sides_chose_one_tag(from_callee: bool) -> None:
    play = Playbook()
    play.receive(invite(tag="same"))
    play.receive(answer(play.last(CARRIER), 200, tag="same"), CARRIER)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.take()
    source, target, name = (CARRIER, PBX, "pbx") if from_callee else (PBX, CARRIER, "carrier")
    play.receive(in_dialog("BYE", ok, cseq=2, from_callee=from_callee), source)
    bye = play.last(target)
    assert play.take() == [f"{name} <- BYE"]
    play.receive(answer(bye, 200), target)
    assert play.commands[-1] == "Ended"
    assert play.sessions[0].ended_by == ("provider" if from_callee else "caller")
