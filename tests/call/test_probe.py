"""A probe of a dialog of which only the record is at hand: no call, no session."""

from __future__ import annotations

import pytest

from proxy.call.dialog import Party
from proxy.call.probe import Ends, Life, Probe
from proxy.sip.message import Flow
from tests.call.playbook import CARRIER, PBX, PROXY, Playbook, answer

CALLER = Party(b"sip:alice@127.0.0.2:5070", [], Flow("udp", PROXY, PBX), 7)
CALLEE = Party(b"sip:bob@10.0.0.9", [b"<sip:127.0.0.3:5090;lr>"], Flow("udp", PROXY, CARRIER), 0)


class Asker:
    def __init__(self) -> None:
        self.told: list[tuple[Life, Life]] = []

    def probed(self, probe: Probe, now: float) -> None:
        self.told.append((probe.caller, probe.callee))


def probe(play: Playbook, *, seen_by_caller: int = 0, caller: Party = CALLER) -> tuple[Probe, Asker]:
    asker = Asker()
    ends = Ends(
        b"call-1",
        caller,
        b"<sip:alice@x>;tag=a",
        CALLEE,
        b"<sip:bob@y>;tag=b",
        seen_by_caller,
        7,
        lambda host: host == CARRIER[0],
    )
    one = Probe(play.core, ends, asker)
    one.start(play.now)
    play.pump()
    return one, asker


def test_each_side_is_asked_in_the_others_name_by_what_is_recorded() -> None:
    play = Playbook()
    probe(play)
    to_callee, to_caller = play.last(CARRIER), play.last(PBX)
    assert play.take() == ["carrier <- OPTIONS", "pbx <- OPTIONS"]
    assert (to_callee.uri, to_callee.all(b"route")) == (b"sip:bob@10.0.0.9", [b"<sip:127.0.0.3:5090;lr>"])
    assert (to_callee.from_tag, to_callee.to_tag, to_callee.call_id) == (b"a", b"b", b"call-1")
    assert (to_caller.uri, to_caller.all(b"route")) == (b"sip:alice@127.0.0.2:5070", [])
    assert (to_caller.from_tag, to_caller.to_tag) == (b"b", b"a")
    assert to_callee.cseq == 6  # one below what it has seen
    assert to_caller.cseq == 0  # it has seen none


@pytest.mark.parametrize(("seen", "cseq"), [(0, 0), (1, 0), (2, 1), (4711, 4710)])
def test_number_is_one_below_the_last_seen(seen: int, cseq: int) -> None:
    play = Playbook()
    probe(play, seen_by_caller=seen)
    assert play.last(PBX).cseq == cseq


@pytest.mark.parametrize("status", [200, 302, 400, 404, 405, 407, 408, 491, 500, 501, 503, 603])
def test_any_answer_but_481_is_a_sign_of_life(status: int) -> None:
    play = Playbook()
    one, asker = probe(play)
    play.receive(answer(play.last(CARRIER), 100), CARRIER)
    assert asker.told == []
    play.receive(answer(play.last(CARRIER), status), CARRIER)
    assert asker.told == [(Life.UNKNOWN, Life.ALIVE)]
    play.receive(answer(play.last(PBX), 481), PBX)
    assert asker.told[1:] == [(Life.GONE, Life.ALIVE)]
    assert one.settled


def test_answer_from_elsewhere_is_none() -> None:
    play = Playbook()
    _, asker = probe(play)
    play.receive(answer(play.last(CARRIER), 481), PBX)
    assert asker.told == []


def test_two_questions_without_an_answer_are_silence() -> None:
    play = Playbook()
    one, asker = probe(play)
    first = play.last(CARRIER)
    play.receive(answer(play.last(PBX), 200), PBX)
    play.pass_time(31.9)
    assert play.last(CARRIER).via.branch == first.via.branch
    play.pass_time(0.2)
    second = play.last(CARRIER)
    assert (second.via.branch != first.via.branch, second.cseq) == (True, 6)
    play.pass_time(31.7)
    assert asker.told == [(Life.ALIVE, Life.UNKNOWN)]
    play.pass_time(0.2)
    assert asker.told[1:] == [(Life.ALIVE, Life.SILENT)]
    assert one.settled


def test_an_answer_to_the_second_question_is_a_sign_of_life() -> None:
    play = Playbook()
    _, asker = probe(play)
    play.pass_time(33)
    play.receive(answer(play.last(CARRIER), 500), CARRIER)
    play.receive(answer(play.last(PBX), 500), PBX)
    assert asker.told == [(Life.UNKNOWN, Life.ALIVE), (Life.ALIVE, Life.ALIVE)]
    play.pass_time(300)
    assert len(asker.told) == 2
    assert (play.stack.transactions, play.core.next_alarm()) == (0, None)


def test_after_the_end_nothing_is_told() -> None:
    play = Playbook()
    one, asker = probe(play)
    one.stop()
    play.receive(answer(play.last(CARRIER), 481), CARRIER)
    play.pass_time(300)
    assert asker.told == []
    assert (play.stack.transactions, play.core.next_alarm()) == (0, None)


class BrokenConnection:
    """The caller's own connection, and what becomes of what is sent over it."""

    def __init__(self, target: bytes) -> None:
        self.play = Playbook(identities=None)
        self.flow = Flow("udp", PROXY, PBX, 5)
        self.caller = Party(target, [], self.flow, 7)
        self.probe, self.asker = probe(self.play, caller=self.caller)

    def breaks(self) -> None:
        for client in list(self.play.stack._clients.values()):
            if client.flow == self.flow and client.owner is not None:
                owner, client.owner = client.owner, None
                owner.unreachable(client, self.play.now)  # type: ignore[attr-defined]
        self.play.pump()


def test_broken_connection_of_a_caller_that_listens_is_replaced() -> None:
    broken = BrokenConnection(b"sip:alice@127.0.0.2:5070")
    broken.breaks()
    assert broken.caller.flow == Flow("udp", PROXY, PBX)
    assert broken.play.take() == ["carrier <- OPTIONS", "pbx <- OPTIONS", "pbx <- OPTIONS"]


def test_broken_connection_of_a_caller_behind_nat_is_given_time() -> None:
    broken = BrokenConnection(b"sip:alice@10.1.1.1:5070")
    broken.breaks()
    assert broken.play.take() == ["carrier <- OPTIONS", "pbx <- OPTIONS"]
    broken.play.pass_time(31)
    assert broken.asker.told == []
    # The caller has come back by another connection meanwhile.
    broken.caller.flow = Flow("udp", PROXY, PBX)
    broken.play.pass_time(1.5)
    broken.play.receive(answer(broken.play.last(PBX), 200), PBX)
    assert broken.asker.told[-1][0] is Life.ALIVE
