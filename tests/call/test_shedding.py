"""What becomes of calls that are turned away, on the short way and on the usual one."""

from __future__ import annotations

import re
from typing import Any

import pytest

import proxy.call.core
from policy.reasons import ReasonCode
from proxy.call.shedding import MOST_REMEMBERED, REMEMBERED_SECONDS, ShedCalls
from proxy.sip.message import Flow
from proxy.sip.parse import parse_message
from tests.call.playbook import (
    CARRIER,
    PBX,
    PROXY,
    STRANGER,
    Playbook,
    answer,
    established,
    in_dialog,
    invite,
    policy,
)


class Overloaded(Playbook):
    """A core that is behind with its work; `short` lets it try the short way first, as the server does."""

    def __init__(self, *, short: bool = True, **options: Any) -> None:
        super().__init__(policy(emergency={"numbers": ["112"], "providers": ["carrier"]}), **options)
        self.short = short
        self.core.overloaded = True
        self.dealt_with: list[bool] = []

    def deal_with(self, data: bytes, flow: Flow, stale: bool = False) -> bool:
        shedder = self.core.shedder
        new = data.startswith(b"INVITE ")
        return shedder.turn_away(data, flow, stale, self.now) if new else shedder.acknowledged(data)

    def receive(self, data: bytes, source: tuple[str, int] = PBX, local: tuple[str, int] = PROXY) -> Playbook:
        if self.short and self.core.overloaded:
            self.dealt_with.append(self.deal_with(data, Flow("udp", local, source)))
            if self.dealt_with[-1]:
                return self._pump()
        return super().receive(data, source, local)


@pytest.fixture(params=[True, False], ids=["short", "usual"])
def play(request: pytest.FixtureRequest) -> Overloaded:
    return Overloaded(short=request.param)


def ack_to(refusal: Any, **arguments: Any) -> bytes:
    tag = refusal.to_tag.decode()
    return invite(method="ACK", to_tag=tag, body=b"", **arguments)


def test_turned_away_without_state(play: Overloaded) -> None:
    play.receive(invite())
    refusal = play.last(PBX)
    assert refusal.start == b"SIP/2.0 503 Service Unavailable"
    assert refusal.first(b"warning") == b'399 trunkwarden "OVERLOAD Service Unavailable"'
    assert refusal.first(b"reason") == b'Q.850;cause=42;text="Service Unavailable"'
    assert refusal.first(b"from") == b'"Alice" <sip:+15551230001@127.0.0.2>;tag=pbx1'
    assert refusal.first(b"to").startswith(b"<sip:+442071838750@127.0.0.1>;tag=tws")
    assert (refusal.call_id, refusal.cseq, refusal.cseq_method) == (b"call-1", 1, b"INVITE")
    assert (refusal.via.branch, refusal.via.received, refusal.via.rport) == (b"z9hG4bK-1", b"127.0.0.2", 5070)
    assert play.commands == ["Shed"]
    assert play.executed[0].verdict.trunk.name == "office"
    assert play.stack.transactions == 0
    assert not play.core.sessions
    play.take()
    play.receive(ack_to(refusal))
    assert play.take() == []
    assert play.dealt_with == [True, True] or not play.short
    play.pass_time(40)
    assert play.take() == []  # §8.2.7: sent once


def test_both_ways_give_the_same_answer() -> None:
    answers = []
    for short in (True, False):
        play = Overloaded(short=short)
        play.receive(invite())
        answers.append(sorted(re.sub(rb";tag=tws[0-9a-f]+", b"", play.last_bytes(PBX)).split(b"\r\n")))
    for lines in answers:
        lines[:] = [b";".join(sorted(line.split(b";"))) for line in lines]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "via", [b";rport;branch=z9hG4bK-1", b";branch=z9hG4bK-1;rport", b";branch=z9hG4bK-1"]
)
@pytest.mark.parametrize("port", [b":5070", b""])
def test_answer_goes_where_the_request_asks(via: bytes, port: bytes) -> None:
    play = Overloaded()
    data = invite().replace(b":5070;branch=z9hG4bK-1;rport", port + via)
    play.receive(data, ("127.0.0.2", 33333))
    assert play.dealt_with == [True]
    [(remote, message, _)] = play.sent
    expected = 33333 if b"rport" in via else int(port[1:] or b"5060")
    assert remote == ("127.0.0.2", expected)
    assert message.via.rport == (33333 if b"rport" in via else None)
    assert message.via.received == b"127.0.0.2"


def test_all_vias_come_back_in_order() -> None:
    play = Overloaded()
    more = b"Via: SIP/2.0/TCP a.example;branch=z9hG4bK-a\r\nVia: SIP/2.0/UDP b.example;branch=z9hG4bK-b\r\n"
    play.receive(invite().replace(b"From:", more + b"From:"))
    assert play.dealt_with == [True]
    vias = play.last(PBX).all(b"via")
    assert vias[0].startswith(b"SIP/2.0/UDP 127.0.0.2:5070;branch=z9hG4bK-1")
    assert vias[1:] == [b"SIP/2.0/TCP a.example;branch=z9hG4bK-a", b"SIP/2.0/UDP b.example;branch=z9hG4bK-b"]


def test_emergency_call_is_never_shed(play: Overloaded) -> None:
    play.receive(invite("sip:112@127.0.0.1"))
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]
    play.receive(invite("urn:service:sos", branch="z9hG4bK-2", call_id="call-2"))
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]


def test_stranger_is_told_as_ever(play: Overloaded) -> None:
    play.receive(invite(), STRANGER)
    assert play.take() == ["stranger <- 403 (INVITE)"]
    assert play.commands == ["StrangerRefused"]


def test_what_is_no_number_is_told_so(play: Overloaded) -> None:
    play.receive(invite("sip:12@127.0.0.1"))
    assert play.take() == ["pbx <- 484 (INVITE)"]


def test_calls_under_way_are_served(play: Overloaded) -> None:
    """P30: BYE, ACK, CANCEL, re-INVITEs and all else in a dialog."""
    play.core.overloaded = False
    play.receive(invite(branch="z9hG4bK-r", call_id="ringing"))
    play.receive(answer(play.last(CARRIER), 180), CARRIER)
    ok = established(play)
    play.core.overloaded = True
    play.receive(invite(method="CANCEL", branch="z9hG4bK-r", call_id="ringing", body=b""))
    assert play.take() == ["pbx <- 200 (CANCEL)", "carrier <- CANCEL"]
    play.receive(in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-re", uri="sip:+442071838750@127.0.0.3"))
    renewed = play.last(CARRIER)
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]
    play.receive(answer(renewed, 200), CARRIER)
    play.receive(in_dialog("ACK", ok, cseq=2, branch="z9hG4bK-ra"))
    assert play.take() == ["pbx <- 200 (INVITE)", "carrier <- ACK"]
    play.receive(in_dialog("INFO", ok, cseq=3, branch="z9hG4bK-i"))
    play.receive(in_dialog("BYE", ok, cseq=4, branch="z9hG4bK-b"))
    assert play.take() == ["carrier <- INFO", "carrier <- BYE"]


def test_copy_of_a_call_that_is_served_is_not_turned_away(play: Overloaded) -> None:
    play.core.overloaded = False
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 180), CARRIER)
    play.take()
    play.core.overloaded = True
    play.receive(invite())
    assert play.take() == ["pbx <- 180 (INVITE)"]


def test_copy_of_a_call_that_was_turned_away_rings_nobody(play: Overloaded) -> None:
    """It left before its sender had the answer, and arrives when there is time for it."""
    play.receive(invite())
    first = play.last_bytes(PBX)
    play.receive(invite())
    assert play.last_bytes(PBX) == first
    play.core.overloaded = False
    play.receive(invite())
    assert play.last(PBX).status == 503
    assert play.commands == ["Shed"]  # counted once
    play.take()
    play.receive(invite(branch="z9hG4bK-2", call_id="call-2"))
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]
    play.pass_time(2 * REMEMBERED_SECONDS + 1)
    play.take()
    play.receive(invite())
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]


def test_emergency_call_under_the_same_name_is_served() -> None:
    play = Overloaded()
    play.receive(invite())
    play.take()
    play.receive(invite("sip:112@127.0.0.1"))
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]


def test_not_all_come_back_at_once() -> None:
    waits = set()
    for short in (True, False):
        play = Overloaded(short=short)
        for number in range(200):
            play.receive(invite(branch=f"z9hG4bK-{number}", call_id=f"call-{number}"))
            waits.add(int(play.last(PBX).first(b"retry-after")))
    assert waits == {3, 4, 5, 6, 7, 8}


UNUSUAL = {
    "compact names": lambda data: data.replace(b"From:", b"f:").replace(b"Via:", b"v:"),
    "folded": lambda data: data.replace(b"To: ", b"To:\r\n "),
    "folded elsewhere": lambda data: data.replace(b"Max-Forwards: 70", b"Max-Forwards:\r\n\t70"),
    "Via not first": lambda data: data.replace(b"Via:", b"X:").replace(b"Call-ID:", b"Via:"),
    "two From": lambda data: data.replace(b"To: ", b"From: <sip:a@b>;tag=1\r\nTo: "),
    "no Call-ID": lambda data: data.replace(b"Call-ID: call-1\r\n", b""),
    "no CSeq": lambda data: data.replace(b"CSeq: 1 INVITE\r\n", b""),
    "two To": lambda data: data.replace(b"From: ", b"To: <sip:a@b>\r\nFrom: "),
    "no To": lambda data: re.sub(rb"To: [^\r]*\r\n", b"", data),
    "a To tag": lambda data: data.replace(b"127.0.0.1>\r\n", b"127.0.0.1>;Tag=a\r\n"),
    "another Via parameter": lambda data: data.replace(b";rport", b";alias"),
    "two values in one Via": lambda data: data.replace(b";rport", b";rport, SIP/2.0/UDP b;branch=z9hG4bKb"),
    "RFC 2543 branch": lambda data: data.replace(b"z9hG4bK-1", b"1"),
    "a received": lambda data: data.replace(b";rport", b";rport;received=1.2.3.4"),
    "TCP": lambda data: data.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"),
    "URI parameters": lambda data: data.replace(b"127.0.0.1 SIP", b"127.0.0.1;user=phone SIP"),
    "sips": lambda data: data.replace(b"INVITE sip:", b"INVITE sips:"),
    "tel": lambda data: data.replace(b"INVITE sip:+442071838750@127.0.0.1", b"INVITE tel:+442071838750"),
    "letters": lambda data: data.replace(b"sip:+44207", b"sip:x+44207"),
    "nothing but a start": lambda data: data.partition(b"\r\n")[0] + b"\r\n",
    "no end": lambda data: data.partition(b"\r\n\r\n")[0],
    "NUL": lambda data: data.replace(b"Call-ID: c", b"Call-ID: \0c"),
    "lone CR": lambda data: data.replace(b"Call-ID: c", b"Call-ID: \rc"),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("change", UNUSUAL.values(), ids=UNUSUAL)
def test_what_looks_otherwise_takes_the_usual_way(change: Any) -> None:
    data = change(invite())
    assert data != invite()
    play = Overloaded()
    assert not play.core.shedder.turn_away(data, Flow("udp", PROXY, PBX), False, play.now)
    assert play.stack.outbox == []


def test_ack_of_somebody_else_takes_the_usual_way() -> None:
    play = Overloaded()
    play.core.overloaded = False
    ok = established(play)
    play.core.overloaded = True
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack2"))
    assert play.take() == ["carrier <- ACK"]
    assert play.dealt_with == [False]


def test_every_run_has_a_tag_of_its_own() -> None:
    one, other = Overloaded(), Overloaded()
    other.core.shedder = type(one.core.shedder)(other.core, b"twsother")
    one.receive(invite())
    assert not other.core.shedder.acknowledged(ack_to(one.last(PBX)))


def test_answer_can_be_parsed_whatever_the_number() -> None:
    for user in ("+1", "+" * 32, "0" * 32, "442071838750"):
        play = Overloaded()
        play.deal_with(invite(f"sip:{user}@127.0.0.1"), Flow("udp", PROXY, PBX))
        for data, flow in play.stack.outbox:
            assert parse_message(data, flow) is not None


@pytest.mark.parametrize("bound", ["MOST_CALLS", "MOST_TRANSACTIONS"])
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(proxy.call.core, bound, 2)
    play = Overloaded()
    play.core.overloaded = False
    for number in range(4):
        play.receive(invite(branch=f"z9hG4bK-{number}", call_id=f"call-{number}"))
    statuses = [message.status for remote, message, _ in play.sent if remote == PBX]
    assert statuses[0] == 100
    assert statuses[-2:] == [503, 503]
    play.receive(invite("sip:112@127.0.0.1", branch="z9hG4bK-e", call_id="e"))
    assert play.last(CARRIER).uri.startswith(b"sip:112@")


def test_calls_that_wait_for_the_ledger_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy.call.core, "MOST_JUDGED", 2)
    play = Playbook()
    play.core.judging = 2
    play.receive(invite())
    assert play.last(PBX).first(b"warning").startswith(b'399 trunkwarden "OVERLOAD')
    play.core.judging = 1
    play.receive(invite(branch="z9hG4bK-2", call_id="call-2"))
    assert play.last(PBX).status == 100


def test_requests_in_dialogs_are_bounded_but_for_bye(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Playbook()
    ok = established(play)
    monkeypatch.setattr(proxy.call.core, "_MOST_TRANSACTIONS_IN_DIALOGS", play.stack.transactions)
    play.receive(in_dialog("INFO", ok, cseq=2, branch="z9hG4bK-i"))
    assert play.take() == ["pbx <- 503 (INFO)"]
    play.receive(in_dialog("BYE", ok, cseq=3, branch="z9hG4bK-b"))
    assert play.take() == ["carrier <- BYE"]


def test_draining_goes_before_overload() -> None:
    play = Overloaded(short=False)
    play.core.gate = ReasonCode.DRAINING
    play.receive(invite())
    assert play.last(PBX).first(b"warning").startswith(b'399 trunkwarden "DRAINING')


def test_stale_call_is_dropped_and_its_next_copy_served() -> None:
    """Its caller has sent it again meanwhile, or is about to."""
    play = Overloaded()
    flow = Flow("udp", PROXY, PBX)
    assert play.deal_with(invite(), flow, stale=True)
    assert play.pump().take() == []
    assert play.commands == []
    play.core.overloaded = False
    play.receive(invite())
    assert play.take() == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]


def test_stale_emergency_call_stranger_and_reinvite_are_served() -> None:
    play = Overloaded()
    play.core.overloaded = False
    ok = established(play)
    renewing = in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-re", uri="sip:+442071838750@127.0.0.3")
    assert not play.deal_with(renewing, Flow("udp", PROXY, PBX), stale=True)
    assert not play.deal_with(invite("sip:112@127.0.0.1"), Flow("udp", PROXY, PBX), stale=True)
    assert not play.deal_with(invite(), Flow("udp", PROXY, STRANGER), stale=True)


# --- what is remembered ---


def test_remembered_for_a_while_and_then_forgotten() -> None:
    calls = ShedCalls()
    assert not calls.holds(1, 100.0)
    calls.add(1, 100.0)
    assert calls.holds(1, 100.0)
    calls.add(2, 100.0 + REMEMBERED_SECONDS)
    assert calls.holds(1, 100.0 + REMEMBERED_SECONDS)
    assert not calls.holds(1, 100.0 + 2 * REMEMBERED_SECONDS)
    assert calls.holds(2, 100.0 + 2 * REMEMBERED_SECONDS)
    assert not calls.holds(2, 1000.0)
    assert len(calls) == 0


def test_flood_fills_no_memory() -> None:
    calls = ShedCalls()
    for number in range(5 * MOST_REMEMBERED):
        calls.add(number, 100.0)
    assert len(calls) <= 2 * MOST_REMEMBERED
    assert calls.holds(5 * MOST_REMEMBERED - 1, 100.0)
