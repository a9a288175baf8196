"""Farewells to branches that nobody wanted."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxy.call.hangup import UNWANTED_TRIES
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite
from tests.call.test_crossing import assert_nothing_left


def byes(play: Playbook) -> list[int]:
    seen = []
    for to, message, _ in play.sent:
        if to == CARRIER and getattr(message, "method", b"") == b"BYE" and message.cseq not in seen:
            seen.append(message.cseq)
    return seen


def answered_too_late() -> Playbook:
    """A call that we ended as it rang, and that is answered nevertheless."""
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), CARRIER)
    play.sessions[0].hang_up(b'Q.850;cause=31;text="Test"', play.now)
    play.receive(answer(outgoing, 200), CARRIER)
    return play


def test_unwanted_branch_that_refuses_is_told_again_a_number_of_times() -> None:
    play = answered_too_late()
    for number in range(2, 2 + UNWANTED_TRIES):
        bye = play.last(CARRIER)
        assert (bye.method, bye.cseq) == (b"BYE", number)
        play.receive(answer(bye, 500), CARRIER)
        play.pass_time(33)
    assert byes(play) == list(range(2, 2 + UNWANTED_TRIES))
    play.pass_time(300)
    assert_nothing_left(play)
    assert play.commands == ["Reserve", "Ended"]


def test_unwanted_branch_that_gives_in_is_left_alone() -> None:
    play = answered_too_late()
    play.receive(answer(play.last(CARRIER), 500), CARRIER)
    play.pass_time(33)
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    play.pass_time(300)
    assert play.take() == []
    assert_nothing_left(play)


@pytest.mark.parametrize("status", [200, 500])
def test_refusal_of_an_unwanted_branch_is_no_word_about_the_call(status: int) -> None:
    """One branch was answered and is being hung up; another that came too late refuses its BYE."""
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 200, tag="a"), CARRIER)
    play.receive(in_dialog("ACK", play.last(PBX), cseq=1, branch="z9hG4bK-ack"))
    play.sessions[0].hang_up(b'Q.850;cause=31;text="Test"', play.now)
    play.pump()
    of_call = play.last(CARRIER)
    play.receive(answer(outgoing, 200, tag="late"), CARRIER)
    unwanted = play.last(CARRIER)
    assert (of_call.to_tag, unwanted.to_tag, unwanted.method) == (b"a", b"late", b"BYE")
    play.receive(answer(unwanted, status), CARRIER)
    assert play.commands == ["Reserve", "Answered"]
    play.receive(answer(of_call, 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]


@contextmanager
def unreachable() -> Iterator[Counter[str]]:
    """Counts, at the end, by type, what the cyclic collector alone can free of what was made within."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.update(type(one).__name__ for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("status", [200, 481, 500])
def test_call_that_was_hung_up_leaves_no_cycle(status: int) -> None:
    """ADR 18: reference counting alone frees it. 500: the far end refuses, and is asked again later."""
    play = Playbook()
    with unreachable() as left:
        established(play)
        play.sessions[0].hang_up(b'Q.850;cause=31;text="Test"', play.now)
        play.pump()
        play.receive(answer(play.last(PBX), 200))
        play.receive(answer(play.last(CARRIER), status), CARRIER)
        if status == 500:
            play.pass_time(33)
            play.receive(answer(play.last(PBX), 200))
            play.receive(answer(play.last(CARRIER), 200), CARRIER)
        play.pass_time(300)
        assert_nothing_left(play)
        assert play.commands == ["Reserve", "Answered", "Ended"]
        for kept in (play.sessions, play.executed, play.sent, play.flows):
            kept.clear()
    assert not left
