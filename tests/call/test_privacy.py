"""P29: asserted identities and `Privacy: id` (RFC 3325)."""

from __future__ import annotations

import pytest

from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite, policy

CLAIMS = (
    "P-Asserted-Identity: <sip:+15551230001@x>\r\nP-Asserted-Identity: <tel:+15551230001>\r\n"
    "Remote-Party-ID: <sip:+15551230001@x>;party=calling\r\nP-Preferred-Identity: <sip:+15551230001@x>\r\n"
)
NAMES = (b"p-asserted-identity", b"remote-party-id", b"p-preferred-identity")


@pytest.mark.parametrize(
    ("privacy", "told"),
    [
        ("id", False), ("ID", False), ("user;id", False), ("header ; id ;critical", False),
        ("id, user", False), ("none", True), ("user;header", True), ("critical", True),
        ("identity", True), ("", True),
    ],
)  # fmt: skip
def test_provider_outside_of_the_trust_domain_is_told_what_the_caller_lets_it(
    privacy: str, told: bool
) -> None:
    line = f"Privacy: {privacy}\r\n" if privacy else ""
    play = Playbook(policy(provider={"trusted": False}))
    play.receive(invite(extra=CLAIMS + line))
    passed = play.last(CARRIER)
    assert [passed.first(name) is not None for name in NAMES] == [told] * 3
    assert passed.all(b"privacy") == ([privacy.encode()] if privacy else [])


def test_provider_of_the_trust_domain_is_told_and_keeps_it_to_itself() -> None:
    play = Playbook()
    play.receive(invite(extra=CLAIMS + "Privacy: id\r\n"))
    passed = play.last(CARRIER)
    assert all(passed.first(name) is not None for name in NAMES)
    assert passed.first(b"privacy") == b"id"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Privacy: history", False), ("Privacy: header;id", False), ("Privacy: session", False),
        ("Privacy: id", True), ("Privacy: none", True),
        ("History-Info: <sip:+15551230009@x?Privacy=history>;index=1.1", False),
        ("Diversion: <sip:+15551230009@x>;privacy=full", False),
        ('Diversion: <sip:+15551230009@x>;reason=busy; privacy="uri"', False),
        ("Diversion: <sip:+15551230009@x>;privacy=off", True),
    ],
)  # fmt: skip
def test_whom_the_call_was_meant_for_is_kept_from_a_provider_outside_of_the_trust_domain(
    line: str, told: bool
) -> None:
    """RFC 7044 §10.1, RFC 5806."""
    history = "History-Info: <sip:+15551230009@x>;index=1\r\nDiversion: <sip:+15551230009@x>\r\n"
    for trusted in (False, True):
        play = Playbook(policy(provider={"trusted": trusted}))
        play.receive(invite(extra=f"{history}{line}\r\n"))
        passed = play.last(CARRIER)
        for name in (b"history-info", b"diversion"):
            assert (passed.first(name) is not None) == (told or trusted), name


def test_requests_in_the_dialog_are_no_way_round_it() -> None:
    play = Playbook(policy(provider={"trusted": False}))
    ok = established(play)
    extra = CLAIMS.strip() + "\r\nPrivacy: id"
    for number, method in enumerate(("UPDATE", "INVITE", "INFO", "ACK")):
        play.receive(in_dialog(method, ok, cseq=2 + number, branch=f"z9hG4bK-{number}", extra=extra))
        assert not any(play.last(CARRIER).first(name) for name in NAMES)
    request = in_dialog("INFO", ok, cseq=1, from_callee=True)
    play.receive(request, CARRIER)
    play.receive(answer(play.last(PBX), 200, extra=extra), PBX)
    assert not any(play.last(CARRIER).first(name) for name in NAMES)


@pytest.mark.parametrize("trust", [True, False])
def test_trunk_that_is_not_believed_is_not_told_either(trust: bool) -> None:
    """What the called side wants kept: in answers, and in its requests."""
    extra = CLAIMS.strip() + "\r\nPrivacy: id"
    play = Playbook(policy(trunk={"trust_identity": trust}))
    play.receive(invite())
    outgoing = play.last(CARRIER)
    for status in (180, 200):
        play.receive(answer(outgoing, status, extra=extra), CARRIER)
        assert [play.last(PBX).first(name) is not None for name in NAMES] == [trust] * 3
    ok = play.last(PBX)
    play.receive(in_dialog("UPDATE", ok, cseq=1, from_callee=True, extra=extra), CARRIER)
    assert [play.last(PBX).first(name) is not None for name in NAMES] == [trust] * 3
    assert play.last(PBX).first(b"privacy") == b"id"
