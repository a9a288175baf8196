"""CSeq after a BYE of ours that was refused: each side goes on counting as it did, and both understand."""

from __future__ import annotations

import pytest

from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog


def refused_once(cseq: int = 1) -> tuple[Playbook, object]:
    """A call that both sides refused to end: our BYEs had the numbers next to theirs."""
    play = Playbook()
    ok = established(play, cseq=cseq)
    play.receive(in_dialog("INFO", ok, cseq=40, from_callee=True), CARRIER)
    play.receive(answer(play.last(PBX), 200), PBX)
    play.sessions[0].hang_up(b'Q.850;cause=31;text="Test"', play.now)
    play.pump()
    bye_of_callee, bye_of_caller = play.last(CARRIER), play.last(PBX)
    assert (bye_of_callee.cseq, bye_of_caller.cseq) == (cseq + 1, 41)
    play.receive(answer(bye_of_callee, 500), CARRIER)
    play.receive(answer(bye_of_caller, 500), PBX)
    play.take()
    return play, ok


@pytest.mark.parametrize("from_callee", [False, True])
def test_next_request_of_either_side_is_numbered_above_ours(from_callee: bool) -> None:
    play, ok = refused_once()
    own, far = (CARRIER, PBX) if from_callee else (PBX, CARRIER)
    number = 41 if from_callee else 2
    play.receive(in_dialog("BYE", ok, cseq=number, from_callee=from_callee), own)
    bye = play.last(far)
    assert (bye.cseq, bye.cseq_method) == (number + 1, b"BYE")
    play.receive(answer(bye, 200), far)
    ended = play.last(own)
    assert (ended.status, ended.first(b"cseq")) == (200, b"%d BYE" % number)
    assert play.commands == ["Reserve", "Answered", "Ended"]


def test_ack_has_the_number_of_its_invite() -> None:
    play, ok = refused_once()
    play.receive(in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-re"))
    play.receive(answer(play.last(CARRIER), 180), CARRIER)
    assert play.last(PBX).cseq == 2
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    assert play.last(PBX).first(b"cseq") == b"2 INVITE"
    play.receive(in_dialog("ACK", ok, cseq=2, branch="z9hG4bK-ack2"))
    assert play.last(CARRIER).first(b"cseq") == b"3 ACK"
    # The ACK to the first INVITE, should it be sent again, keeps its own.
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack3"))
    assert play.last(CARRIER).first(b"cseq") == b"1 ACK"


def test_prack_names_its_invite_by_the_number_that_the_far_end_knows() -> None:
    play, ok = refused_once()
    play.receive(in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-re"))
    play.receive(answer(play.last(CARRIER), 183, extra="RSeq: 9\r\nRequire: 100rel"), CARRIER)
    play.receive(in_dialog("PRACK", ok, cseq=3, extra="RAck: 9 2 INVITE", branch="z9hG4bK-p"))
    prack = play.last(CARRIER)
    assert (prack.cseq, prack.first(b"rack")) == (4, b"9 3 INVITE")


def test_cancel_of_a_renumbered_invite() -> None:
    play, ok = refused_once()
    reinvite = in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-re")
    play.receive(reinvite)
    play.receive(answer(play.last(CARRIER), 180), CARRIER)
    play.receive(reinvite.replace(b"INVITE", b"CANCEL"))
    assert play.last(CARRIER).first(b"cseq") == b"3 CANCEL"


def test_numbers_below_ours_are_still_below() -> None:
    """C06: a BYE that the far end has to refuse is still one."""
    play, ok = refused_once(cseq=7)
    play.receive(in_dialog("BYE", ok, cseq=1))
    assert play.last(CARRIER).cseq == 1


def test_each_refused_bye_takes_one_number() -> None:
    play, ok = refused_once()
    for number in (3, 4):
        play.pass_time(32.5)
        bye = play.last(CARRIER)
        assert bye.cseq == number
        play.receive(answer(bye, 500), CARRIER)
        play.receive(answer(play.last(PBX), 500), PBX)
    play.receive(in_dialog("INFO", ok, cseq=2))
    assert play.last(CARRIER).cseq == 5
    play.pass_time(32.5)
    assert next(m for to, m, _ in reversed(play.sent) if to == CARRIER and m.method == b"BYE").cseq == 6  # type: ignore[union-attr]
