"""A call that is remembered by one core and gone on with by another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policy.rating.rate import Rate
from proxy.call.commands import Changed
from proxy.call.forwarding import Identity
from proxy.call.memory import Forgotten, Terms, recall, remember
from proxy.call.session import CallSession
from proxy.call.validation import HIGHEST_CSEQ
from proxy.ledger.redis_ledger import MOST_STATE
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite, policy

TOKENS = (b"ref1.callee-signed", b"ref1.caller-signed")
SURVIVOR = ("127.0.0.7", 5060)


def left(play: Playbook) -> bytes:
    return remember(play.sessions[0], play.now)


def survivor(**settings: Any) -> Playbook:
    return Playbook(identities={SURVIVOR: Identity("udp", b"127.0.0.7:5060")}, **settings)


def adopted(play: Playbook, state: bytes, *, probe_in: float = 0.0) -> CallSession:
    compiled = play.store.policy

    def terms(trunk: str | None, provider: str | None) -> Terms:
        return Terms(compiled.trunks.get(trunk or ""), compiled.providers.get(provider or ""))

    session = recall(play.core, "ref1", TOKENS, state, 990.0, terms, play.now)
    play.core.resume(session, play.now + probe_in, play.now)
    return session


def test_what_is_remembered_of_the_terms() -> None:
    first = Playbook()
    established(first)
    session = adopted(survivor(), left(first))
    assert session.answered_at == 990.0
    verdict = session.verdict
    assert (verdict.called, verdict.country, verdict.emergency) == ("+442071838750", "GB", False)
    assert verdict.trunk is not None
    assert verdict.trunk.name == "office"
    assert session.attempt.source == PBX[0]


@pytest.mark.parametrize("from_callee", [False, True])
def test_either_side_hangs_up(from_callee: bool) -> None:
    first = Playbook()
    ok = established(first)
    second = survivor()
    adopted(second, left(first), probe_in=60.0)
    source, target = (CARRIER, PBX) if from_callee else (PBX, CARRIER)
    second.receive(in_dialog("BYE", ok, cseq=7, from_callee=from_callee), source, SURVIVOR)
    request = second.last(target)
    assert request.method == b"BYE"
    assert request.uri == (b"sip:alice@127.0.0.2:5070" if from_callee else b"sip:carrier@127.0.0.3:5090")
    second.receive(answer(request, 200), target, SURVIVOR)
    assert second.commands == ["Ended"]
    assert second.core.sessions == {}


def test_an_adopted_call_is_probed_below_the_last_cseq_and_ended_above_all() -> None:
    first = Playbook()
    established(first)
    second = survivor()
    session = adopted(second, left(first))
    second.pass_time(0.1)
    assert second.take() == ["carrier <- OPTIONS", "pbx <- OPTIONS"]
    session.hang_up(b"SIP;cause=200", second.now)
    second.pump()
    bye = second.last(CARRIER)
    # There may have been requests that nobody remembered.
    assert (bye.method, bye.cseq > 60_000) == (b"BYE", True)


@pytest.mark.parametrize(("every", "later"), [(0, []), (60, ["carrier <- OPTIONS", "pbx <- OPTIONS"])])
def test_an_adopted_call_is_probed_once_and_then_as_its_trunk_wants(every: int, later: list[str]) -> None:
    first = Playbook()
    established(first)
    second = survivor(compiled=policy(trunk={"call_probe_seconds": every}))
    adopted(second, left(first))
    second.pass_time(0.1)
    for remote in (CARRIER, PBX):
        second.receive(answer(second.last(remote), 200), remote, SURVIVOR)
    second.take()
    second.pass_time(59)
    assert second.take() == []
    second.pass_time(1)
    assert second.take() == later


def test_an_adopted_call_with_the_highest_of_numbers_can_still_be_ended() -> None:
    first = Playbook()
    established(first, cseq=HIGHEST_CSEQ)
    second = survivor()
    session = adopted(second, left(first), probe_in=60.0)
    session.hang_up(b"SIP;cause=200", second.now)
    second.pump()
    assert second.last(CARRIER).method == b"BYE"


def test_what_is_remembered_of_the_longest_messages_can_be_kept() -> None:
    first = Playbook()
    name = "\u00e9\\\\" * 3600  # as long as a head may be, and of what JSON writes longest
    data = invite(tag="pbx1").replace(b'"Alice"', b'"' + name.encode() + b'"')
    first.receive(data)
    first.receive(answer(first.last(CARRIER), 200), CARRIER)
    state = left(first)
    assert len(state) <= MOST_STATE
    assert adopted(survivor(), state).request.first(b"from") == first.sessions[0].request.first(b"from")


def test_what_changed_after_the_answer_is_remembered() -> None:
    first = Playbook()
    ok = established(first)
    first.receive(in_dialog("UPDATE", ok, cseq=2, extra="Contact: <sip:moved@127.0.0.2:5999>\r\n"))
    first.receive(answer(first.last(CARRIER), 200), CARRIER)
    assert isinstance(first.executed[-1], Changed)
    second = survivor()
    session = adopted(second, left(first), probe_in=60.0)
    assert session.caller.target == b"sip:moved@127.0.0.2:5999"
    assert session.caller.cseq == 2


def test_a_call_is_remembered_only_while_it_lives() -> None:
    play = Playbook()
    ok = established(play)
    session = play.sessions[0]
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    assert remember(session, play.now) == b""


def test_a_trunk_that_is_gone_is_no_reason_to_forget_the_call() -> None:
    first = Playbook()
    ok = established(first)
    state = json.loads(left(first))
    state["trunk"] = "gone"
    second = survivor()
    session = adopted(second, json.dumps(state).encode(), probe_in=60.0)
    assert session.verdict.trunk is None
    second.receive(in_dialog("BYE", ok, cseq=2), PBX, SURVIVOR)
    assert second.take() == ["carrier <- BYE"]


@pytest.mark.parametrize(
    "state",
    [b"", b"{}", b"[]", b'{"form":2}', b"\xff", b'{"form":1,"invite":7}'],
)
def test_what_cannot_be_read_is_said_so(state: bytes) -> None:
    with pytest.raises(Forgotten):
        adopted(survivor(), state)


def test_every_truncation_is_forgotten_and_nothing_else_is_raised() -> None:
    play = Playbook()
    established(play)
    kept = json.loads(left(play))
    for name in kept:
        broken = {key: value for key, value in kept.items() if key != name}
        with pytest.raises(Forgotten):
            adopted(survivor(), json.dumps(broken).encode())


def test_an_instance_without_such_a_listener_leaves_the_call_to_others() -> None:
    first = Playbook()
    established(first)
    second = Playbook(identities={("::1", 5060): Identity("udp", b"[::1]:5060")})
    with pytest.raises(Forgotten, match="no listener here for udp"):
        adopted(second, left(first))


def test_what_is_remembered_is_json_whatever_the_peers_wrote() -> None:
    first = Playbook(policy(trunk={"trust_identity": True}))
    name = '"\u00e9 \x7f \\" \\\\ \u2028"'
    data = invite(tag="pbx1", extra="Supported: timer\r\nSession-Expires: 600\r\n")
    first.receive(data.replace(b'"Alice"', name.encode()))
    first.receive(answer(first.last(CARRIER), 200), CARRIER)
    first.sessions[0].record = ('"called":"a\\"b"', '"checks":[]')
    session = first.sessions[0]
    dialog = next(iter(session.dialogs.values()))
    state = json.loads(left(first))
    assert state["record"] == list(session.record)
    assert f"From: {name}".encode() in state["invite"].encode("latin-1")
    caller = session.caller
    assert state["caller"] == [caller.target.decode(), list(map(_listed, caller.flow)), True, 1]
    assert state["emergency"] is False
    assert state["rate"] is None
    assert dialog.expires_at is not None
    assert state["dialogs"][0]["expires"] == dialog.expires_at - first.now == 600.0
    assert state["dialogs"][0]["acknowledged"] is False


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def test_a_price_is_remembered() -> None:
    first = Playbook()
    established(first)
    session = first.sessions[0]
    session.verdict.rate = Rate("44", "United Kingdom", "USD", 60_000_000, minimum_nano=7)
    assert adopted(survivor(), left(first)).verdict.rate == session.verdict.rate
