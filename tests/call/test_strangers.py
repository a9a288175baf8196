"""Scanners: what strangers send costs nothing, keeps nothing and gives them nothing to send on (O02, O07)."""

from __future__ import annotations

import pytest

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

SHORTEST = (
    b"%s sip:1@a SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1%s\r\nf:<sip:a>;tag=1\r\nt:<sip:b>%s\r\ni:1\r\n"
    b"CSeq:1 %s\r\n\r\n"
)
METHODS = (b"INVITE", b"OPTIONS", b"REGISTER", b"BYE", b"CANCEL", b"ODDITY")


def test_flood_of_unknown_sources_leaves_nothing() -> None:
    play = Playbook()
    received = 0
    for number in range(3000):
        source = (f"203.0.{number % 250}.{number % 249 + 1}", 1024 + number)
        data = invite(
            f"sip:+4420718{number:05}@127.0.0.1",
            branch=f"z9hG4bK-{number}",
            call_id=f"scan-{number}",
            tag=f"t{number}",
            body=b"",
            extra=f"User-Agent: friendly-scanner {number}\r\n",
        )
        received += len(data)
        play.receive(data, source)
    assert set(play.commands) == {"StrangerRefused"}
    assert sum(len(data) for _, _, data in play.sent) <= 1.5 * received
    assert_nothing_left(play)
    assert not play.store.policy._source_cache
    assert len(play.counters.messages) < 10
    assert not play.counters.malformed


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rport", [b"", b";rport"])
@pytest.mark.parametrize("tag", [b"", b";tag=2"])
def test_no_request_is_answered_by_more_than_it_brought(method: bytes, rport: bytes, tag: bytes) -> None:
    """Whoever forges a source gains nothing by us, however short his request is."""
    for padding in range(0, 400, 7):
        play = Playbook()
        data = SHORTEST % (method, rport, tag, method)
        if padding:
            data = data.replace(b"\r\n\r\n", b"\r\nX:" + b"x" * padding + b"\r\n\r\n")
        play.receive(data, STRANGER)
        assert sum(len(sent) for _, _, sent in play.sent) <= 1.5 * len(data), padding


@pytest.mark.parametrize("method", METHODS)
def test_known_sources_are_answered_however_short_they_are(method: bytes) -> None:
    play = Playbook()
    play.receive(SHORTEST % (method, b"", b"", method), PBX)
    assert play.sent or method == b"CANCEL"


@pytest.mark.parametrize("method", ["INVITE", "BYE", "OPTIONS", "ACK", "INFO"])
@pytest.mark.parametrize("to_tag", ["", "invented"])
def test_silence_is_silence_for_made_up_dialogs_too(method: str, to_tag: str) -> None:
    """With `unknown_source: drop` nobody learns that somebody is here."""
    play = Playbook(settings=CallSettings(drop_strangers=True))
    play.receive(invite(method=method, to_tag=to_tag, body=b""), STRANGER)
    assert play.take() == []


def test_late_provider_is_told_although_strangers_are_not() -> None:
    play = Playbook(settings=CallSettings(drop_strangers=True))
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2))
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=9, from_callee=True), CARRIER)
    assert play.take() == ["carrier <- 481 (BYE)"]


def test_stranger_who_saw_the_token_of_a_call_meets_silence_too() -> None:
    play = Playbook(settings=CallSettings(drop_strangers=True))
    play.stack.answers = {CARRIER[0]}.__contains__
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=9, from_callee=True), STRANGER)
    assert play.take() == []
    play.receive(in_dialog("BYE", ok, cseq=9, from_callee=True), CARRIER)
    assert play.take() == ["pbx <- BYE"]


def test_any_number_of_distinct_things_makes_few_series() -> None:
    """O02: methods, numbers and user agents are no labels."""
    play = Playbook()
    for number in range(2000):
        source = PBX if number % 2 else STRANGER
        play.receive(invite(method=f"ODD{number}", branch=f"z9hG4bK-{number}", body=b""), source)
        play.receive(
            b"SIP/2.0 %d X\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK%d\r\n\r\n" % (100 + number % 600, number)
        )
    assert len(play.counters.messages) < 20
    assert len(play.counters.malformed) < 20


def test_long_values_fill_no_memory() -> None:
    """What is remembered for speed is short, whoever chose it."""
    from proxy.call.dialog import _kept_target, _kept_uri_of

    play = Playbook()
    before = _kept_uri_of.cache_info().currsize, _kept_target.cache_info().currsize
    for number in range(50):
        long = "x" * 3000 + str(number)
        data = invite(branch=f"z9hG4bK-{number}", call_id=str(number), body=b"")
        data = data.replace(b'"Alice" <sip:', f'"{long}" <sip:'.encode())
        play.receive(data, STRANGER)
        play.receive(data.replace(b"<sip:alice@", f"<sip:{long}@".encode()))
    assert (_kept_uri_of.cache_info().currsize, _kept_target.cache_info().currsize) == before


def test_headers_of_the_provider_cannot_be_written_by_the_caller() -> None:
    """The provider may tell customers apart by them: it reads the operator's word."""
    play = Playbook(policy(provider={"tech_headers": {"X-Account": "paying"}}))
    play.receive(invite(extra="x-account: somebody-else\r\nX-Account : third\r\nX-Other: kept\r\n"))
    outgoing = play.last(CARRIER)
    assert outgoing.all(b"x-account") == [b"paying"]
    assert outgoing.first(b"x-other") == b"kept"
