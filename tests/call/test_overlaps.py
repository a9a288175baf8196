"""Requests within a dialog that overlap or cross, and the proxy's own requests among them."""

from __future__ import annotations

import pytest

from proxy.sip.message import SipRequest
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite
from tests.call.test_crossing import assert_nothing_left

REASON = b'Q.850;cause=21;text="Spend Limit Reached"'


def hang_up(play: Playbook) -> tuple[SipRequest, SipRequest]:
    """Our BYEs: to the provider, to the PBX."""
    play.sessions[0].hang_up(REASON, play.now)
    play.pump()
    return play.last(CARRIER), play.last(PBX)


def test_both_sides_hang_up_at_once() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2, branch="z9hG4bK-a"))
    play.receive(in_dialog("BYE", ok, cseq=1, from_callee=True, branch="z9hG4bK-b"), CARRIER)
    to_carrier, to_pbx = play.last(CARRIER), play.last(PBX)
    play.receive(answer(to_pbx, 200), PBX)
    play.receive(answer(to_carrier, 481), CARRIER)
    assert play.take() == ["carrier <- BYE", "pbx <- BYE", "carrier <- 200 (BYE)", "pbx <- 481 (BYE)"]
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert play.sessions[0].ended_by == "provider"
    play.pass_time(100)
    assert_nothing_left(play)


def test_caller_hangs_up_while_we_do() -> None:
    play = Playbook()
    ok = established(play)
    ours, _ = hang_up(play)
    play.receive(in_dialog("BYE", ok, cseq=2, branch="z9hG4bK-a"))
    theirs = play.last(CARRIER)
    assert theirs.via.branch != ours.via.branch
    play.receive(answer(theirs, 200), CARRIER)
    play.receive(answer(ours, 481), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    play.pass_time(100)
    assert_nothing_left(play)


def test_numbers_and_tags_of_our_own_bye() -> None:
    play = Playbook()
    ok = established(play, cseq=41)
    play.receive(in_dialog("INFO", ok, cseq=57, branch="z9hG4bK-i"))
    play.receive(in_dialog("INFO", ok, cseq=900, from_callee=True, branch="z9hG4bK-j"), CARRIER)
    down, up = hang_up(play)
    assert (down.cseq, down.from_tag, down.to_tag) == (58, b"pbx1", b"uas1")
    assert (up.cseq, up.from_tag, up.to_tag) == (901, b"uas1", b"pbx1")
    assert (down.uri, up.uri) == (b"sip:carrier@127.0.0.3:5090", b"sip:alice@127.0.0.2:5070")
    assert down.call_id == up.call_id == b"call-1"
    assert down.first(b"reason") == up.first(b"reason") == REASON
    assert (down.max_forwards, down.body) == (70, b"")


def test_our_own_ack_has_the_number_of_the_invite() -> None:
    play = Playbook()
    play.receive(invite(cseq=41))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    play.sessions[0].hang_up(REASON, play.now)
    play.pump()
    ack = next(message for to, message, _ in play.sent if to == CARRIER)
    assert (ack.method, ack.cseq, ack.to_tag, ack.from_tag) == (b"ACK", 41, b"uas1", b"pbx1")
    assert play.take() == ["carrier <- ACK", "carrier <- BYE", "pbx <- BYE"]


def test_bye_of_ours_that_is_refused_is_said_again_with_a_higher_number() -> None:
    play = Playbook()
    established(play)
    first, _ = hang_up(play)
    play.receive(answer(first, 500, "No"), CARRIER)
    assert play.commands == ["Reserve", "Answered"]
    play.take()
    play.pass_time(33)
    second = play.last(CARRIER)
    assert (second.method, second.cseq) == (b"BYE", first.cseq + 1)
    assert second.first(b"reason") == REASON
    play.receive(answer(second, 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert play.sessions[0].ended_at == pytest.approx(play.now, abs=1.1)


def test_glare_passes() -> None:
    """RFC 3261 §14.1: the 491 and the ACK to it stay within their hop."""
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-a"))
    to_carrier = play.last(CARRIER)
    play.receive(in_dialog("INVITE", ok, cseq=1, from_callee=True, branch="z9hG4bK-b"), CARRIER)
    to_pbx = play.last(PBX)
    play.take()
    play.receive(answer(to_carrier, 491, "Request Pending"), CARRIER)
    play.receive(answer(to_pbx, 491, "Request Pending"), PBX)
    assert play.take() == ["carrier <- ACK", "pbx <- 491 (INVITE)", "pbx <- ACK", "carrier <- 491 (INVITE)"]
    play.receive(in_dialog("ACK", ok, cseq=2, branch="z9hG4bK-a"))
    play.receive(in_dialog("ACK", ok, cseq=1, from_callee=True, branch="z9hG4bK-b"), CARRIER)
    assert play.take() == []
    assert play.commands == ["Reserve", "Answered"]


def test_overlapping_reinvites_each_find_their_answer() -> None:
    play = Playbook()
    ok = established(play)
    outgoing = []
    for cseq in (2, 3):
        play.receive(in_dialog("INVITE", ok, cseq=cseq, branch=f"z9hG4bK-{cseq}"))
        outgoing.append(play.last(CARRIER))
    play.take()
    play.receive(answer(outgoing[1], 500, "Overlap", extra="Retry-After: 3"), CARRIER)
    refused = play.last(PBX)
    assert (refused.status, refused.cseq, refused.via.branch) == (500, 3, b"z9hG4bK-3")
    play.receive(answer(outgoing[0], 200), CARRIER)
    accepted = play.last(PBX)
    assert (accepted.status, accepted.cseq, accepted.via.branch) == (200, 2, b"z9hG4bK-2")
    for _ in range(2):  # each 2xx of a re-INVITE goes up as well
        play.receive(answer(outgoing[0], 200), CARRIER)
    assert play.take()[-2:] == ["pbx <- 200 (INVITE)"] * 2
    play.receive(in_dialog("ACK", ok, cseq=2, branch="z9hG4bK-ack2"))
    assert play.take() == ["carrier <- ACK"]


def test_reinvite_crossing_a_bye() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INVITE", ok, cseq=1, from_callee=True, branch="z9hG4bK-b"), CARRIER)
    reinvite = play.last(PBX)
    play.receive(in_dialog("BYE", ok, cseq=2, branch="z9hG4bK-a"))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    assert play.commands[-1] == "Ended"
    play.take()
    play.receive(answer(reinvite, 481, "Gone"), PBX)  # the call is over, the transaction is not
    assert play.take() == ["pbx <- ACK", "carrier <- 481 (INVITE)"]
    play.pass_time(100)
    assert_nothing_left(play)


def test_cancel_of_a_reinvite_crossing_its_answer() -> None:
    play = Playbook()
    ok = established(play)
    reinvite = in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-a")
    play.receive(reinvite)
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), CARRIER)
    play.receive(answer(outgoing, 200), CARRIER)
    play.take()
    play.receive(reinvite.replace(b"INVITE", b"CANCEL"))
    assert play.take() == ["pbx <- 200 (CANCEL)"]
    assert play.commands == ["Reserve", "Answered"]


def test_update_in_the_early_dialog_moves_the_callers_target() -> None:
    """RFC 3311."""
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 183, extra="Require: 100rel\r\nRSeq: 1"), CARRIER)
    early = play.last(PBX)
    play.receive(in_dialog("PRACK", early, cseq=2, branch="z9hG4bK-p"))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.receive(
        in_dialog("UPDATE", early, cseq=3, branch="z9hG4bK-u", extra="Contact: <sip:moved@127.0.0.2>")
    )
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.receive(in_dialog("INFO", early, cseq=1, from_callee=True, branch="z9hG4bK-i"), CARRIER)
    assert play.last(PBX).uri == b"sip:moved@127.0.0.2"


def test_lost_ack_is_asked_for_by_repeated_answers() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 200), CARRIER)
    ok = play.last(PBX)
    for number in range(3):
        play.now += 0.5
        play.receive(answer(outgoing, 200), CARRIER)
        play.receive(in_dialog("ACK", ok, cseq=1, branch=f"z9hG4bK-ack{number}"))
    assert play.take()[2:] == ["pbx <- 200 (INVITE)"] + ["pbx <- 200 (INVITE)", "carrier <- ACK"] * 3
    play.pass_time(200)
    assert play.take() == []  # acknowledged: nobody is hung up on
    assert play.commands == ["Reserve", "Answered"]


def test_answer_after_408_is_not_passed_on() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.pass_time(6.1)
    assert play.last(PBX).status == 408
    play.take()
    play.receive(answer(outgoing, 200), CARRIER)
    assert play.take() == ["carrier <- ACK", "carrier <- BYE"]
    assert play.commands == ["Reserve", "Ended"]


def test_answer_after_cancel_is_passed_on_and_counts() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(invite(method="CANCEL", body=b""))  # nothing was heard of the provider yet
    play.receive(answer(outgoing, 200), CARRIER)
    assert play.take()[-1] == "pbx <- 200 (INVITE)"
    assert play.commands == ["Reserve", "Answered"]


@pytest.mark.parametrize("hops", [1, 5, 70])
def test_hops_left_in_a_dialog(hops: int) -> None:
    play = Playbook()
    ok = established(play)
    data = in_dialog("INFO", ok, cseq=2).replace(b"Max-Forwards: 70", b"Max-Forwards: %d" % hops)
    play.receive(data)
    assert play.last(CARRIER).max_forwards == hops - 1


def test_other_methods_pass_byte_for_byte() -> None:
    """P20."""
    play = Playbook()
    ok = established(play)
    extra = "X-Odd :\tkept \r\nContent-Type: text/x\r\nAlso: kept in this direction"
    data = in_dialog("INFO", ok, cseq=1, from_callee=True, extra=extra)
    play.receive(data.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 4\r\n\r\n\xff\x00ab"), CARRIER)
    passed = play.last_bytes(PBX)
    assert b"\r\nX-Odd :\tkept \r\nContent-Type: text/x\r\nAlso: kept in this direction\r\n" in passed
    assert passed.endswith(b"\r\n\r\n\xff\x00ab")


def test_provisional_answers_to_requests_other_than_invite() -> None:
    """P24: a 100 is never relayed, and none of ours is sent."""
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INFO", ok, cseq=2))
    info = play.last(CARRIER)
    play.take()
    play.receive(answer(info, 100, "Trying"), CARRIER)
    assert play.take() == []
    play.pass_time(10)
    assert {label for label in play.take() if "100" in label} == set()
    play.receive(answer(info, 408, "Request Timeout"), CARRIER)
    assert play.take() == []
    play.pass_time(100)
    assert_nothing_left_but_the_call(play)


def assert_nothing_left_but_the_call(play: Playbook) -> None:
    assert play.stack.transactions == 0
    assert list(play.core.sessions.values()) == play.sessions
