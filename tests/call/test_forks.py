"""Calls that fork behind the provider, and answers after the caller has gone (RFC 3261 §13.2.2.4)."""

from __future__ import annotations

import pytest

from proxy.call.core import CallSettings
from proxy.call.states import CallState
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite, policy
from tests.call.test_crossing import assert_nothing_left

REASON = b'Q.850;cause=31;text="Test"'


def hang_up(play: Playbook) -> None:
    play.sessions[0].hang_up(REASON, play.now)
    play.pump()


def test_early_dialogs_of_two_branches_are_both_reached() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 183, tag="a", extra="Require: 100rel\r\nRSeq: 1"), CARRIER)
    first = play.last(PBX)
    other = answer(outgoing, 183, tag="b", extra="Require: 100rel\r\nRSeq: 1", contact="sip:b@127.0.0.3:5091")
    play.receive(other, CARRIER)
    second = play.last(PBX)
    play.take()
    play.receive(in_dialog("PRACK", second, cseq=2, branch="z9hG4bK-p2", extra="RAck: 1 1 INVITE"))
    assert play.take() == ["127.0.0.3:5091 <- PRACK"]
    play.receive(in_dialog("PRACK", first, cseq=3, branch="z9hG4bK-p1", extra="RAck: 1 1 INVITE"))
    assert play.take() == ["carrier <- PRACK"]


def test_second_branch_that_answers_while_we_hang_up_is_ended_too() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 200, tag="a"), CARRIER)
    hang_up(play)
    first_bye = play.last(CARRIER)
    play.take()
    play.receive(answer(outgoing, 200, tag="b"), CARRIER)
    second_bye = play.last(CARRIER)
    assert second_bye.to_tag == b"b"
    assert play.take() == ["carrier <- ACK", "carrier <- BYE"]  # the caller never hears of it
    play.receive(answer(first_bye, 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    play.receive(answer(second_bye, 200), CARRIER)
    play.pass_time(200)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert_nothing_left(play)


def test_branch_that_answers_after_the_call_is_ended_by_us() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180, tag="b"), CARRIER)
    play.receive(answer(outgoing, 200, tag="a"), CARRIER)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    play.take()
    play.receive(answer(outgoing, 200, tag="b"), CARRIER)
    bye = play.last(CARRIER)
    assert play.take() == ["carrier <- ACK", "carrier <- BYE"]
    assert (bye.to_tag, bye.cseq) == (b"b", 3)
    play.receive(answer(outgoing, 200, tag="b"), CARRIER)  # once is enough
    assert play.take() == []


@pytest.mark.parametrize("hung_up_first", [False, True])
def test_branch_that_is_never_acknowledged_is_ended_by_itself(hung_up_first: bool) -> None:
    """The caller knows no forking: it takes the first branch, and passes the other over."""
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 200, tag="a"), CARRIER)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.pass_time(20)
    play.receive(answer(outgoing, 200, tag="b"), CARRIER)
    if hung_up_first:
        play.receive(in_dialog("BYE", ok, cseq=2))
        play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    play.pass_time(31)
    assert play.take() == []
    play.pass_time(1.5)
    bye = play.last(CARRIER)
    assert (bye.to_tag, bye.first(b"reason")) == (b"b", b'SIP;cause=408;text="ACK Never Came"')
    assert play.take()[:3] == ["carrier <- ACK", "carrier <- BYE", "pbx <- BYE"]
    play.receive(answer(bye, 200), CARRIER)
    assert ("Ended" in play.commands) == hung_up_first
    if not hung_up_first:
        play.receive(in_dialog("BYE", ok, cseq=2))
        play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.pass_time(200)
    assert play.commands.count("Ended") == 1
    assert_nothing_left(play)


def test_repeated_2xx_does_not_revive_a_branch_that_was_hung_up() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    oks = []
    for tag in ("a", "b"):
        play.receive(answer(outgoing, 200, tag=tag), CARRIER)
        oks.append(play.last(PBX))
        play.receive(in_dialog("ACK", oks[-1], cseq=1, branch=f"z9hG4bK-ack{tag}"))
    play.receive(in_dialog("BYE", oks[0], cseq=2, branch="z9hG4bK-bye-a"))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.receive(answer(outgoing, 200, tag="a"), CARRIER)
    play.receive(in_dialog("BYE", oks[1], cseq=3, branch="z9hG4bK-bye-b"))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]


def test_2xx_without_a_tag_makes_no_call() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.take()
    play.receive(answer(outgoing, 200).replace(b";tag=uas1", b""), CARRIER)
    assert play.take() == ["carrier <- ACK", "carrier <- BYE", "pbx <- 502 (INVITE)"]
    assert play.commands == ["Reserve", "Ended"]
    assert play.sessions[0].state is CallState.ENDED


def test_late_2xx_of_a_provider_that_was_given_up_keeps_no_call_alive() -> None:
    compiled = policy(
        more_providers=[{"name": "second", "hostname": "127.0.0.4:5090"}],
        emergency={"numbers": ["112"], "providers": ["carrier", "second"]},
    )
    second = ("127.0.0.4", 5090)
    play = Playbook(compiled, settings=CallSettings(no_answer_seconds=1.0, provider_response_seconds=5.0))
    play.receive(invite("sip:112@127.0.0.1"))
    outgoing = play.last(CARRIER)
    play.pass_time(1.1)  # silence: the next provider's turn, while the first may still answer
    play.receive(answer(play.last(second), 200, tag="second"), second)
    ok = play.last(PBX)
    play.receive(answer(outgoing, 200, tag="first"), CARRIER)
    bye = play.last(CARRIER)
    assert bye.method == b"BYE"
    play.receive(answer(bye, 403, "No"), CARRIER)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.receive(in_dialog("BYE", ok, cseq=2))
    bye = next(message for to, message, _ in reversed(play.sent) if getattr(message, "method", b"") == b"BYE")
    play.receive(answer(bye, 200), CARRIER)
    assert play.commands[-1] == "Ended"


def test_early_requests_of_the_callee_count_for_our_own_bye() -> None:
    """Our BYE towards the caller has a CSeq above all that the callee sent, in the early dialog too."""
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 183), CARRIER)
    early = play.last(PBX)
    play.receive(in_dialog("UPDATE", early, cseq=40, from_callee=True), CARRIER)
    update = play.last(PBX)
    play.receive(answer(update, 200, contact="sip:alice@127.0.0.2:5070"), PBX)
    play.receive(answer(outgoing, 200), CARRIER)
    play.receive(in_dialog("ACK", play.last(PBX), cseq=1, branch="z9hG4bK-ack"))
    hang_up(play)
    bye = play.last(PBX)
    assert (bye.method, bye.cseq) == (b"BYE", 41)


def test_reinvite_that_is_never_answered_is_cancelled_and_forgotten() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("INVITE", ok, cseq=2))
    reinvite = play.last(CARRIER)
    play.receive(answer(reinvite, 180), CARRIER)
    play.take()
    play.pass_time(184)
    assert play.take() == []
    play.receive(answer(reinvite, 180), CARRIER)  # sets Timer C back
    play.take()
    play.pass_time(184)
    assert play.take() == []
    play.pass_time(2)
    assert play.take()[0] == "carrier <- CANCEL"
    play.pass_time(80)
    assert "pbx <- 408 (INVITE)" in play.take()
    assert play.stack.transactions == 0
    assert play.commands == ["Reserve", "Answered"]
