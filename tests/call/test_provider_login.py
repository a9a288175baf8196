"""Providers that want credentials, as a ladder: the challenge is answered, the caller hears nothing of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from proxy.sip.message import SipRequest
from tests.call.playbook import CARRIER, PBX, Playbook, answer, in_dialog, invite, policy
from tests.digest_caller import answer as digest_answer

LOGIN = {"username": "customer 7", "password": "secret", "realm": "carrier"}
CHALLENGES = {
    401: ("WWW-Authenticate", b"authorization"),
    407: ("Proxy-Authenticate", b"proxy-authorization"),
}


def book(**provider: Any) -> Playbook:
    return Playbook(policy(provider={**LOGIN, **provider}))


def challenge(
    request: SipRequest, status: int = 407, realm: str = "carrier", more: str = 'algorithm=MD5, qop="auth"'
) -> bytes:
    header = CHALLENGES[status][0]
    extra = f'{header}: Digest realm="{realm}", nonce="n-{request.cseq}", {more}'
    return answer(request, status, "Who Are You", extra=extra)


def is_right(request: SipRequest, header: bytes, nonce: str, algorithm: str = "MD5") -> bool:
    """Whether the credentials are what somebody else works out for them."""
    value = (request.first(header) or b"").decode()
    found = dict(re.findall(r'(\w+)="?([^",]*)"?', value.removeprefix("Digest ")))
    asked = {"realm": "carrier", "nonce": nonce, "algorithm": algorithm}
    wanted = digest_answer(
        asked, "customer 7", "secret", request.method.decode(), request.uri.decode(),
        cnonce=found["cnonce"], qop=found["qop"], body=request.body,
    )  # fmt: skip
    return f'response="{found["response"]}"' in wanted and found["username"] == "customer 7"


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_a_challenge_is_answered_and_the_call_goes_on(status: int, algorithm: str) -> None:
    play = book()
    play.receive(invite())
    first = play.last(CARRIER)
    more = f'algorithm={algorithm}, qop="auth-int,auth", opaque="o"'
    play.receive(challenge(first, status, more=more), CARRIER)
    again = play.last(CARRIER)
    assert (again.method, again.cseq, again.uri) == (b"INVITE", first.cseq + 1, first.uri)
    assert again.via.branch != first.via.branch
    assert again.from_tag == first.from_tag
    assert again.call_id == first.call_id
    assert is_right(again, CHALLENGES[status][1], "n-1", algorithm)
    assert b'opaque="o"' in (again.first(CHALLENGES[status][1]) or b"")
    # Acknowledged, and not a word of it to the caller; one reservation.
    assert [label for label in play.take() if "pbx" in label] == ["pbx <- 100 (INVITE)"]
    assert play.commands == ["Reserve"]
    play.receive(answer(again, 180), CARRIER)
    play.receive(answer(again, 200), CARRIER)
    ok = play.last(PBX)
    assert (ok.status, ok.cseq) == (200, 1)
    assert ok.first(b"cseq") == b"1 INVITE"


def established(play: Playbook, status: int = 407) -> Any:
    play.receive(invite())
    play.receive(challenge(play.last(CARRIER), status), CARRIER)
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    return ok


def test_the_dialog_is_numbered_one_higher_towards_the_provider() -> None:
    play = book()
    ok = established(play)
    ack = play.last(CARRIER)
    assert (ack.method, ack.cseq) == (b"ACK", 2)
    assert ack.first(b"proxy-authorization")  # §22.1: as the INVITE had them
    play.receive(in_dialog("BYE", ok, cseq=2, branch="z9hG4bK-bye"))
    bye = play.last(CARRIER)
    assert (bye.method, bye.cseq) == (b"BYE", 3)
    play.receive(answer(bye, 200), CARRIER)
    assert (play.last(PBX).status, play.last(PBX).first(b"cseq")) == (200, b"2 BYE")
    assert play.commands[-1] == "Ended"


@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO"])
def test_requests_within_the_dialog_are_answered_for_too(method: str) -> None:
    play = book()
    ok = established(play)
    play.receive(in_dialog(method, ok, cseq=2, branch="z9hG4bK-in"))
    first = play.last(CARRIER)
    play.receive(challenge(first, 401), CARRIER)
    again = play.last(CARRIER)
    assert (again.method, again.cseq) == (method.encode(), first.cseq + 1)
    assert is_right(again, b"authorization", f"n-{first.cseq}")
    assert method != "BYE" or "Ended" not in play.commands
    play.receive(answer(again, 200), CARRIER)
    seen = play.last(PBX)
    assert (seen.status, seen.first(b"cseq")) == (200, b"2 " + method.encode())
    if method == "INVITE":
        play.receive(in_dialog("ACK", ok, cseq=2, branch="z9hG4bK-ack2"))
        assert (play.last(CARRIER).cseq, play.last(CARRIER).method) == (again.cseq, b"ACK")
        assert play.last(CARRIER).first(b"authorization")
    # What follows goes on counting.
    if method != "BYE":
        play.receive(in_dialog("BYE", ok, cseq=3, branch="z9hG4bK-bye"))
        assert play.last(CARRIER).cseq == again.cseq + 1


def test_a_bye_of_our_own_is_answered_for() -> None:
    play = book()
    established(play)
    play.take()
    play.sessions[0].hang_up(b'Q.850;cause=31;text="x"', play.now)
    play.pump()
    first = play.last(CARRIER)
    assert (first.method, first.cseq) == (b"BYE", 3)
    play.receive(challenge(first), CARRIER)
    again = play.last(CARRIER)
    assert (again.method, again.cseq) == (b"BYE", 4)
    assert is_right(again, b"proxy-authorization", "n-3")
    assert "Ended" not in play.commands
    play.receive(answer(again, 200), CARRIER)
    assert "Ended" in play.commands


@pytest.mark.parametrize(
    ("provider", "realm", "more"),
    [
        ({}, "evil", "algorithm=MD5"),
        ({}, "Carrier", "algorithm=MD5"),
        ({}, "carrier", "algorithm=SHA-512"),
        ({"realm": None}, "carrier", "algorithm=MD5"),
        ({"username": None, "password": None}, "carrier", "algorithm=MD5"),
    ],
)
def test_credentials_go_to_no_other_realm(provider: dict[str, Any], realm: str, more: str) -> None:
    play = book(**provider)
    play.receive(invite())
    play.receive(challenge(play.last(CARRIER), 407, realm, more), CARRIER)
    assert play.last(CARRIER).method == b"ACK"
    assert play.last(PBX).status == 407
    assert play.last(PBX).first(b"proxy-authenticate")


def test_the_host_is_the_realm_where_none_is_named() -> None:
    play = book(realm=None)
    play.receive(invite())
    play.receive(challenge(play.last(CARRIER), 407, CARRIER[0]), CARRIER)
    assert play.last(CARRIER).cseq == 2


def test_who_is_refused_once_is_not_asked_again() -> None:
    play = book()
    play.receive(invite())
    play.receive(challenge(play.last(CARRIER)), CARRIER)
    play.receive(challenge(play.last(CARRIER)), CARRIER)
    assert play.last(PBX).status == 407
    assert play.last(PBX).first(b"cseq") == b"1 INVITE"


def test_a_stale_nonce_is_answered_once_more() -> None:
    play = book()
    play.receive(invite())
    play.receive(challenge(play.last(CARRIER)), CARRIER)
    play.receive(challenge(play.last(CARRIER), more="algorithm=MD5, stale=true"), CARRIER)
    again = play.last(CARRIER)
    assert (again.method, again.cseq) == (b"INVITE", 3)
    # RFC 2069: without qop there is no cnonce.
    assert b"cnonce" not in (again.first(b"proxy-authorization") or b"")
    play.receive(challenge(again, more="algorithm=MD5, stale=true"), CARRIER)
    assert play.last(PBX).status == 407


def test_a_cancelled_call_is_not_answered_for() -> None:
    play = book()
    play.receive(invite())
    first = play.last(CARRIER)
    play.receive(answer(first, 100), CARRIER)
    play.receive(invite(method="CANCEL", body=b""))
    play.receive(challenge(first), CARRIER)
    assert [label for label in play.take() if "carrier <- INVITE" in label] == ["carrier <- INVITE"]


def test_a_cancel_follows_the_second_invite() -> None:
    play = book()
    play.receive(invite())
    play.receive(challenge(play.last(CARRIER)), CARRIER)
    again = play.last(CARRIER)
    play.receive(answer(again, 180), CARRIER)
    play.receive(invite(method="CANCEL", body=b""))
    cancel = play.last(CARRIER)
    assert (cancel.method, cancel.cseq, cancel.via.branch) == (b"CANCEL", 2, again.via.branch)
    play.receive(answer(again, 487), CARRIER)
    assert (play.last(PBX).status, play.last(PBX).cseq) == (487, 1)
