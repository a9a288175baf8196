"""What belongs to no call: strangers, other methods, loops, repeats, and what no proxy forwards."""

from __future__ import annotations

import pytest

from policy.reasons import ReasonCode
from proxy.call.core import CallSettings
from tests.call.playbook import CARRIER, PBX, STRANGER, Playbook, answer, invite


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "MESSAGE", "ODDITY"])
def test_stranger_is_answered_once_without_state(method: str) -> None:
    play = Playbook()
    play.receive(invite(method=method, body=b""), STRANGER)
    refused = play.last(STRANGER)
    assert play.take() == [f"stranger <- 403 ({method})"]
    assert refused.first(b"warning") == b'399 trunkwarden "SOURCE Source Not Authorized"'
    assert play.stack.transactions == 0
    play.pass_time(40)
    assert play.take() == []
    assert play.commands == (["StrangerRefused"] if method == "INVITE" else [])


def test_stranger_may_be_met_with_silence() -> None:
    play = Playbook(settings=CallSettings(drop_strangers=True))
    for method in ("INVITE", "OPTIONS", "REGISTER"):
        play.receive(invite(method=method, body=b""), STRANGER)
    assert play.take() == []
    assert play.commands == ["StrangerRefused"]


def test_header_that_claims_an_allowed_address_is_ignored() -> None:
    play = Playbook()
    extra = "X-Forwarded-For: 127.0.0.2\r\nP-Asserted-Identity: <sip:a@127.0.0.2>\r\n"
    data = invite(extra=extra).replace(b";rport", b";rport;received=127.0.0.2")
    play.receive(data, STRANGER)
    assert play.last(STRANGER).status == 403
    assert play.last(STRANGER).via.received == b"127.0.0.9"


def test_invented_to_tag_is_481_and_its_ack_is_dropped() -> None:
    play = Playbook()
    play.receive(invite(to_tag="invented"))
    assert play.take() == ["pbx <- 481 (INVITE)"]
    play.receive(invite(method="ACK", body=b"", to_tag="invented", branch="z9hG4bK-2"))
    assert play.take() == []
    assert play.stack.transactions == 0


def test_options_to_the_proxy_is_200() -> None:
    play = Playbook()
    play.receive(invite("sip:127.0.0.1:5060", method="OPTIONS", body=b""))
    ok = play.last(PBX)
    assert ok.status == 200
    assert b"INVITE" in (ok.first(b"allow") or b"")


def test_options_to_the_proxy_that_requires_what_it_does_not_know_is_420() -> None:
    play = Playbook()
    extra = "Require: 100rel, odd\r\n"
    play.receive(invite("sip:127.0.0.1:5060", method="OPTIONS", body=b"", extra=extra))
    refused = play.last(PBX)
    assert refused.status == 420
    assert refused.first(b"unsupported") == b"100rel, odd"


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("OPTIONS", "sip:+19005550100@127.0.0.1"),
        ("MESSAGE", "sip:+19005550100@127.0.0.1"),
        ("SUBSCRIBE", "sip:+442071838750@127.0.0.1"),
        ("REGISTER", "sip:127.0.0.1"),
        ("ODDITY", "sip:127.0.0.1"),
    ],
)
def test_anything_else_out_of_a_dialog_is_405(method: str, uri: str) -> None:
    play = Playbook()
    play.receive(invite(uri, method=method, body=b""))
    refused = play.last(PBX)
    assert refused.status == 405
    assert b"INVITE" in (refused.first(b"allow") or b"")
    assert play.take() == [f"pbx <- 405 ({method})"]


@pytest.mark.parametrize("method", ["REFER", "Refer"])
def test_a_transfer_of_nothing_is_403(method: str) -> None:
    play = Playbook()
    play.receive(invite("sip:+442071838750@127.0.0.1", method=method, body=b""))
    assert play.last(PBX).first(b"allow") is None
    assert play.take() == [f"pbx <- 403 ({method})"]


def test_max_forwards() -> None:
    play = Playbook()
    play.receive(invite().replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
    assert play.take() == ["pbx <- 483 (INVITE)"]
    play.receive(invite().replace(b"Max-Forwards: 70", b"Max-Forwards: 0068"))
    assert play.last(CARRIER).max_forwards == 67
    play = Playbook()
    play.receive(invite().replace(b"Max-Forwards: 70\r\n", b""))
    assert play.last(CARRIER).max_forwards == 70


def test_proxy_require_is_answered_with_what_is_unsupported() -> None:
    play = Playbook()
    play.receive(invite(extra="Proxy-Require: foo, bar\r\n"))
    refused = play.last(PBX)
    assert refused.status == 420
    assert refused.first(b"unsupported") == b"foo, bar"
    assert play.take() == ["pbx <- 420 (INVITE)"]


def test_unknown_scheme_is_416() -> None:
    play = Playbook()
    for number, uri in enumerate(("http://127.0.0.1/", "soap.beep:x", "urn:service:pizza")):
        play.receive(invite(uri, branch=f"z9hG4bK-{number}", call_id=str(number), to="sip:x@y"))
        assert play.last(PBX).status == 416, uri
    assert "Reserve" not in play.commands


def test_loop_is_482_and_spiral_is_a_call_of_its_own() -> None:
    play = Playbook()
    play.receive(invite())
    outgoing = play.last_bytes(CARRIER)
    play.take()
    looped = outgoing.replace(b"sip:+442071838750@127.0.0.3:5090", b"sip:+442071838750@127.0.0.1", 1)
    play.receive(looped)
    assert play.take() == ["127.0.0.2:5060 <- 482 (INVITE)"]  # where the topmost Via, our own, says
    assert play.commands == ["Reserve"]
    spiral = outgoing.replace(b"sip:+442071838750@127.0.0.3:5090", b"sip:+442071838751@127.0.0.1", 1)
    play.receive(spiral)
    assert "carrier <- INVITE" in play.take()
    assert play.commands == ["Reserve", "Reserve"]
    assert play.sessions[0].ref != play.sessions[1].ref


def test_merged_request_is_482() -> None:
    play = Playbook()
    play.receive(invite())
    play.take()
    play.receive(invite(branch="z9hG4bK-other-way"))
    assert play.last(PBX).status == 482
    assert play.take() == ["pbx <- 482 (INVITE)"]
    assert play.commands == ["Reserve"]


def test_same_branch_of_another_sender_is_another_call() -> None:
    play = Playbook()
    play.receive(invite())
    other = invite(call_id="call-2").replace(b"127.0.0.2:5070;branch", b"127.0.0.2:5071;branch")
    play.receive(other, ("127.0.0.2", 5071))
    assert play.commands == ["Reserve", "Reserve"]


def test_a_new_attempt_after_a_refusal_is_judged_again() -> None:
    play = Playbook()
    for number in range(2):
        play.receive(invite("sip:+4915112345678@127.0.0.1", branch=f"z9hG4bK-{number}", cseq=number + 1))
    assert play.commands == ["Refused", "Refused"]


def test_gate_refuses_new_calls_and_lets_emergencies_pass() -> None:
    play = Playbook()
    play.core.gate = ReasonCode.DRAINING
    play.receive(invite())
    refused = play.last(PBX)
    assert refused.status == 503
    assert refused.first(b"retry-after") is not None
    assert play.commands == ["Refused"]


def test_nothing_stays_behind_when_calls_are_over() -> None:
    play = Playbook()
    for number in range(20):
        play.receive(invite(branch=f"z9hG4bK-{number}", call_id=str(number)))
        play.receive(answer(play.last(CARRIER), 486, "Busy"), CARRIER)
        play.receive(invite(branch=f"z9hG4bK-{number}", call_id=str(number), method="ACK", body=b""))
    play.pass_time(120)
    core = play.core
    assert (play.stack.transactions, core.sessions, core._under_way, core._alarms) == (0, {}, {}, [])
