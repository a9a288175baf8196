"""Session timers (RFC 4028) as ladders: what leaves, what is learnt, and what ends when nobody refreshes."""

from __future__ import annotations

import pytest

from proxy.call.core import CallSettings
from proxy.sip.message import SipResponse
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite, policy
from tests.call.test_crossing import assert_nothing_left

TIMER = "Supported: 100rel, timer\r\n"


def forwarded(
    extra: str, desired: int = 1800, uri: str = "sip:+442071838750@127.0.0.1"
) -> tuple[list[bytes], list[bytes]]:
    """(Session-Expires, Min-SE) of the INVITE as the carrier got it; of a refusal, what the PBX got."""
    play = Playbook(
        policy(emergency={"numbers": ["112"], "providers": ["carrier"]}),
        settings=CallSettings(session_expires_seconds=desired),
    )
    play.receive(invite(uri, extra=extra))
    sent = play.take()
    if sent == ["pbx <- 100 (INVITE)", "carrier <- INVITE"]:
        message = play.executed[-1].session.client.request
        pick: dict[bytes, list[bytes]] = {b"session-expires": [], b"min-se": []}
        for name, line in message.headers:
            if name in pick:
                pick[name].append(line.partition(b":")[2].strip())
        return pick[b"session-expires"], pick[b"min-se"]
    return [sent[-1].encode()], []


@pytest.mark.parametrize(
    ("extra", "expires", "least"),
    [
        # Nobody asks for one, and the caller could not keep one going.
        ("", [], []),
        ("Supported: 100rel\r\n", [], []),
        ("Supported: mytimer\r\n", [], []),
        # Asked for in the caller's place (§8.1), never below its Min-SE, without a refresher.
        (TIMER, [b"1800"], []),
        (TIMER + "Min-SE: 3600\r\n", [b"3600"], [b"3600"]),
        # As it came, or lowered; the refresher stays as it is.
        ("Session-Expires: 90\r\n", [b"90"], []),
        (TIMER + "Session-Expires: 600;refresher=uas\r\n", [b"600;refresher=uas"], []),
        (TIMER + "Session-Expires: 7200;refresher=uac\r\n", [b"1800;refresher=uac"], []),
        ("x: 7200\r\n", [b"1800"], []),
        (TIMER + "Session-Expires: 7200\r\nMin-SE: 3600\r\n", [b"3600"], [b"3600"]),
        (TIMER + "Session-Expires: 1000\r\nMin-SE: 1200\r\n", [b"1200"], [b"1200"]),
        # Too short, of one who does not know 422: both are raised.
        ("Session-Expires: 30\r\n", [b"90"], [b"90"]),
        ("Session-Expires: 30;refresher=uac\r\nMin-SE: 20\r\n", [b"90;refresher=uac"], [b"90"]),
        ("Session-Expires: 30\r\nMin-SE: 600\r\n", [b"600"], [b"600"]),
        # C13: clamped.
        ("Session-Expires: -1\r\n", [b"1800"], []),
        ("Session-Expires: 2147483648\r\n", [b"1800"], []),
        ("Session-Expires: " + "9" * 400 + "\r\n", [b"1800"], []),
        ("Session-Expires: soon;refresher=uac\r\n", [b"1800;refresher=uac"], []),
        ("Session-Expires: 7200;;\r\n", [b"1800"], []),
        ("Session-Expires:\r\n", [b"1800"], []),
        ("Session-Expires: 600\r\nMin-SE: -5\r\n", [b"600"], [b"90"]),
        ("Session-Expires: 600\r\nMin-SE: 99999999999\r\n", [b"2147483647"], [b"2147483647"]),
        ("Session-Expires: 600\r\nSession-Expires: 700\r\n", [b"600"], []),
    ],
)
def test_request(extra: str, expires: list[bytes], least: list[bytes]) -> None:
    assert forwarded(extra) == (expires, least)


@pytest.mark.parametrize(
    ("extra", "expires"),
    [(TIMER, []), (TIMER + "Session-Expires: 7200\r\n", [b"7200"]), ("x: 4294967296\r\n", [b"2147483647"])],
)
def test_operator_who_asks_for_none(extra: str, expires: list[bytes]) -> None:
    assert forwarded(extra, desired=0)[0] == expires


@pytest.mark.parametrize("value", ["89", "0", "000;refresher=uac"])
def test_too_small_an_interval_is_422(value: str) -> None:
    play = Playbook()
    play.receive(invite(extra=TIMER + f"Session-Expires: {value}\r\n"))
    refused = play.last(PBX)
    assert play.take() == ["pbx <- 422 (INVITE)"]
    assert refused.first(b"min-se") == b"90"
    assert play.commands == []


def test_emergency_call_leaves_as_it_came() -> None:
    assert forwarded(TIMER + "Session-Expires: 30\r\n", uri="sip:112@127.0.0.1") == ([b"30"], [])
    assert forwarded(TIMER, uri="sip:112@127.0.0.1") == ([], [])


# --- the 2xx


def answered(play: Playbook, asked: str, said: str) -> SipResponse:
    """A call for which the caller asked and the carrier said; its 200 as the PBX got it."""
    play.receive(invite(extra=asked))
    play.receive(answer(play.last(CARRIER), 200, extra=said), CARRIER)
    ok: SipResponse = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    play.take()
    return ok


@pytest.mark.parametrize(
    ("asked", "said", "expires", "require"),
    [
        # The carrier does not know session timers: the caller refreshes (§8.2).
        (TIMER, "", [b"1800;refresher=uac"], [b"timer"]),
        (TIMER + "Session-Expires: 600\r\n", "Require: 100rel", [b"600;refresher=uac"], [b"100rel, timer"]),
        (TIMER, "Require: timer", [b"1800;refresher=uac"], [b"timer"]),
        # Neither does: none.
        ("Session-Expires: 600\r\n", "", [], []),
        ("", "", [], []),
        # It does: as it said.
        (TIMER, "Session-Expires: 900;refresher=uas\r\nRequire: timer", [b"900;refresher=uas"], [b"timer"]),
        ("Session-Expires: 600\r\n", "x: 300;refresher=uas", [b"300;refresher=uas"], []),
        # C13.
        (TIMER, "Session-Expires: -1;refresher=uas", [b"1800;refresher=uas"], []),
        (TIMER, "Session-Expires: 2147483648", [b"1800"], []),
        ("", "Session-Expires: soon", [], []),
    ],
)
def test_answer(asked: str, said: str, expires: list[bytes], require: list[bytes]) -> None:
    ok = answered(Playbook(), asked, said)
    assert (ok.all(b"session-expires"), ok.all(b"require")) == (expires, require)


def test_repeated_answer_is_the_same_again() -> None:
    play = Playbook()
    play.receive(invite(extra=TIMER))
    said = answer(play.last(CARRIER), 200)
    play.receive(said, CARRIER)
    first = play.last_bytes(PBX)
    play.receive(said, CARRIER)
    assert play.last_bytes(PBX) == first
    assert b"Session-Expires: 1800;refresher=uac" in first


# --- the end of a session that nobody refreshes


def byes(play: Playbook) -> list[str]:
    return sorted({line for line in play.take() if "BYE" in line})


@pytest.mark.parametrize("said", ["", "Session-Expires: 600;refresher=uas"])
def test_session_that_nobody_refreshes_is_ended_after_its_grace(said: str) -> None:
    play = Playbook()
    answered(play, TIMER + "Session-Expires: 600\r\n", said)
    play.pass_time(631)
    assert play.take() == []
    play.pass_time(1.1)
    bye_of_callee, bye_of_caller = play.last(CARRIER), play.last(PBX)
    for bye in (bye_of_callee, bye_of_caller):
        assert bye.first(b"reason") == b'Q.850;cause=102;text="Session Timer Expired"'
    assert byes(play) == ["carrier <- BYE", "pbx <- BYE"]
    ended_at = play.now
    play.receive(answer(bye_of_caller, 200), PBX)
    assert play.commands == ["Reserve", "Answered"]  # the place is free when the provider says so
    play.receive(answer(bye_of_callee, 200), CARRIER)
    play.pass_time(300)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert play.sessions[0].ended_by == "proxy"
    assert ended_at - 1.1 < play.sessions[0].ended_at <= ended_at
    assert_nothing_left(play)


def test_answer_without_an_interval_never_expires() -> None:
    play = Playbook()
    answered(play, "Session-Expires: 600\r\n", "")
    play.pass_time(14_000)
    assert play.take() == []


def test_interval_of_the_provider_counts_and_is_never_taken_below_90() -> None:
    play = Playbook()
    answered(play, "Session-Expires: 600\r\n", "Session-Expires: 1;refresher=uas")
    play.pass_time(90 + 31)
    assert play.take() == []
    play.pass_time(1.5)
    assert play.take()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("from_callee", [False, True])
def test_refresh_in_either_direction_rearms(method: str, from_callee: bool) -> None:
    play = Playbook()
    ok = answered(play, TIMER + "Session-Expires: 600\r\n", "")
    asker, answerer = (CARRIER, PBX) if from_callee else (PBX, CARRIER)
    for number in range(3):
        play.pass_time(500)
        branch = f"z9hG4bK-r{number}"
        extra = "Supported: timer\r\nSession-Expires: 7200;refresher=uac"
        play.receive(
            in_dialog(method, ok, cseq=2 + number, from_callee=from_callee, branch=branch, extra=extra), asker
        )
        request = play.last(answerer)
        assert request.first(b"session-expires") == b"1800;refresher=uac"
        play.receive(answer(request, 200, extra="Session-Expires: 600;refresher=uac"), answerer)
        assert play.last(asker).first(b"session-expires") == b"600;refresher=uac"
    play.take()
    play.pass_time(631)
    assert not byes(play)
    play.pass_time(1.1)
    assert byes(play) == ["carrier <- BYE", "pbx <- BYE"]


def test_refresh_that_the_other_side_does_not_understand_goes_on_as_the_sender_does() -> None:
    play = Playbook()
    ok = answered(play, TIMER + "Session-Expires: 600\r\n", "")
    play.receive(in_dialog("UPDATE", ok, cseq=2, extra="Supported: timer\r\nSession-Expires: 600"))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    assert play.last(PBX).first(b"session-expires") == b"600;refresher=uac"
    assert play.last(PBX).first(b"require") == b"timer"


def test_refresh_may_switch_the_timer_off() -> None:
    play = Playbook()
    ok = answered(play, TIMER + "Session-Expires: 600\r\n", "")
    play.receive(in_dialog("UPDATE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    play.pass_time(14_000)
    assert play.take() == []


@pytest.mark.parametrize("status", [408, 422, 481, 491, 500])
def test_refused_refresh_rearms_nothing(status: int) -> None:
    """Who sent it hangs up after 408 or 481 (§10); the session expires when it would have."""
    play = Playbook()
    ok = answered(play, TIMER + "Session-Expires: 600\r\n", "")
    play.pass_time(500)
    play.receive(in_dialog("INVITE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), status), CARRIER)
    assert play.last(PBX).status == status
    play.pass_time(131)
    assert not byes(play)
    play.pass_time(1.1)
    assert byes(play) == ["carrier <- BYE", "pbx <- BYE"]


def test_refresh_with_too_small_an_interval_is_422() -> None:
    play = Playbook()
    ok = established(play)
    play.receive(in_dialog("UPDATE", ok, cseq=2, extra="Supported: timer\r\nSession-Expires: 10"))
    assert play.last(PBX).first(b"min-se") == b"90"
    assert play.take() == ["pbx <- 422 (UPDATE)"]


def test_expired_call_whose_provider_refuses_to_end_goes_on_being_counted() -> None:
    play = Playbook()
    answered(play, TIMER + "Session-Expires: 600\r\n", "")
    play.pass_time(632.5)
    for _ in range(3):
        play.receive(answer(play.last(CARRIER), 500), CARRIER)
        play.receive(answer(play.last(PBX), 200), PBX)
        assert play.core.sessions
        play.take()
        play.pass_time(32.5)
    assert play.commands == ["Reserve", "Answered"]
