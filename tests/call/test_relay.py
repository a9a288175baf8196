"""Requests within a dialog: whatever the sender writes, they go where the dialog says."""

from __future__ import annotations

import pytest

from proxy.sip.message import SipResponse
from tests.call.playbook import (
    CARRIER,
    PBX,
    STRANGER,
    Playbook,
    answer,
    established,
    in_dialog,
    invite,
    policy,
)


@pytest.mark.parametrize("method", ["BYE", "INFO", "UPDATE", "INVITE", "MESSAGE", "ODDITY"])
def test_forged_request_uri_goes_to_the_recorded_target(method: str) -> None:
    play = Playbook()
    ok = established(play)
    play.receive(
        in_dialog(method, ok, cseq=2, uri="sip:+19005550100@127.0.0.9", extra="Route: <sip:127.0.0.9;lr>")
    )
    forwarded = play.last(CARRIER)
    assert forwarded.uri == b"sip:carrier@127.0.0.3:5090"
    assert forwarded.all(b"route") == []
    assert all(line.startswith(("carrier", "pbx")) for line in play.take())


def test_ack_to_a_2xx_goes_to_the_recorded_target() -> None:
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(PBX)
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, uri="sip:evil@127.0.0.9"))
    assert play.last(CARRIER).uri == b"sip:carrier@127.0.0.3:5090"
    assert play.take() == ["carrier <- ACK"]


def test_request_from_the_callee_reaches_the_pbx_by_the_flow_it_used() -> None:
    play = Playbook()
    play.receive(invite(), ("127.0.0.2", 40001))  # behind NAT: not the port of its Contact
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(("127.0.0.2", 40001))
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-a"), ("127.0.0.2", 40002))
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=1, from_callee=True), CARRIER)
    bye = play.last(("127.0.0.2", 40002))
    assert play.take() == ["127.0.0.2:40002 <- BYE"]
    assert bye.uri == b"sip:alice@127.0.0.2:5070"
    play.receive(answer(bye, 200), ("127.0.0.2", 40002))
    assert play.take() == ["carrier <- 200 (BYE)"]
    assert play.commands[-1] == "Ended"
    assert play.sessions[0].ended_by == "provider"


@pytest.mark.parametrize("status", [403, 407, 500])
def test_bye_that_is_refused_ends_nothing(status: int) -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), status, "No"), CARRIER)
    assert play.commands == ["Reserve", "Answered"]
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=3, branch="z9hG4bK-again"))
    assert play.take() == ["carrier <- BYE"]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "BYE"])
@pytest.mark.parametrize("from_callee", [False, True])
def test_503_goes_back_as_500_and_ends_nothing(method: str, from_callee: bool) -> None:
    """§16.7 item 6: a 503 would say that the proxy itself is out of service."""
    play = Playbook()
    ok = established(play)
    asker, other = (CARRIER, PBX) if from_callee else (PBX, CARRIER)
    play.receive(in_dialog(method, ok, cseq=2, from_callee=from_callee), asker)
    play.receive(answer(play.last(other), 503, "Busy", extra="Retry-After: 600"), other)
    told = play.last(asker)
    assert (told.status, told.first(b"retry-after")) == (500, None)
    assert told.first(b"reason") == b'SIP;cause=503;text="Service Unavailable"'
    assert play.commands == ["Reserve", "Answered"]
    assert play.sessions[0].is_answered


@pytest.mark.parametrize("status", [200, 202])
def test_bye_that_is_accepted_ends_the_call(status: int) -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), status, "Word"), CARRIER)
    assert play.commands[-1] == "Ended"


def test_bye_that_is_never_answered_ends_the_call_and_tells_nobody_408() -> None:
    play = Playbook()
    ok = established(play)
    arrived = play.now
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.pass_time(33)
    assert set(play.take()) == {"carrier <- BYE"}
    assert play.commands[-1] == "Answered"
    play.pass_time(33)  # ours is not answered either
    assert set(play.take()) == {"carrier <- BYE"}
    assert play.commands[-1] == "Ended"
    assert play.sessions[0].ended_at == arrived + 32.0  # nobody said that it ended before


@pytest.mark.parametrize(
    "change",
    [
        {"route": False},
        {"extra": "", "uri": "sip:carrier@127.0.0.3:5090", "route": False},
    ],
)
def test_request_without_our_record_route_is_no_dialog_of_ours(change: dict[str, object]) -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2, **change))  # type: ignore[arg-type]
    assert play.take() == ["pbx <- 481 (BYE)"]
    assert play.commands == ["Reserve", "Answered"]


def test_forged_signature_is_no_dialog_of_ours() -> None:
    play = Playbook()
    ok = established(play)
    data = in_dialog("BYE", ok, cseq=2).replace(b"-signed", b"-forged")
    play.receive(data)
    assert play.take() == ["pbx <- 481 (BYE)"]


@pytest.mark.parametrize(("old", "new"), [(b"tag=uas1", b"tag=other"), (b"tag=pbx1", b"tag=other")])
def test_wrong_tag_is_481(old: bytes, new: bytes) -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2).replace(old, new))
    assert play.take() == ["pbx <- 481 (BYE)"]
    assert play.commands == ["Reserve", "Answered"]


def test_bye_before_the_answer_is_481() -> None:
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 180), CARRIER)
    ringing = play.last(PBX)
    play.take()
    play.receive(in_dialog("BYE", ringing, cseq=2))
    assert play.take() == ["pbx <- 481 (BYE)"]


def test_bye_from_outside_the_trunk_is_481() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(
        in_dialog("BYE", ok, cseq=2).replace(b"127.0.0.2:5070;branch", b"127.0.0.9:5099;branch"), STRANGER
    )
    assert play.take() == ["stranger <- 481 (BYE)"]


def test_bye_from_outside_the_providers_networks_is_481() -> None:
    play = Playbook(policy(provider={"networks": ["127.0.0.3"]}))
    ok = established(play)
    bye = in_dialog("BYE", ok, cseq=1, from_callee=True).replace(
        b"127.0.0.3:5090;branch", b"127.0.0.9:5099;branch"
    )
    play.receive(bye, STRANGER)
    assert play.take() == ["stranger <- 481 (BYE)"]


def test_early_dialog_carries_prack() -> None:
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 183, extra="RSeq: 1\r\nRequire: 100rel"), CARRIER)
    progress = play.last(PBX)
    play.take()
    play.receive(in_dialog("PRACK", progress, cseq=2, extra="RAck: 1 1 INVITE"))
    prack = play.last(CARRIER)
    assert play.take() == ["carrier <- PRACK"]
    play.receive(answer(prack, 200), CARRIER)
    assert play.take() == ["pbx <- 200 (PRACK)"]


def test_target_refresh_moves_the_target_of_later_requests() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INVITE", ok, cseq=2, extra="Contact: <sip:alice@127.0.0.2:5070>"))
    reinvite = play.last(CARRIER)
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]
    play.receive(answer(reinvite, 200, contact="sip:media2@127.0.0.3:5091"), CARRIER)
    assert play.take() == ["pbx <- 200 (INVITE)"]
    play.receive(in_dialog("ACK", ok, cseq=2, branch="z9hG4bK-ack2"))
    assert play.last(("127.0.0.3", 5091)).uri == b"sip:media2@127.0.0.3:5091"
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=3, branch="z9hG4bK-bye"))
    assert play.take() == ["127.0.0.3:5091 <- BYE"]


def test_refused_target_refresh_moves_nothing() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INVITE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), 488, contact="sip:media2@127.0.0.3:5091"), CARRIER)
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=3, branch="z9hG4bK-bye"))
    assert play.take() == ["carrier <- BYE"]


def test_cancelled_reinvite() -> None:
    play = Playbook()
    ok = established(play)
    reinvite = in_dialog("INVITE", ok, cseq=2)
    play.receive(reinvite)
    play.receive(answer(play.last(CARRIER), 180), CARRIER)
    play.take()
    why = b"Reason: SIP;cause=200\r\nReason: Q.850;cause=26\r\nMax-Forwards:"
    play.receive(reinvite.replace(b"INVITE", b"CANCEL").replace(b"Max-Forwards:", why))
    assert play.last(CARRIER).all(b"reason") == [b"SIP;cause=200, Q.850;cause=26"]
    assert play.take() == ["pbx <- 200 (CANCEL)", "carrier <- CANCEL"]


def test_silent_peer_of_a_reinvite_is_408_and_the_call_lives() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INVITE", ok, cseq=2))
    play.pass_time(33)
    assert "pbx <- 408 (INVITE)" in play.take()
    assert play.commands == ["Reserve", "Answered"]


def test_silent_peer_of_another_request_is_never_408() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INFO", ok, cseq=2))
    play.pass_time(33)
    assert set(play.take()) == {"carrier <- INFO"}


def test_transfer_towards_the_provider_is_refused() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("REFER", ok, cseq=2, extra="Refer-To: <sip:+19005550100@x>"))
    assert play.take() == ["pbx <- 403 (REFER)"]


def test_transfer_asked_of_the_pbx_passes() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("REFER", ok, cseq=1, from_callee=True, extra="Refer-To: <sip:+1@x>"), CARRIER)
    assert play.take() == ["pbx <- REFER"]


def test_max_forwards_zero_in_a_dialog() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INFO", ok, cseq=2).replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
    assert play.take() == ["pbx <- 483 (INFO)"]


def test_route_set_of_a_proxy_below_is_kept_in_order() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    below = "Record-Route: <sip:127.0.0.5:5060;lr>\r\nRecord-Route: <sip:127.0.0.4:5060;lr>"
    data = answer(outgoing, 200)
    data = data.replace(b"Record-Route:", below.encode() + b"\r\nRecord-Route:", 1)
    play.receive(data, CARRIER)
    ok = play.last(PBX)
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    ack = play.last(("127.0.0.4", 5060))
    assert ack.all(b"route") == [b"<sip:127.0.0.4:5060;lr>", b"<sip:127.0.0.5:5060;lr>"]
    assert ack.uri == b"sip:carrier@127.0.0.3:5090"


def test_strict_router_below() -> None:
    play = Playbook()
    play.receive(invite())
    data = answer(play.last(CARRIER), 200)
    data = data.replace(b"Record-Route:", b"Record-Route: <sip:127.0.0.4:5060>\r\nRecord-Route:", 1)
    play.receive(data, CARRIER)
    ok = play.last(PBX)
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    ack = play.last(("127.0.0.4", 5060))
    assert ack.uri == b"sip:127.0.0.4:5060"
    assert ack.all(b"route") == [b"<sip:carrier@127.0.0.3:5090>"]


def test_strict_router_above_puts_our_route_into_the_request_uri() -> None:
    play = Playbook()
    ok = established(play)
    ours = (ok.first(b"record-route") or b"").strip(b"<>").decode()
    play.receive(in_dialog("BYE", ok, cseq=2, uri=ours, route=False))
    assert play.last(CARRIER).uri == b"sip:carrier@127.0.0.3:5090"
    assert play.take() == ["carrier <- BYE"]


# --- the connection breaks while a request is on its way ---


def over_tcp() -> tuple[Playbook, SipResponse]:
    """A call whose provider wants the requests of the dialog by TCP."""
    play = Playbook(tcp=True)
    play.receive(invite())
    contact = f"sip:carrier@{CARRIER[0]}:{CARRIER[1]};transport=tcp"
    play.receive(answer(play.last(CARRIER), 200, contact=contact), CARRIER)
    ok = play.last(PBX)
    assert isinstance(ok, SipResponse)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.take()
    return play, ok


def broken(play: Playbook) -> Playbook:
    """The connection of what was sent last breaks."""
    return play.link_down(play.flows[-1])


@pytest.mark.parametrize("status", [200, 481])
def test_what_was_lost_with_a_connection_is_sent_once_more(status: int) -> None:
    play, ok = over_tcp()
    play.receive(in_dialog("BYE", ok, cseq=2))
    first = play.last(CARRIER)
    broken(play)
    second = play.last(CARRIER)
    assert play.take() == ["carrier <- BYE", "carrier <- BYE"]
    assert (first.cseq, first.via.branch) != (second.cseq, second.via.branch)
    assert (first.cseq, first.uri) == (second.cseq, second.uri)
    assert play.commands[-1] != "Ended"
    play.receive(answer(second, status), flow=play.flows[-1])
    ours = play.last(CARRIER) if status == 481 else None
    said = play.take()
    assert said[0] == f"pbx <- {status} (BYE)"
    if status == 481:
        assert said[1:] == ["carrier <- BYE"]  # in words of our own
        play.receive(answer(ours, 481), flow=play.flows[-1])
    assert play.commands.count("Ended") == 1
    assert play.sessions[0].ended_by == "caller"


def test_a_bye_that_cannot_be_sent_is_500_and_the_call_is_ended_in_words_of_our_own() -> None:
    play, ok = over_tcp()
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.take()
    broken(play)
    broken(play)
    own = play.last(CARRIER)
    assert play.take() == ["carrier <- BYE", "pbx <- 500 (BYE)", "carrier <- BYE"]
    assert "Ended" not in play.commands
    play.receive(answer(own, 200), flow=play.flows[-1])
    assert play.commands.count("Ended") == 1
    assert play.take() == []


@pytest.mark.parametrize("method", ["INFO", "INVITE"])
def test_other_requests_that_cannot_be_sent_are_500_and_the_call_goes_on(method: str) -> None:
    """408 to a re-INVITE would end the dialog (RFC 5057 §5.1)."""
    play, ok = over_tcp()
    play.receive(in_dialog(method, ok, cseq=2))
    broken(play)
    play.take()
    broken(play)
    assert play.take() == [f"pbx <- 500 ({method})"]
    assert "Ended" not in play.commands
    assert play.core.sessions


def test_what_the_provider_works_on_already_is_not_sent_again() -> None:
    play, ok = over_tcp()
    play.receive(in_dialog("INVITE", ok, cseq=2))
    flow = play.flows[-1]
    play.receive(answer(play.last(CARRIER), 180), flow=flow)
    play.take()
    play.link_down(flow)
    assert play.take() == ["pbx <- 500 (INVITE)"]
