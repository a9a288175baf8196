"""The order in which one call tries its hops; what each answer leads to is in test_failover.py."""

from __future__ import annotations

from proxy.call.targets import MOST_HOPS
from tests.call.playbook import CARRIER, PBX, Playbook, answer, invite, policy

MORE = [(f"127.0.0.{number}", 5090) for number in range(11, 16)]
OTHER = ("127.0.0.30", 5090)


def emergency() -> Playbook:
    play = Playbook(
        policy(
            more_providers=[{"name": "other", "hostname": f"{OTHER[0]}:{OTHER[1]}"}],
            emergency={"numbers": ["112"], "providers": ["carrier", "other"]},
        )
    )
    play.more_hops = MORE
    return play


def test_hops_of_one_provider_come_before_the_next_provider() -> None:
    play = emergency()
    play.receive(invite("sip:112@127.0.0.1"))
    tried = []
    for _ in range(2 * MOST_HOPS):
        remote, outgoing, _ = play.sent[-1]
        tried.append(remote)
        play.take()
        play.receive(answer(outgoing, 503, "Away"), remote)  # type: ignore[arg-type]
    # Those of the first have failed by now, and the second shares them: it tries its own first.
    assert tried == [CARRIER, *MORE[:2], OTHER, *MORE[2:4]]
    assert play.commands == ["Reserve", "Ended"]


def test_provider_that_says_no_itself_is_left() -> None:
    play = emergency()
    play.receive(invite("sip:112@127.0.0.1"))
    play.receive(answer(play.last(CARRIER), 500, "Broken"), CARRIER)
    assert play.sent[-1][0] == OTHER


def test_provider_of_the_call_is_one_that_was_tried() -> None:
    play = emergency()
    play.unreachable = {"other"}
    play.receive(invite("sip:112@127.0.0.1"))
    play.receive(answer(play.last(CARRIER), 500, "Broken"), CARRIER)
    assert play.sessions[0].provider.name == "carrier"
    assert play.last(PBX).status == 500
