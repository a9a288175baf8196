"""Requests for calls of other instances wait, are relayed when their call has come, and answered when not."""

from __future__ import annotations

from proxy.call.elsewhere import MOST_FETCHED, Elsewhere
from tests.call.playbook import PBX, Playbook, established, in_dialog
from tests.call.test_memory import SURVIVOR, TOKENS, adopted, left, survivor


def asking() -> Playbook:
    play = survivor()
    play.core.elsewhere = Elsewhere(play.core, lambda ref: TOKENS)
    return play


def test_a_request_waits_until_its_call_has_come() -> None:
    first = Playbook()
    ok = established(first)
    second = asking()
    bye = in_dialog("BYE", ok, cseq=2)
    for _ in range(3):
        second.receive(bye, PBX, SURVIVOR)
    assert second.commands == ["Fetch"]
    assert second.take() == []
    adopted(second, left(first), probe_in=60.0)
    second.core.fetched("ref1", True, second.now)
    second.pump()
    assert second.take() == ["carrier <- BYE"]


def test_a_call_that_is_nowhere_is_481() -> None:
    ok = established(Playbook())
    second = asking()
    second.receive(in_dialog("BYE", ok, cseq=2), PBX, SURVIVOR)
    second.core.fetched("ref1", True, second.now)
    second.pump()
    assert second.take() == ["pbx <- 481 (BYE)"]


def test_a_ledger_that_does_not_answer_ends_no_call() -> None:
    ok = established(Playbook())
    second = asking()
    second.receive(in_dialog("BYE", ok, cseq=2), PBX, SURVIVOR)
    second.core.fetched("ref1", False, second.now)
    second.pump()
    assert second.take() == ["pbx <- 500 (BYE)"]
    second.receive(in_dialog("ACK", ok, cseq=1), PBX, SURVIVOR)
    second.core.fetched("ref1", False, second.now)
    second.pump()
    assert second.take() == []


def test_a_token_that_is_not_signed_makes_nobody_ask() -> None:
    ok = established(Playbook())
    second = asking()
    second.receive(in_dialog("BYE", ok, cseq=2).replace(b"caller-signed", b"caller-forged"), PBX, SURVIVOR)
    assert second.commands == []
    assert second.take() == ["pbx <- 481 (BYE)"]


def test_so_many_calls_are_asked_for_at_once_and_no_more() -> None:
    ok = established(Playbook())
    second = survivor()

    def tokens(ref: str) -> tuple[bytes, bytes]:
        return ref.encode() + b".callee-signed", ref.encode() + b".caller-signed"

    second.core.elsewhere = Elsewhere(second.core, tokens)
    bye = in_dialog("BYE", ok, cseq=2)
    for number in range(MOST_FETCHED + 1):
        own = bye.replace(b"tw=ref1.", b"tw=ref%d." % (1000 + number))
        own = own.replace(b"branch=", b"branch=z9hG4bK%d" % number)
        second.receive(own, PBX, SURVIVOR)
    assert second.commands == ["Fetch"] * MOST_FETCHED
    assert second.take() == ["pbx <- 500 (BYE)"]
