"""Requests that come back: loops, spirals and forks above (RFC 5393, RFC 3261 §8.2.2.2, §16.3)."""

from __future__ import annotations

import pytest

from tests.call.playbook import CARRIER, PBX, Playbook, answer, in_dialog, invite

ABOVE = ("127.0.0.2", 5060)  # where the topmost Via of what comes back, our own, says


def come_back(play: Playbook, uri: str) -> None:
    """The provider's INVITE, sent to us again by the PBX with another Request-URI."""
    data = play.last_bytes(CARRIER)
    _, _, rest = data.partition(b"\r\n")
    play.take()
    play.receive(f"INVITE {uri} SIP/2.0\r\n".encode() + rest)


def test_two_numbers_that_lead_to_each_other_are_a_loop() -> None:
    """P25: the third time round is a loop, although the last Request-URI was another."""
    play = Playbook()
    play.receive(invite("sip:+442071838750@127.0.0.1"))
    come_back(play, "sip:+442071838751@127.0.0.1")
    assert play.commands == ["Reserve", "Reserve"]
    come_back(play, "sip:+442071838750@127.0.0.1")
    assert play.last(ABOVE).status == 482
    assert play.commands == ["Reserve", "Reserve"]


def test_what_comes_back_to_a_denied_number_is_refused() -> None:
    play = Playbook()
    play.receive(invite("sip:+442071838750@127.0.0.1"))
    come_back(play, "sip:+4915112345678@127.0.0.1")
    assert play.last(ABOVE).status == 403
    assert play.commands == ["Reserve", "Refused"]


def test_spiral_has_two_calls_in_one_dialog() -> None:
    """Each in-dialog request passes twice, by the route of each leg, and each leg ends by itself."""
    play = Playbook()
    play.receive(invite("sip:+442071838750@127.0.0.1"))
    first = play.last_bytes(CARRIER)
    # The PBX puts itself between: it is a proxy with its own Via and Record-Route.
    _, _, rest = first.partition(b"\r\n")
    between = (
        b"INVITE sip:+442071838751@127.0.0.1 SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 127.0.0.2:5070;branch=z9hG4bK-between;rport\r\n"
        b"Record-Route: <sip:127.0.0.2:5070;lr>\r\n"
    )
    play.receive(between + rest)
    second = play.last(CARRIER)
    assert play.commands == ["Reserve", "Reserve"]
    tokens = [value.partition(b";tw=")[2] for value in second.all(b"record-route")]
    assert len(tokens) == 3
    play.receive(answer(second, 200), CARRIER)
    ok = play.last(PBX)  # it has gone to the proxy between
    play.receive(
        b"SIP/2.0 200 OK\r\n"
        + b"\r\n".join(line for _, line in ok.headers if b"z9hG4bK-between" not in line)
        + b"\r\n\r\n",
        PBX,
    )
    ok = play.last(PBX)
    assert play.commands == ["Reserve", "Reserve", "Answered", "Answered"]
    assert [label for label in play.take() if "200" in label] == ["pbx <- 200 (INVITE)"] * 2

    play.receive(in_dialog("BYE", ok, cseq=2, branch="z9hG4bK-bye"))
    leg = play.last_bytes(PBX)
    assert play.take() == ["pbx <- BYE"]
    assert leg.count(b"\r\nRoute: ") == 2  # the proxy between, and then us again
    own = b"Route: <sip:127.0.0.2:5070;lr>\r\n"
    assert own in leg
    via = b"Via: SIP/2.0/UDP 127.0.0.2:5070;branch=z9hG4bK-between-bye;rport\r\n"
    play.receive(leg.replace(own, b"").replace(b"Via:", via + b"Via:", 1), PBX)
    bye = play.last(CARRIER)
    assert bye.all(b"route") == []
    assert play.take() == ["carrier <- BYE"]
    play.receive(answer(bye, 200), CARRIER)
    assert play.commands == ["Reserve", "Reserve", "Answered", "Answered", "Ended"]


def test_fork_above_is_one_call() -> None:
    """A second branch of one request is neither judged nor charged twice, whatever its Request-URI."""
    play = Playbook()
    play.receive(invite("sip:+442071838750@127.0.0.1"))
    play.receive(invite("sip:+442071838751@127.0.0.1", branch="z9hG4bK-fork"))
    assert play.last(PBX).status == 482
    assert play.commands == ["Reserve"]


@pytest.mark.parametrize(("value", "status"), [("0", 440), ("1", 0), ("60", 0)])
def test_max_breadth(value: str, status: int) -> None:
    play = Playbook()
    play.receive(invite(extra=f"Max-Breadth: {value}\r\n"))
    if status:
        assert play.take() == [f"pbx <- {status} (INVITE)"]
    else:
        assert play.last(CARRIER).first(b"max-breadth") == value.encode()


def test_hops_left_are_counted_down_in_a_spiral() -> None:
    play = Playbook()
    play.receive(invite().replace(b"Max-Forwards: 70", b"Max-Forwards: 2"))
    come_back(play, "sip:+442071838751@127.0.0.1")
    assert play.last(CARRIER).max_forwards == 0
    come_back(play, "sip:+442071838752@127.0.0.1")
    assert play.last(ABOVE).status == 483
    assert play.commands == ["Reserve", "Reserve"]
