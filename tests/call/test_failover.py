"""Emergency calls have several providers: what each one's failure leads to, and what the caller sees at the
end (RFC 3261 §16.7)."""

from __future__ import annotations

from typing import Any

import pytest

from policy.reasons import ReasonCode
from proxy.call.core import CallSettings
from tests.call.playbook import CARRIER, PBX, Playbook, answer, in_dialog, invite, policy

SECOND = ("127.0.0.4", 5090)
THIRD = ("127.0.0.5", 5090)


def emergency(trunk: dict[str, Any] | None = None, first: dict[str, Any] | None = None) -> Playbook:
    compiled = policy(
        trunk=trunk or {},
        provider=first or {},
        more_providers=[
            {"name": "second", "hostname": f"{SECOND[0]}:{SECOND[1]}"},
            {"name": "third", "hostname": f"{THIRD[0]}:{THIRD[1]}"},
        ],
        emergency={"numbers": ["112", "911"], "providers": ["carrier", "second", "third"]},
    )
    return Playbook(compiled, settings=CallSettings(provider_response_seconds=2.0))


def providers_tried(play: Playbook) -> list[str]:
    return [label for label in play.take() if label.endswith("<- INVITE")]


def test_each_provider_in_its_order_with_a_branch_of_its_own_and_one_reservation() -> None:
    """P12, P22."""
    play = emergency()
    play.receive(invite("sip:112@127.0.0.1"))
    branches = set()
    for remote in (CARRIER, SECOND, THIRD):
        outgoing = play.last(remote)
        branches.add(outgoing.via.branch)
        assert outgoing.uri == f"sip:112@{remote[0]}:5090".encode()
        play.receive(answer(outgoing, 503, "Away"), remote)
    assert len(branches) == 3
    assert play.last(PBX).status == 500
    assert play.commands == ["Reserve", "Ended"]


@pytest.mark.parametrize(
    ("answers", "seen"),
    [
        ((503, 503, 503), 500),
        ((500, 503, 404), 404),
        ((404, 503, 500), 404),
        ((503, 486), 486),  # a busy rescue is an answer: nobody else is asked
        ((503, 603), 603),  # a 6xx stops alternatives
        ((404, 603), 603),
        ((503, None, 503), 408),
        ((None, None, None), 408),
        ((404, None, 503), 408),
        ((404, 486), 486),
        ((500, 302), 302),
    ],
)
def test_caller_sees_the_best_of_the_answers(answers: tuple[int | None, ...], seen: int) -> None:
    play = emergency()
    play.receive(invite("sip:112@127.0.0.1"))
    for status, remote in zip(answers, (CARRIER, SECOND, THIRD), strict=False):
        if status is None:
            play.pass_time(2.1)
        else:
            play.receive(answer(play.last(remote), status, "Word"), remote)
    assert play.last(PBX).status == seen
    assert play.commands == ["Reserve", "Ended"]


def test_provider_without_an_address_is_passed_over() -> None:
    play = emergency()
    play.unreachable = {"carrier", "third"}
    play.receive(invite("sip:911@127.0.0.1"))
    assert providers_tried(play) == ["127.0.0.4:5090 <- INVITE"]


def test_no_provider_has_an_address() -> None:
    play = emergency()
    play.unreachable = {"carrier", "second", "third"}
    play.receive(invite("sip:911@127.0.0.1"))
    assert play.last(PBX).status == 404
    assert play.commands == ["Refused"]


def test_answer_of_one_provider_counts_more_than_that_the_rest_has_no_address() -> None:
    play = emergency()
    play.unreachable = {"second", "third"}
    play.receive(invite("sip:112@127.0.0.1"))
    play.receive(answer(play.last(CARRIER), 503, "Away"), CARRIER)
    assert play.last(PBX).status == 500


# --- several hops of one provider ---


def several(*more: tuple[str, int]) -> Playbook:
    play = Playbook(settings=CallSettings(provider_response_seconds=2.0))
    play.more_hops = list(more)
    return play


def test_hop_that_says_503_is_followed_by_the_next_of_the_same_provider() -> None:
    """P22, RFC 3263 §4.3: another branch, the same Request-URI, one reservation."""
    play = several(SECOND)
    play.receive(invite())
    first = play.last(CARRIER)
    play.receive(answer(first, 503, "Away"), CARRIER)
    second = play.last(SECOND)
    assert second.via.branch != first.via.branch
    assert second.uri == first.uri
    play.receive(answer(second, 200), SECOND)
    assert play.last(PBX).status == 200
    assert play.commands == ["Reserve", "Answered"]


def test_silent_hop_is_followed_by_the_next_of_the_same_provider() -> None:
    """P12."""
    play = several(SECOND)
    play.receive(invite())
    play.pass_time(2.1)
    assert play.take()[-1] == "127.0.0.4:5090 <- INVITE"
    play.pass_time(2.1)
    assert play.last(PBX).status == 408
    assert play.commands == ["Reserve", "Ended"]


@pytest.mark.parametrize("status", [403, 404, 480, 486, 500, 502, 504, 600])
def test_what_the_provider_itself_answers_is_not_asked_again(status: int) -> None:
    play = several(SECOND)
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), status, "Word"), CARRIER)
    assert play.last(PBX).status == status
    assert play.commands == ["Reserve", "Ended"]


def test_caller_does_not_wait_for_more_than_three_hops() -> None:
    play = several(SECOND, THIRD, ("127.0.0.6", 5090), ("127.0.0.7", 5090))
    play.receive(invite())
    play.pass_time(6.1)
    assert play.last(PBX).status == 408
    assert {remote for remote, message, _ in play.sent if message.cseq_method == b"INVITE"} == {
        CARRIER, SECOND, THIRD, PBX,
    }  # fmt: skip


def test_hop_that_failed_is_tried_last_for_half_a_minute() -> None:
    play = several(SECOND)
    play.receive(invite())
    play.pass_time(2.1)
    play.receive(answer(play.last(SECOND), 486), SECOND)
    play.take()
    play.receive(invite(call_id="next", branch="z9hG4bK-next"))
    assert providers_tried(play) == ["127.0.0.4:5090 <- INVITE"]
    play.pass_time(2.1)  # the second is silent now, and the first not left out
    assert providers_tried(play)[-1] == "carrier <- INVITE"
    play.pass_time(60)
    play.take()
    play.receive(invite(call_id="later", branch="z9hG4bK-later"))
    assert providers_tried(play) == ["carrier <- INVITE"]


def test_hop_that_answers_again_has_its_place_again() -> None:
    play = several(SECOND)
    play.receive(invite())
    first = play.last(CARRIER)
    play.pass_time(2.1)
    play.receive(answer(first, 486), CARRIER)  # late, but alive
    play.take()
    play.receive(invite(call_id="next", branch="z9hG4bK-next"))
    assert providers_tried(play) == ["carrier <- INVITE"]


def test_hop_whose_503_names_a_time_is_tried_last_for_that_long() -> None:
    """RFC 3261 §21.5.4."""
    play = several(SECOND)
    play.receive(invite())
    refusal = answer(play.last(CARRIER), 503, "Away", extra="Retry-After: 120 (moving);duration=60")
    play.receive(refusal, CARRIER)
    play.receive(answer(play.last(SECOND), 486), SECOND)
    play.pass_time(100)
    play.take()
    play.receive(invite(call_id="next", branch="z9hG4bK-next"))
    second = play.last(SECOND)
    assert providers_tried(play) == ["127.0.0.4:5090 <- INVITE"]
    play.receive(answer(second, 486), SECOND)
    play.pass_time(30)
    play.take()
    play.receive(invite(call_id="later", branch="z9hG4bK-later"))
    assert providers_tried(play) == ["carrier <- INVITE"]


def test_cancelled_call_does_not_go_to_the_next_hop() -> None:
    play = several(SECOND)
    play.receive(invite())
    play.receive(invite(method="CANCEL", body=b""))
    play.pass_time(2.1)
    assert play.last(PBX).status == 487
    assert not any(remote == SECOND for remote, _, _ in play.sent)
    assert play.commands == ["Reserve", "Ended"]


# --- who answers late (RFC 3261 §9.1, §16.7) ---


@pytest.mark.parametrize("status", [100, 180, 183])
def test_target_that_rings_too_late_is_cancelled(status: int) -> None:
    play = several(SECOND)
    play.receive(invite())
    first = play.last(CARRIER)
    play.pass_time(2.1)
    play.take()
    play.receive(answer(first, status), CARRIER)
    assert play.take() == ["carrier <- CANCEL"]
    play.receive(answer(play_cancel(first), 200), CARRIER)
    play.receive(answer(first, 487), CARRIER)
    assert play.take() == ["carrier <- ACK"]
    assert play.commands == ["Reserve"]


def play_cancel(invite_seen: Any) -> Any:
    """The INVITE with its CSeq as its CANCEL has it."""
    headers = [
        (name, line.replace(b"INVITE", b"CANCEL") if name == b"cseq" else line)
        for name, line in invite_seen.headers
    ]
    cancel = type(invite_seen)()
    cancel.headers, cancel.to_tag = headers, b""
    return cancel


def test_target_that_rings_when_the_call_is_over_is_cancelled() -> None:
    play = several()
    play.receive(invite())
    first = play.last(CARRIER)
    play.pass_time(2.1)
    assert play.last(PBX).status == 408
    play.take()
    play.pass_time(28)
    play.take()
    play.receive(answer(first, 180), CARRIER)
    assert play.take() == ["carrier <- CANCEL"]
    assert play.commands == ["Reserve", "Ended"]


@pytest.mark.parametrize("when", ["searching", "talking", "over"])
def test_target_that_answers_too_late_is_hung_up(when: str) -> None:
    """Whatever became of the call meanwhile; it is released once."""
    play = several(SECOND)
    play.receive(invite())
    first = play.last(CARRIER)
    play.pass_time(2.1)
    if when == "talking":
        contact = f"sip:carrier@{SECOND[0]}:{SECOND[1]}"
        play.receive(answer(play.last(SECOND), 200, tag="uas2", contact=contact), SECOND)
        ok = play.last(PBX)
        play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    elif when == "over":
        play.receive(answer(play.last(SECOND), 486), SECOND)
    play.take()
    play.receive(answer(first, 200), CARRIER)
    ended = play.sent[-1][1]
    assert play.take() == ["carrier <- ACK", "carrier <- BYE"]
    play.receive(answer(ended, 200), CARRIER)  # type: ignore[arg-type]
    play.receive(answer(first, 200), CARRIER)
    assert play.take() == []
    if when == "talking":
        assert play.commands == ["Reserve", "Answered"]
        play.receive(in_dialog("BYE", ok, cseq=2))
        play.receive(answer(play.last(SECOND), 200), SECOND)
        assert play.last(PBX).status == 200
        assert play.commands == ["Reserve", "Answered", "Ended"]
    else:
        play.pass_time(200)
        assert play.commands == ["Reserve", "Ended"]


def test_blocked_provider_is_the_last_resort() -> None:
    play = emergency(first={"status": "blocked"})
    play.receive(invite("sip:112@127.0.0.1"))
    assert providers_tried(play) == ["127.0.0.4:5090 <- INVITE"]
    play.pass_time(2.1)
    assert providers_tried(play)[-1] == "127.0.0.5:5090 <- INVITE"
    play.pass_time(2.1)
    assert providers_tried(play)[-1] == "carrier <- INVITE"


def test_cancelled_call_is_not_tried_elsewhere() -> None:
    play = emergency()
    play.receive(invite("sip:112@127.0.0.1"))
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 180), CARRIER)
    play.receive(invite("sip:112@127.0.0.1", method="CANCEL", body=b""))
    play.take()
    play.receive(answer(outgoing, 503, "Away"), CARRIER)
    assert play.take() == ["carrier <- ACK", "pbx <- 500 (INVITE)"]
    assert play.sessions[0].ended_by == "caller"


@pytest.mark.parametrize("gate", [ReasonCode.DRAINING, ReasonCode.OVERLOAD])
def test_emergency_calls_pass_the_gate(gate: ReasonCode) -> None:
    """P30: only calls are shed, and never these; what is in a dialog passes as well."""
    play = emergency()
    play.core.gate = gate
    play.receive(invite("sip:+442071838750@127.0.0.1", call_id="other", branch="z9hG4bK-other"))
    refused = play.last(PBX)
    assert refused.status == 503
    assert 3 <= int(refused.first(b"retry-after")) <= 8
    assert play.commands == [{ReasonCode.DRAINING: "Refused", ReasonCode.OVERLOAD: "Shed"}[gate]]
    play.receive(invite("sip:112@127.0.0.1"))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(PBX)
    play.take()
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.receive(in_dialog("BYE", ok, cseq=2))
    assert play.take() == ["carrier <- ACK", "carrier <- BYE"]


@pytest.mark.parametrize("called", ["sip:112@x", "sip:1-1-2@x", "sip:%3112@x", "tel:112;phone-context=+44"])
@pytest.mark.parametrize(
    "trunk",
    [
        {"status": "blocked"},
        {"destination_whitelist": []},
        {"dst_prefixes": {"deny": ["+1"]}},
        {"tech_prefix": "99#"},
        {"default_dst_action": "reject_all"},
    ],
)
def test_emergency_call_is_refused_by_nothing(called: str, trunk: dict[str, Any]) -> None:
    play = emergency(trunk=trunk)
    play.receive(invite(called, to="sip:x@y"))
    assert play.last(CARRIER).uri == b"sip:112@127.0.0.3:5090"


@pytest.mark.parametrize("called", ["sip:99%23112@x", "sip:99#112@x"])
def test_emergency_call_behind_a_tech_prefix(called: str) -> None:
    play = emergency(trunk={"tech_prefix": "99#", "status": "blocked"})
    play.receive(invite(called, to="sip:x@y"))
    assert play.last(CARRIER).uri == b"sip:112@127.0.0.3:5090"


def test_emergency_call_without_an_ack_is_not_cut_off() -> None:
    """The ACK may have taken another way; the provider ends a call that it got none for."""
    play = emergency()
    play.receive(invite("sip:112@127.0.0.1"))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    play.pass_time(599)
    assert play.take() == []
    assert play.commands == ["Reserve", "Answered"]


@pytest.mark.parametrize("urn", ["urn:service:sos", "URN:service:sos.police", "urn:SERVICE:SOS.fire"])
def test_emergency_service(urn: str) -> None:
    """P15, RFC 5031."""
    play = emergency(trunk={"status": "blocked"})
    play.receive(invite(urn, to="sip:x@y"))
    assert play.last(CARRIER).uri == b"sip:112@127.0.0.3:5090"
