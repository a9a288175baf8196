"""Requests over 1300 bytes (RFC 3261 §18.1.1): by TCP where the next hop takes it, else by UDP after all."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.call.reach import LARGEST_DATAGRAM, STREAM_SECONDS
from proxy.sip.message import Flow, SipRequest
from tests.call.playbook import (
    CARRIER,
    PBX,
    PROXY,
    STREAM_PROXY,
    Playbook,
    answer,
    established,
    in_dialog,
    invite,
    policy,
)  # fmt: skip

PADDING = f"X-Padding: {'x' * 2000}\r\n"
CARRIER_TCP = Flow("tcp", STREAM_PROXY, CARRIER, 9)


def playbook(**changes: Any) -> Playbook:
    return Playbook(policy(**changes), tcp=True)


def ways(play: Playbook) -> list[str]:
    """What left since the last look: `transport METHOD or status`."""
    new = play.flows[len(play.flows) - len(play.sent) :]
    seen = [
        f"{flow.transport} {message.method.decode() if isinstance(message, SipRequest) else message.status}"
        for flow, (_, message, _) in zip(new, play.sent, strict=True)
    ]
    play.take()
    return seen


def grown(data: bytes, to: int) -> bytes:
    """An INVITE that leaves the proxy with exactly `to` bytes."""
    return data.replace(b"Max-Forwards: 70\r\n", b"X-P: " + b"x" * (to - 7) + b"\r\nMax-Forwards: 70\r\n")


def test_small_request_goes_by_udp() -> None:
    play = playbook()
    play.receive(invite())
    assert ways(play) == ["udp 100", "udp INVITE"]


def test_the_limit_is_1300_bytes_as_they_leave() -> None:
    play = playbook()
    play.receive(invite())
    usual = len(play.last_bytes(CARRIER))
    for extra, transport in ((LARGEST_DATAGRAM - usual, "udp"), (LARGEST_DATAGRAM + 1 - usual, "tcp")):
        play.receive(grown(invite(call_id=transport * 2, branch=f"z9hG4bK-{transport[0]}"), extra))
        assert play.flows[-1].transport == transport
    assert len(play.sent[-2][2]) <= LARGEST_DATAGRAM


def test_large_invite_goes_by_tcp_with_via_and_routes_to_match() -> None:
    play = playbook()
    play.receive(invite(extra=PADDING))
    flow = play.flows[-1]
    outgoing = play.last(CARRIER)
    assert flow.hurried
    assert (flow.transport, flow.local, flow.remote) == ("tcp", STREAM_PROXY, CARRIER)
    assert outgoing.via.transport == b"TCP"
    first, second = outgoing.all(b"record-route")  # RFC 5658
    assert b"127.0.0.1:5062;transport=tcp;lr" in first
    assert b"127.0.0.1:5060;lr" in second
    play.receive(answer(outgoing, 200), flow=CARRIER_TCP)
    ok = play.last(PBX)
    assert ok.status == 200
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.receive(in_dialog("BYE", ok, cseq=2))
    assert ways(play) == ["tcp ACK", "tcp BYE"]


def test_failure_over_tcp_is_acknowledged_and_cancel_goes_the_same_way() -> None:
    play = playbook()
    play.receive(invite(extra=PADDING))
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), flow=CARRIER_TCP)
    play.receive(invite(method="CANCEL", body=b""))
    play.take()
    play.receive(answer(outgoing, 487), flow=CARRIER_TCP)
    assert ways(play) == ["tcp ACK", "udp 487"]


def test_without_tcp_there_it_goes_by_udp_at_once_and_for_some_minutes() -> None:
    play = playbook()
    play.receive(invite(extra=PADDING))
    tried = play.flows[-1]
    play.take()
    play.link_down(tried)
    assert ways(play) == ["udp INVITE"]
    play.receive(invite(call_id="next", branch="z9hG4bK-n", extra=PADDING))
    assert ways(play) == ["udp 100", "udp INVITE"]
    play.pass_time(STREAM_SECONDS)
    play.take()
    play.receive(invite(call_id="later", branch="z9hG4bK-l", extra=PADDING))
    assert ways(play) == ["udp 100", "tcp INVITE"]
    assert play.commands.count("Reserve") == 3


def test_fallback_has_a_branch_of_its_own_and_is_the_same_reservation() -> None:
    play = playbook()
    play.receive(invite(extra=PADDING))
    first = play.last(CARRIER)
    play.link_down(play.flows[-1])
    second = play.last(CARRIER)
    assert first.via.branch != second.via.branch
    assert (first.via.transport, second.via.transport) == (b"TCP", b"UDP")
    assert len(second.all(b"record-route")) == 1
    play.receive(answer(second, 200), CARRIER)
    assert play.last(PBX).status == 200
    assert play.commands == ["Reserve", "Answered"]
    assert not play.core.reach._resting  # the hop itself has not failed


def test_cancelled_during_the_try() -> None:
    play = playbook()
    play.receive(invite(extra=PADDING))
    tried = play.flows[-1]
    play.receive(invite(method="CANCEL", body=b""))
    play.take()
    play.link_down(tried)
    assert ways(play) == ["udp 487"]
    assert play.commands == ["Reserve", "Ended"]


def test_connection_that_breaks_after_ringing_is_a_failed_hop() -> None:
    play = playbook()
    play.receive(invite(extra=PADDING))
    play.receive(answer(play.last(CARRIER), 180), flow=CARRIER_TCP)
    play.take()
    play.link_down(play.flows[-2])
    assert ways(play) == ["udp 500"]
    assert play.commands == ["Reserve", "Ended"]


def test_no_listener_no_tcp() -> None:
    play = Playbook(policy())
    play.receive(invite(extra=PADDING))
    assert ways(play) == ["udp 100", "udp INVITE"]


# --- within a dialog ---


def test_large_reinvite_goes_by_tcp_and_back_to_udp_where_there_is_none() -> None:
    play = playbook()
    ok = established(play)
    play.receive(in_dialog("INVITE", ok, cseq=2, extra=PADDING))
    tried = play.flows[-1]
    assert tried.hurried
    assert ways(play) == ["udp 100", "tcp INVITE"]
    play.link_down(tried)
    again = play.last(CARRIER)
    assert (again.via.transport, ways(play)) == (b"UDP", ["udp INVITE"])
    play.receive(answer(again, 200), CARRIER)
    assert ways(play) == ["udp 200"]
    play.receive(in_dialog("INFO", ok, cseq=3, extra=PADDING, branch="z9hG4bK-info"))
    assert ways(play) == ["udp INFO"]


def test_ack_is_only_sent_by_tcp_that_is_known_to_work() -> None:
    """Nobody would send it again."""
    play = playbook()
    ok = established(play)
    play.receive(in_dialog("ACK", ok, cseq=1, extra=PADDING, branch="z9hG4bK-a2"))
    assert ways(play) == ["udp ACK"]
    play.receive(in_dialog("INFO", ok, cseq=2, extra=PADDING, branch="z9hG4bK-info"))
    play.receive(answer(play.last(CARRIER), 200), flow=CARRIER_TCP)
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, extra=PADDING, branch="z9hG4bK-a3"))
    assert ways(play) == ["tcp ACK"]


@pytest.mark.parametrize(("contact", "transport"), [("127.0.0.2:5070", "tcp"), ("10.0.0.9:5070", "udp")])
def test_towards_the_pbx_unless_it_is_behind_nat(contact: str, transport: str) -> None:
    play = playbook()
    play.receive(invite().replace(b"alice@127.0.0.2:5070>", f"alice@{contact}>".encode()))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.take()
    theirs = play.core.sessions[next(iter(play.core.sessions))].dialogs[b"uas1"]._origin
    info = in_dialog("INFO", theirs, cseq=1, from_callee=True, extra=PADDING)
    play.receive(info, CARRIER)
    assert ways(play) == [f"{transport} INFO"]
    if transport == "tcp":
        play.link_down(play.flows[-1])
        assert ways(play) == ["udp INFO"]
    assert play.flows[-1].local == PROXY


# --- our own requests ---


def on_a_long_way() -> Playbook:
    """An answered call; what is sent towards its called side names six proxies and has over 1300 bytes."""
    play = playbook()
    play.receive(invite())
    hops = "".join(
        f"Record-Route: <sip:{CARRIER[0]}:{CARRIER[1]};lr;hop={'x' * 200}{n}>\r\n" for n in range(6)
    )
    ok = answer(play.last(CARRIER), 200).replace(b"Record-Route:", hops.encode() + b"Record-Route:", 1)
    play.receive(ok, CARRIER)
    play.receive(in_dialog("ACK", play.last(PBX), cseq=1, branch="z9hG4bK-ack"))
    play.take()
    return play


def hang_up(play: Playbook) -> None:
    session = next(iter(play.core.sessions.values()))
    session.hang_up(b'Q.850;cause=21;text="Spend Limit Reached"', play.now)
    play.pump()


def test_large_bye_of_our_own_goes_by_tcp() -> None:
    play = on_a_long_way()
    hang_up(play)
    bye = play.last(CARRIER)
    assert bye.via.transport == b"TCP"
    assert ways(play) == ["tcp BYE", "udp BYE"]
    play.receive(answer(bye, 200), flow=CARRIER_TCP)
    assert play.commands == ["Reserve", "Answered", "Ended"]


def test_large_bye_of_our_own_goes_by_udp_where_there_is_no_tcp() -> None:
    play = on_a_long_way()
    hang_up(play)
    play.take()
    play.link_down(play.flows[-2])
    assert ways(play) == ["udp BYE"]
