"""Single rules of RFC 3261 and its kin that no other ladder shows, each from stimulus to wire."""

from __future__ import annotations

import json

import pytest

from policy.reasons import ReasonCode
from proxy.admission.decision_log import DecisionLog
from proxy.call.core import CallSettings
from tests.call.playbook import (
    CARRIER,
    PBX,
    STRANGER,
    Playbook,
    answer,
    established,
    in_dialog,
    invite,
    policy,
)
from tests.call.test_crossing import assert_nothing_left


def ack(to_tag: str, **arguments: str) -> bytes:
    return invite(method="ACK", body=b"", to_tag=to_tag, **arguments)  # type: ignore[arg-type]


# --- transactions


def test_last_provisional_is_replayed() -> None:
    """P02."""
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 183, "Progress"), CARRIER)
    play.take()
    for _ in range(7):
        play.receive(invite())
    assert play.take() == ["pbx <- 183 (INVITE)"] * 7
    assert play.commands == ["Reserve"]


def test_refusal_is_repeated_until_it_is_acknowledged() -> None:
    """P04: T1, 2·T1 … T2 apart."""
    play = Playbook()
    play.receive(invite("sip:+4915112345678@x", to="sip:x@y"))
    times = []
    start = play.now
    for _ in range(100):
        play.take()
        play.pass_time(0.1)
        if play.take():
            times.append(round(play.now - start, 1))
    assert times == [0.5, 1.5, 3.5, 7.5]
    play.receive(ack("twref0", uri="sip:+4915112345678@x", to="sip:x@y"))
    play.pass_time(4.9)
    assert play.stack.transactions == 1  # Timer I: absorbs what is repeated
    play.receive(invite("sip:+4915112345678@x", to="sip:x@y"))
    play.receive(ack("twref0", uri="sip:+4915112345678@x", to="sip:x@y"))
    assert play.take() == []
    play.pass_time(0.2)
    assert_nothing_left(play)


def test_refusal_that_is_never_acknowledged_is_given_up() -> None:
    """P04: Timer H."""
    play = Playbook()
    play.receive(invite("sip:+4915112345678@x", to="sip:x@y"))
    play.take()
    play.pass_time(31.9)
    assert len(play.take()) == 10
    play.pass_time(100)
    assert play.take() == []
    assert_nothing_left(play)


def test_late_retransmission_of_an_answered_invite_is_absorbed() -> None:
    """P06: Timers L and M."""
    play = Playbook()
    established(play)
    play.receive(invite())
    assert play.take() == []
    play.pass_time(31)
    play.receive(invite())
    assert play.take() == []
    play.pass_time(2)
    assert play.stack.transactions == 0
    assert play.commands == ["Reserve", "Answered"]


def test_acks_to_the_answer_are_each_forwarded() -> None:
    """P07."""
    play = Playbook()
    ok = established(play)
    for number in range(3):
        play.receive(in_dialog("ACK", ok, cseq=1, branch=f"z9hG4bK-again{number}"))
    assert play.take() == ["carrier <- ACK"] * 3
    assert play.stack.transactions == 2  # the INVITE's, no more


@pytest.mark.parametrize("value", ["300", "-1", "x", "", "99999999999999999999", "7 0"])
def test_hops_that_are_no_number(value: str) -> None:
    """P13."""
    play = Playbook()
    play.receive(invite().replace(b"Max-Forwards: 70", f"Max-Forwards: {value}".encode()))
    assert play.take() == ["pbx <- 400 (INVITE)"]


def test_proxy_require_means_nothing_on_ack_and_cancel() -> None:
    """P14."""
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), CARRIER)
    play.take()
    play.receive(invite(method="CANCEL", body=b"", extra="Proxy-Require: foo\r\n"))
    assert play.take() == ["pbx <- 200 (CANCEL)", "carrier <- CANCEL"]
    play.receive(answer(outgoing, 200), CARRIER)
    ok = play.last(PBX)
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack", extra="Proxy-Require: foo"))
    assert play.take() == ["carrier <- ACK"]
    play.receive(in_dialog("BYE", ok, cseq=2, extra="Proxy-Require: foo,bar"))
    refused = play.last(PBX)
    assert (refused.status, refused.first(b"unsupported")) == (420, b"foo,bar")
    assert play.commands == ["Reserve", "Answered"]


@pytest.mark.parametrize(
    ("via", "source", "reply_to", "marked"),
    [
        ("127.0.0.2:5070;branch=z9hG4bK-1;rport", ("127.0.0.2", 40001), ("127.0.0.2", 40001), True),
        ("10.0.0.1:5070;branch=z9hG4bK-1", ("127.0.0.2", 40001), ("127.0.0.2", 5070), True),
        ("pbx.example:5070;branch=z9hG4bK-1", ("127.0.0.2", 40001), ("127.0.0.2", 5070), True),
        ("10.0.0.1;branch=z9hG4bK-1", ("127.0.0.2", 40001), ("127.0.0.2", 5060), True),
        ("127.0.0.2:5070;branch=z9hG4bK-1;maddr=127.0.0.9", PBX, PBX, False),
        ("127.0.0.2:5070;branch=z9hG4bK-1;received=127.0.0.9;rport=1", PBX, PBX, True),
    ],
)
def test_answers_go_back_where_the_request_came_from(
    via: str, source: tuple[str, int], reply_to: tuple[str, int], marked: bool
) -> None:
    """P16."""
    play = Playbook()
    play.receive(invite().replace(b"127.0.0.2:5070;branch=z9hG4bK-1;rport", via.encode()), source)
    assert play.sent[0][0] == reply_to
    assert (play.last(CARRIER).all(b"via")[1].count(b"received=127.0.0.2") == 1) is marked
    play.receive(answer(play.last(CARRIER), 486, "Busy"), CARRIER)
    assert {to for to, _, _ in play.sent} == {reply_to, CARRIER}


def test_provider_that_ignores_cancel_after_it_was_late() -> None:
    """The caller is told 64·T1 after its CANCEL, although the provider was cancelled later."""
    play = Playbook(settings=CallSettings(provider_response_seconds=20.0))
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(invite(method="CANCEL", body=b""))
    play.pass_time(15)
    play.receive(answer(outgoing, 180), CARRIER)
    play.take()
    play.pass_time(17.5)
    assert "pbx <- 487 (INVITE)" in play.take()
    assert play.commands == ["Reserve", "Ended"]
    assert play.sessions[0].ended_by == "caller"
    play.receive(answer(outgoing, 200), CARRIER)  # and now it answers
    assert play.take()[-2:] == ["carrier <- ACK", "carrier <- BYE"]


def test_timestamp_is_told_in_a_100_and_nowhere_else() -> None:
    """RFC 3261 §8.2.6.1."""
    play = Playbook()
    play.receive(invite(extra="Timestamp: 54.1\r\n"))
    assert play.last(PBX).first(b"timestamp") == b"54.1"
    assert play.last(CARRIER).first(b"timestamp") == b"54.1"
    play.receive(
        invite("sip:+4915112345678@x", to="sip:x@y", branch="z9hG4bK-2", extra="Timestamp: 54.2\r\n")
    )
    assert play.last(PBX).first(b"timestamp") is None


def test_timer_c_is_our_doing() -> None:
    """P11; and the record says so."""
    play = Playbook(settings=CallSettings(no_answer_seconds=185.0))
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), CARRIER)
    play.pass_time(186)
    play.receive(answer(outgoing, 487, "Request Terminated"), CARRIER)
    assert play.commands == ["Reserve", "Ended"]
    assert play.sessions[0].ended_by == "proxy"


# --- forwarding


@pytest.mark.parametrize("status", [300, 301, 302, 305, 380])
@pytest.mark.parametrize("contact", ["sip:+19005550100@127.0.0.3", "sip:x@127.0.0.9:5066"])
def test_redirection_is_the_callers_to_follow(status: int, contact: str) -> None:
    """R13."""
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), status, "Moved", contact=contact), CARRIER)
    assert play.take()[2:] == ["carrier <- ACK", f"pbx <- {status} (INVITE)"]
    play.pass_time(1)
    assert {label.split(" ")[0] for label in play.take()} == {"pbx"}
    assert play.commands == ["Reserve", "Ended"]


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "OPTIONS", "NOTIFY", "PUBLISH", "X"])
@pytest.mark.parametrize(
    "uri", ["sip:+19005550100@127.0.0.1", "sip:+442071838750@127.0.0.1", "tel:+442071838750"]
)
def test_only_invite_makes_calls(method: str, uri: str) -> None:
    """R14."""
    play = Playbook()
    play.receive(invite(uri, method=method, body=b"hello", extra="Refer-To: <sip:+19005550100@x>\r\n"))
    assert play.take() == [f"pbx <- 405 ({method})"]
    assert play.stack.transactions == 0


@pytest.mark.parametrize("route", ["<sip:127.0.0.9:5066;lr>", "<sip:127.0.0.1;lr>,<sip:127.0.0.9:5066;lr>"])
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "MESSAGE"])
def test_route_of_the_caller_leads_nowhere(route: str, method: str) -> None:
    """R01."""
    play = Playbook()
    play.receive(invite(method=method, extra=f"Route: {route}\r\n"))
    assert all(to in (PBX, CARRIER) for to, _, _ in play.sent)
    assert all(not message.all(b"route") for _, message, _ in play.sent)


def test_reasons_of_peers_pass_and_ours_are_given() -> None:
    """P28, RFC 3326."""
    play = Playbook()
    ok = established(play)
    theirs = 'Q.850;cause=16;text="Terminated"'
    play.receive(in_dialog("BYE", ok, cseq=2, extra=f"Reason: {theirs}"))
    assert play.last(CARRIER).first(b"reason") == theirs.encode()
    play.receive(invite(branch="z9hG4bK-2", call_id="call-2"))
    play.receive(answer(play.last(CARRIER), 480, "Away", extra=f"Reason: {theirs}"), CARRIER)
    assert play.last(PBX).first(b"reason") == theirs.encode()


def test_privacy_of_a_trusted_trunk_is_told_to_the_provider() -> None:
    """P29, RFC 3325: the provider is of the trust domain, and withholds what `Privacy: id` says."""
    play = Playbook()
    claims = "P-Asserted-Identity: <sip:+15551230001@x>\r\nPrivacy: id\r\n"
    play.receive(invite(extra=claims))
    passed = play.last(CARRIER)
    assert passed.first(b"privacy") == b"id"
    assert passed.first(b"p-asserted-identity") == b"<sip:+15551230001@x>"


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "INVITE"])
@pytest.mark.parametrize(
    "uri", ["nobodyKnowsThisScheme:totallyopaquecontent", "soap.beep://192.0.2.103:3002", "http:x"]
)
def test_unknown_scheme_is_416_whatever_is_asked(method: str, uri: str) -> None:
    """P15; the scheme is looked at before everything else (§16.3)."""
    play = Playbook()
    play.receive(invite(uri, method=method, to="sip:x@y", extra="Proxy-Require: x\r\n"))
    assert play.take() == [f"pbx <- 416 ({method})"]


# --- the end, once


@pytest.mark.parametrize("status", [302, 400, 401, 404, 407, 408, 480, 486, 487, 500, 503, 600, 603])
def test_each_failure_gives_the_place_back_once(status: int) -> None:
    """C12."""
    play = Playbook()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    for _ in range(3):
        play.receive(answer(outgoing, status, "Word"), CARRIER)
    play.receive(answer(outgoing, 200), CARRIER)  # too late: the transaction has its final answer
    play.pass_time(200)
    assert play.commands == ["Reserve", "Ended"]
    assert_nothing_left(play)


def test_answer_that_is_never_acknowledged_is_charged_and_reaped() -> None:
    """C09."""
    play = Playbook()
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    answered = play.now
    play.pass_time(200)
    session = play.sessions[0]
    assert session.answered_at == answered
    assert session.ended_at == pytest.approx(answered + 32, abs=0.1)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert_nothing_left(play)


@pytest.mark.parametrize("late", [0.0, 3.0, 31.0, 600.0])
@pytest.mark.parametrize("answer_", [None, ReasonCode.CAPACITY, ReasonCode.LEDGER])
def test_ledger_that_answers_after_the_caller_has_gone(late: float, answer_: ReasonCode | None) -> None:
    play = Playbook(admit_all=False)
    play.receive(invite())
    play.receive(invite(method="CANCEL", body=b""))
    play.pass_time(late)
    play.decide(answer_)
    assert not [label for label in play.take() if "carrier" in label]
    assert play.commands == ["Reserve", "Ended" if answer_ is None else "Refused"]
    play.pass_time(200)
    assert_nothing_left(play)


# --- what strangers and callers write, on paper


def test_records_are_one_line_whatever_was_sent() -> None:
    """O01: CR, LF, NUL and terminal escapes in every place that a record tells of."""
    lines: list[bytes] = []
    log = DecisionLog("USD")
    log.sinks.append(lambda _, found: lines.extend(found))
    for number, nasty in enumerate(
        (b"\x1b[31m", b"\x7f", b"\xe2\x80\xa8", b"%0d%0a", b"\\", b"'", b"</script>")
    ):
        play = Playbook()
        data = invite("sip:+4915112345678@x", to="sip:x@y", call_id=f"id-{number}")
        data = data.replace(b'"Alice"', b'"' + nasty.replace(b"\\", b"\\\\") + b'"')
        data = data.replace(b"Call-ID: id", b"Call-ID: " + bytes(byte for byte in nasty if 32 < byte < 127))
        play.receive(data)
        for command in play.executed:
            log.decided(command.session, "v", ReasonCode.COUNTRY, (), 0, 403)
    log.flush()
    assert lines
    for line in lines:
        assert line.isascii()
        assert all(32 <= byte < 127 for byte in line)
        assert json.loads(line)["reason"] == "COUNTRY"


def test_ring_of_a_provider_is_answered_from_nobody_else() -> None:
    """A stranger's INVITE towards the PBX is no call of ours, and neither is the provider's."""
    play = Playbook(policy(provider={"networks": ["127.0.0.3"]}))
    for source in (CARRIER, STRANGER):
        play.receive(invite("sip:alice@127.0.0.2:5070"), source)
    assert {message.status for _, message, _ in play.sent} == {403}
    assert play.commands == ["StrangerRefused"] * 2
