"""One call from its INVITE to its end, seen by both peers."""

from __future__ import annotations

import pytest

from policy.reasons import ReasonCode
from proxy.call.core import CallSettings
from tests.call.playbook import CARRIER, PBX, SDP, Playbook, answer, established, in_dialog, invite, policy


def test_call_from_invite_to_bye() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]
    assert outgoing.uri == b"sip:+442071838750@127.0.0.3:5090"

    play.receive(answer(outgoing, 100, "Trying"), CARRIER)
    assert play.take() == []
    play.receive(answer(outgoing, 180, "Ringing"), CARRIER)
    assert play.take() == ["pbx <- 180 (INVITE)"]
    play.receive(answer(outgoing, 200), CARRIER)
    ok = play.last(PBX)
    assert play.take() == ["pbx <- 200 (INVITE)"]
    assert play.commands == ["Reserve", "Answered"]

    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    assert play.take() == ["carrier <- ACK"]
    play.receive(in_dialog("BYE", ok, cseq=2))
    bye = play.last(CARRIER)
    assert play.take() == ["carrier <- BYE"]
    assert play.commands == ["Reserve", "Answered"]  # the sight of a BYE ends nothing
    play.now += 0.5
    play.receive(answer(bye, 200), CARRIER)
    assert play.take() == ["pbx <- 200 (BYE)"]
    assert play.commands == ["Reserve", "Answered", "Ended"]
    session = play.sessions[0]
    assert session.ended_at == play.now - 0.5  # charged until the BYE arrived
    assert session.ended_by == "caller"


def test_forwarded_invite_keeps_what_is_not_ours() -> None:
    play = Playbook()
    extra = "X-Odd :  kept\t as it is \r\nsubject: one\r\n two\r\nP-Asserted-Identity: <sip:+1555@pbx>\r\n"
    play.receive(invite(extra=extra, body=SDP + b"\xff\x00\xfe"))
    data = play.last_bytes(CARRIER)
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == SDP + b"\xff\x00\xfe"
    lines = head.split(b"\r\n")
    assert lines[1].startswith(b"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK")
    assert lines[2] == b"Via: SIP/2.0/UDP 127.0.0.2:5070;branch=z9hG4bK-1;rport=5070;received=127.0.0.2"
    assert lines[3].startswith(b"Record-Route: <sip:127.0.0.1:5060;lr;tw=")
    assert (
        b"\r\nX-Odd :  kept\t as it is \r\nsubject: one\r\n two\r\nP-Asserted-Identity: <sip:+1555@pbx>"
        in head
    )
    assert b"Max-Forwards: 69" in lines


def test_identity_headers_of_an_untrusted_trunk_are_removed() -> None:
    play = Playbook(policy(trunk={"trust_identity": False}))
    play.receive(
        invite(extra="P-Asserted-Identity: <sip:a@b>\r\nRemote-Party-ID: <sip:a@b>\r\nX-Kept: yes\r\n")
    )
    head = play.last_bytes(CARRIER).partition(b"\r\n\r\n")[0].lower()
    assert b"p-asserted-identity" not in head
    assert b"remote-party-id" not in head
    assert b"x-kept: yes" in head


def test_request_uri_and_headers_of_the_provider() -> None:
    play = Playbook(
        policy(
            provider={
                "tech_prefix": "99",
                "tech_postfix": "77",
                "strip_plus": True,
                "tech_headers": {"X-Route": "gold"},
            }
        )
    )
    # Host, parameters and headers of the caller's URI never travel on.
    play.receive(
        invite("sip:+44-20.7183(8750)@evil.example;maddr=127.0.0.9?Route=%3Csip:evil%3E", to="sip:x@y")
    )
    outgoing = play.last(CARRIER)
    assert outgoing.uri == b"sip:9944207183875077@127.0.0.3:5090"
    assert outgoing.first(b"x-route") == b"gold"
    assert outgoing.all(b"route") == []


def test_route_of_the_caller_is_not_followed() -> None:
    play = Playbook()
    play.receive(invite(extra="Route: <sip:127.0.0.1:5060;lr>,<sip:127.0.0.9;lr>\r\n"))
    assert play.last(CARRIER).all(b"route") == []
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]


def test_refusal_says_why() -> None:
    play = Playbook()
    play.receive(invite("sip:+4915112345678@127.0.0.1"))
    refused = play.last(PBX)
    assert play.take() == ["pbx <- 403 (INVITE)"]
    assert refused.reason == b"Destination Country Not Whitelisted"
    assert refused.first(b"reason") == b'Q.850;cause=21;text="Destination Country Not Whitelisted"'
    assert refused.first(b"warning") == b'399 trunkwarden "COUNTRY Destination Country Not Whitelisted"'
    assert play.commands == ["Refused"]
    play.pass_time(0.6)
    assert play.take() == ["pbx <- 403 (INVITE)"]  # a known source gets it again until it acknowledges


def test_ledger_refusal() -> None:
    play = Playbook(admit_all=False)
    play.receive(invite())
    assert play.take() == ["pbx <- 100 (INVITE)"]
    play.decide(ReasonCode.CPS)
    refused = play.last(PBX)
    assert (refused.status, refused.reason) == (503, b"Calls Per Second Exceeded")
    assert refused.first(b"retry-after") == b"1"
    assert play.commands == ["Reserve", "Refused"]


def test_retransmitted_invite_while_the_ledger_thinks() -> None:
    play = Playbook(admit_all=False)
    for _ in range(8):
        play.receive(invite())
    assert play.commands == ["Reserve"]
    assert play.take() == ["pbx <- 100 (INVITE)"] * 8
    play.decide()
    assert play.take() == ["carrier <- INVITE"]


def test_cancel_while_the_ledger_thinks_gives_the_place_back() -> None:
    play = Playbook(admit_all=False)
    play.receive(invite())
    play.receive(invite(method="CANCEL", body=b""))
    assert play.take() == ["pbx <- 100 (INVITE)", "pbx <- 200 (CANCEL)", "pbx <- 487 (INVITE)"]
    play.decide()
    assert play.take() == []
    assert play.commands == ["Reserve", "Ended"]


def test_cancel_waits_for_a_provisional_response() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.take()
    why = 'Reason: SIP;cause=200;text="elsewhere"\r\nReason: Q.850;cause=26\r\n'  # as Asterisk does
    play.receive(invite(method="CANCEL", body=b"", extra=why))
    assert play.take() == ["pbx <- 200 (CANCEL)"]
    play.receive(answer(outgoing, 180), CARRIER)
    cancel = play.last(CARRIER)
    assert play.take() == ["carrier <- CANCEL", "pbx <- 180 (INVITE)"]
    assert cancel.all(b"reason") == [b'SIP;cause=200;text="elsewhere", Q.850;cause=26']
    assert cancel.uri == outgoing.uri
    assert cancel.via.branch == outgoing.via.branch
    play.receive(answer(cancel, 200), CARRIER)
    play.receive(answer(outgoing, 487, "Request Terminated"), CARRIER)
    assert play.take() == ["carrier <- ACK", "pbx <- 487 (INVITE)"]
    assert play.commands == ["Reserve", "Ended"]


def test_487_with_the_vias_of_the_cancel_ends_the_call_and_nothing_else_does() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    alone = [line for line in answer(outgoing, 180).split(b"\r\n") if b"127.0.0.2:5070;branch" not in line]
    play.take()
    play.receive(b"\r\n".join(alone), CARRIER)
    assert play.take() == []  # a response that is for us alone goes nowhere
    play.receive(answer(outgoing, 180), CARRIER)
    play.receive(invite(method="CANCEL", body=b""))
    play.take()
    play.receive(b"\r\n".join(alone).replace(b"180 OK", b"486 Busy"), CARRIER)
    assert play.take() == []
    play.receive(b"\r\n".join(alone).replace(b"180 OK", b"487 Gone"), CARRIER)
    assert play.take() == ["carrier <- ACK", "pbx <- 487 (INVITE)"]
    assert play.commands == ["Reserve", "Ended"]


def test_cancel_crossing_the_answer_leaves_a_call_that_can_be_ended() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), CARRIER)
    play.receive(invite(method="CANCEL", body=b""))
    play.receive(answer(outgoing, 200), CARRIER)
    ok = play.last(PBX)
    assert ok.status == 200
    assert play.commands == ["Reserve", "Answered"]
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]


@pytest.mark.parametrize("status", [300, 302, 404, 486, 500, 603])
def test_failure_passes_unchanged_and_is_acknowledged_by_us(status: int) -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.take()
    play.receive(answer(outgoing, status, "Their Words", extra="X-Why: theirs"), CARRIER)
    passed = play.last(PBX)
    ack = play.last(CARRIER)
    assert play.take() == ["carrier <- ACK", f"pbx <- {status} (INVITE)"]
    assert (passed.reason, passed.first(b"x-why")) == (b"Their Words", b"theirs")
    assert (ack.uri, ack.via.branch, ack.to_tag) == (outgoing.uri, outgoing.via.branch, b"uas1")
    assert play.commands == ["Reserve", "Ended"]
    play.receive(invite(method="ACK", body=b"", to_tag="uas1"))
    assert play.take() == []


def test_503_of_the_provider_becomes_500() -> None:
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 503, "Go Away", extra="Retry-After: 60"), CARRIER)
    passed = play.last(PBX)
    assert passed.status == 500
    assert passed.first(b"retry-after") is None
    assert play.commands == ["Reserve", "Ended"]


def test_silent_provider_is_408_and_the_place_returns() -> None:
    play = Playbook(settings=CallSettings(provider_response_seconds=2.0))
    play.receive(invite())
    play.take()
    play.pass_time(2.1)
    assert play.take() == ["carrier <- INVITE", "carrier <- INVITE", "pbx <- 408 (INVITE)"]
    assert play.commands == ["Reserve", "Ended"]


def test_timer_c_cancels_a_call_that_rings_for_ever() -> None:
    play = Playbook(settings=CallSettings(no_answer_seconds=185.0))
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), CARRIER)
    play.take()
    play.pass_time(184)
    assert play.take() == []
    play.receive(answer(outgoing, 183), CARRIER)  # sets it back
    play.pass_time(184)
    assert play.take() == ["pbx <- 183 (INVITE)"]
    play.pass_time(2)
    cancel = play.last(CARRIER)
    assert play.take()[0] == "carrier <- CANCEL"
    assert cancel.first(b"reason") == b'SIP;cause=408;text="No Answer"'
    play.receive(answer(outgoing, 487), CARRIER)
    assert play.take() == ["carrier <- ACK", "pbx <- 487 (INVITE)"]
    assert play.commands == ["Reserve", "Ended"]


def test_provider_that_ignores_cancel_does_not_hold_the_place() -> None:
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 180), CARRIER)
    play.receive(invite(method="CANCEL", body=b""))
    play.take()
    play.pass_time(33)
    assert "pbx <- 487 (INVITE)" in play.take()
    assert play.commands == ["Reserve", "Ended"]


def test_2xx_after_the_caller_was_refused_is_ended_by_us() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), CARRIER)
    session = play.sessions[0]
    session.hang_up(b'Q.850;cause=31;text="Ended By Operator"', play.now)
    play.pump()
    assert play.take()[-2:] == ["pbx <- 480 (INVITE)", "carrier <- CANCEL"]
    assert play.commands == ["Reserve", "Ended"]
    play.receive(answer(outgoing, 200), CARRIER)
    assert play.take() == ["carrier <- ACK", "carrier <- BYE"]


def test_retransmitted_2xx_is_forwarded_each_time_and_counted_once() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    for _ in range(3):
        play.receive(answer(outgoing, 200), CARRIER)
    assert play.take()[2:] == ["pbx <- 200 (INVITE)"] * 3
    assert play.commands == ["Reserve", "Answered"]


def test_fork_downstream_makes_two_dialogs_and_the_call_ends_with_the_last() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 200, tag="a"), CARRIER)
    first = play.last(PBX)
    play.receive(answer(outgoing, 200, tag="b", contact="sip:b@127.0.0.3:5091"), CARRIER)
    second = play.last(PBX)
    for ok in (first, second):
        play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack" + ok.to_tag.decode()))
    play.receive(in_dialog("BYE", first, cseq=2, branch="z9hG4bK-bye-a"))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    assert play.commands == ["Reserve", "Answered"]
    play.take()
    play.receive(in_dialog("BYE", second, cseq=2, branch="z9hG4bK-bye-b"))
    assert play.take() == ["127.0.0.3:5091 <- BYE"]


def test_call_that_is_never_acknowledged_is_ended() -> None:
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    play.pass_time(32.5)
    assert play.take()[:3] == ["carrier <- ACK", "carrier <- BYE", "pbx <- BYE"]


@pytest.mark.parametrize("longest", [600, 20, 2])
def test_longest_call_duration(longest: int) -> None:
    play = Playbook(policy(trunk={"max_call_seconds": longest}))
    established(play)
    play.pass_time(longest - 1)
    assert play.take() == []
    play.pass_time(2)
    bye = play.last(PBX)
    sent = play.take()
    assert "carrier <- BYE" in sent
    assert "pbx <- BYE" in sent
    assert bye.first(b"reason") == b'Q.850;cause=31;text="Longest Call Duration Reached"'


@pytest.mark.parametrize("by", ["proxy", "caller", "provider"])
def test_longest_call_is_charged_until_its_end_however_late_we_are(by: str) -> None:
    play = Playbook(policy(trunk={"max_call_seconds": 3}))
    ok = established(play)
    answered = play.sessions[0].answered_at
    assert answered is not None
    play.now = answered + 3.25
    if by != "proxy":  # its BYE is the first to come
        play.receive(
            in_dialog("BYE", ok, cseq=2, from_callee=by == "provider", branch="z9hG4bK-late"),
            CARRIER if by == "provider" else PBX,
        )
    else:
        play.core.handle_alarms(play.now)
        play.pump()
    far = PBX if by == "provider" else CARRIER
    bye = play.last(far)
    assert bye.method == b"BYE"
    play.now += 0.5
    play.receive(answer(bye, 200), far)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert (play.sessions[0].ended_at, play.sessions[0].ended_by) == (answered + 3, by)


def test_longest_call_that_survives_its_hang_up_is_charged_until_the_next() -> None:
    play = Playbook(policy(trunk={"max_call_seconds": 3}))
    established(play)
    answered = play.sessions[0].answered_at
    assert answered is not None
    play.pass_time(3.5)
    play.receive(answer(play.last(CARRIER), 500), CARRIER)
    play.pass_time(33)
    again = play.last(CARRIER)
    assert again.method == b"BYE"
    play.receive(answer(again, 200), CARRIER)
    assert play.sessions[0].ended_at == pytest.approx(answered + 35.5, abs=0.1)


def test_emergency_call_goes_to_the_next_provider_when_one_fails() -> None:
    compiled = policy(
        trunk={"status": "blocked"},
        more_providers=[{"name": "second", "hostname": "127.0.0.4:5090"}],
        emergency={"numbers": ["112"], "providers": ["carrier", "second"]},
    )
    play = Playbook(compiled)
    play.receive(invite("sip:112@127.0.0.1"))
    outgoing = play.last(CARRIER)
    assert outgoing.uri == b"sip:112@127.0.0.3:5090"
    play.receive(answer(outgoing, 503), CARRIER)
    assert play.take()[-2:] == ["carrier <- ACK", "127.0.0.4:5090 <- INVITE"]
    assert play.commands == ["Reserve"]
