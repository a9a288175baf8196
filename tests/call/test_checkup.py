"""Checkups of live calls: probes at their time, and what becomes of what they find."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.sip.message import SipRequest
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite, policy
from tests.call.test_crossing import assert_nothing_left


def probed(seconds: int = 60, **trunk: Any) -> Playbook:
    return Playbook(policy(trunk={"call_probe_seconds": seconds, **trunk}))


def say(play: Playbook, pbx: int | None = 200, carrier: int | None = 500) -> None:
    """Answer the newest probes."""
    for remote, status in ((PBX, pbx), (CARRIER, carrier)):
        if status is not None:
            play.receive(answer(newest(play, remote, b"OPTIONS"), status), remote)


def newest(play: Playbook, remote: tuple[str, int], method: bytes) -> SipRequest:
    return next(
        message
        for to, message, _ in reversed(play.sent)
        if to == remote and isinstance(message, SipRequest) and message.method == method
    )


def test_living_call_is_probed_again_and_again() -> None:
    play = probed()
    established(play)
    for _ in range(5):
        play.pass_time(59.9)
        assert play.take() == []
        play.pass_time(0.2)
        say(play)
        assert play.take() == ["carrier <- OPTIONS", "pbx <- OPTIONS"]
    assert play.commands == ["Reserve", "Answered"]


def test_without_an_interval_nothing_is_probed() -> None:
    play = Playbook()
    established(play)
    play.pass_time(14_000)
    assert play.take() == []


def test_call_that_is_over_is_not_probed() -> None:
    play = probed()
    ok = established(play)
    play.pass_time(60.1)
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.receive(answer(newest(play, CARRIER, b"BYE"), 200), CARRIER)
    say(play, 481, 481)
    play.take()
    play.pass_time(500)
    assert play.take() == []
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert_nothing_left(play)


@pytest.mark.parametrize(
    ("pbx", "carrier", "after", "reason"),
    [
        (481, 200, 0, b'SIP;cause=481;text="Caller Has No Such Call"'),
        (200, 481, 0, b'SIP;cause=481;text="Provider Has No Such Call"'),
        (None, 500, 65, b'SIP;cause=408;text="Caller Does Not Answer"'),
        (500, None, 65, b'SIP;cause=408;text="Provider Does Not Answer"'),
        (None, None, 65, b'SIP;cause=408;text="Provider Does Not Answer"'),
    ],
)
def test_dead_side_ends_the_call_when_the_provider_agrees(
    pbx: int | None, carrier: int | None, after: float, reason: bytes
) -> None:
    play = probed()
    established(play)
    play.pass_time(60.1)
    say(play, pbx, carrier)
    play.pass_time(after)
    ended_at = play.now
    for remote in (PBX, CARRIER):
        assert newest(play, remote, b"BYE").first(b"reason") == reason
    assert play.commands == ["Reserve", "Answered"]
    if carrier is None:
        play.pass_time(33)  # nobody answers the BYE either
    else:
        play.receive(answer(newest(play, CARRIER, b"BYE"), 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert play.sessions[0].ended_by == "proxy"
    assert ended_at - 2 < play.sessions[0].ended_at <= ended_at
    play.pass_time(300)
    assert_nothing_left(play)


def test_provider_that_refuses_to_end_keeps_the_place_taken() -> None:
    """A PBX that says 481 and talks on gains nothing."""
    play = probed()
    established(play)
    play.pass_time(60.1)
    say(play, pbx=481)
    for _ in range(4):
        play.receive(answer(newest(play, CARRIER, b"BYE"), 500), CARRIER)
        assert play.core.sessions
        play.take()
        play.pass_time(33)
    assert play.commands == ["Reserve", "Answered"]


def test_probe_takes_no_number_of_either_side() -> None:
    play = probed()
    ok = established(play)
    play.receive(in_dialog("INFO", ok, cseq=7, branch="z9hG4bK-7"))
    play.receive(answer(newest(play, CARRIER, b"INFO"), 200), CARRIER)
    play.pass_time(60.1)
    assert (newest(play, CARRIER, b"OPTIONS").cseq, newest(play, PBX, b"OPTIONS").cseq) == (6, 0)
    say(play)
    play.receive(in_dialog("INFO", ok, cseq=40, from_callee=True), CARRIER)
    assert newest(play, PBX, b"INFO").cseq == 40
    play.pass_time(60.1)
    assert newest(play, PBX, b"OPTIONS").cseq == 39
    play.receive(in_dialog("BYE", ok, cseq=8))
    assert newest(play, CARRIER, b"BYE").cseq == 8


def test_one_dead_branch_of_two_ends_alone() -> None:
    play = probed()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    for tag in ("a", "b"):
        play.receive(answer(outgoing, 200, tag=tag), CARRIER)
        play.receive(in_dialog("ACK", play.last(PBX), cseq=1, branch=f"z9hG4bK-ack{tag}"))
    play.take()
    play.pass_time(60.1)
    for to, message, _ in list(play.sent):
        if to == CARRIER:
            play.receive(answer(message, 481 if message.to_tag == b"a" else 500), CARRIER)
        else:
            play.receive(answer(message, 200), PBX)
    bye = newest(play, CARRIER, b"BYE")
    assert bye.to_tag == b"a"
    play.receive(answer(bye, 200), CARRIER)
    assert play.commands == ["Reserve", "Answered"]
    play.take()
    play.pass_time(60.1)
    assert newest(play, CARRIER, b"OPTIONS").to_tag == b"b"


# --- emergency calls


def emergency(asked: str = "", said: str = "", **trunk: Any) -> Playbook:
    compiled = policy(trunk=trunk, emergency={"numbers": ["112"], "providers": ["carrier"]})
    play = Playbook(compiled)
    play.receive(invite("sip:112@127.0.0.1", extra=asked))
    play.receive(answer(play.last(CARRIER), 200, extra=said), CARRIER)
    play.receive(in_dialog("ACK", play.last(PBX), cseq=1, branch="z9hG4bK-ack"))
    play.take()
    return play


def test_emergency_call_is_probed_without_being_asked_to() -> None:
    play = emergency()
    for _ in range(3):
        play.pass_time(599.9)
        assert play.take() == []
        play.pass_time(0.2)
        say(play)
        assert play.take() == ["carrier <- OPTIONS", "pbx <- OPTIONS"]


@pytest.mark.parametrize(("pbx", "carrier"), [(None, 200), (200, None)])
def test_emergency_call_with_one_silent_side_lives(pbx: int | None, carrier: int | None) -> None:
    play = emergency()
    for _ in range(3):
        play.pass_time(601)
        say(play, pbx, carrier)
        play.pass_time(65)
        assert "BYE" not in " ".join(play.take())
    assert play.core.sessions


@pytest.mark.parametrize(("pbx", "carrier"), [(None, None), (481, None), (None, 481), (481, 200), (200, 481)])
def test_emergency_call_that_is_proven_dead_ends(pbx: int | None, carrier: int | None) -> None:
    play = emergency()
    play.pass_time(601)
    say(play, pbx, carrier)
    play.pass_time(66)
    play.receive(answer(newest(play, CARRIER, b"BYE"), 481), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]


def test_emergency_call_that_nobody_refreshed_is_probed_not_ended() -> None:
    play = emergency(asked="Session-Expires: 90\r\n", said="Session-Expires: 90;refresher=uas")
    play.pass_time(122.2)
    say(play)
    assert play.take() == ["carrier <- OPTIONS", "pbx <- OPTIONS"]
    play.pass_time(500)
    assert play.take() == []
    assert play.core.sessions
