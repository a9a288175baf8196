"""Which side of a call a request is of: its token says so, and each side is shown its own alone.

Over UDP a source address can be forged, and each side knows the other's tags, the Call-ID and the CSeq.
"""

from __future__ import annotations

import pytest

from proxy.call.forwarding import Identity
from tests.call.playbook import CARRIER, PBX, PROXY, Playbook, answer, established, in_dialog, invite, policy

CALLEES, CALLERS = b"ref1.callee-signed", b"ref1.caller-signed"
SECOND_PROXY = ("127.0.0.4", 5060)


def everything(play: Playbook, peer: tuple[str, int]) -> bytes:
    """All bytes that were sent to a peer."""
    return b"".join(data for to, _, data in play.sent if to == peer)


class Remembering(Playbook):
    """Keeps what `take` takes away."""

    def take(self) -> list[str]:
        self.kept = [*getattr(self, "kept", []), *self.sent]
        return super().take()

    def shown_to(self, peer: tuple[str, int]) -> bytes:
        return b"".join(data for to, _, data in [*getattr(self, "kept", []), *self.sent] if to == peer)


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "INFO", "REFER", "ACK"])
@pytest.mark.parametrize("from_callee", [True, False])
def test_side_that_is_forged_is_no_side(method: str, from_callee: bool) -> None:
    """All is right about it, the source address too, but for the token, which the forger was never shown."""
    play = Playbook()
    ok = established(play)
    source, own, other = (CARRIER, CALLEES, CALLERS) if from_callee else (PBX, CALLERS, CALLEES)
    data = in_dialog(method, ok, cseq=7, from_callee=from_callee)
    assert own in data
    play.receive(data.replace(own, other), source)
    assert play.take() == ([] if method == "ACK" else [f"{_name(source)} <- 481 ({method})"])
    assert play.commands == ["Reserve", "Answered"]
    play.receive(data, source)
    expected = "pbx" if from_callee else "carrier"
    if not (method == "REFER" and not from_callee):
        assert f"{expected} <- {method}" in play.take()


def _name(peer: tuple[str, int]) -> str:
    return "pbx" if peer == PBX else "carrier"


def test_token_in_the_request_uri_of_a_strict_router_names_the_side_too() -> None:
    play = Playbook()
    ok = established(play)
    for token, label in ((CALLEES, "carrier <- 481 (BYE)"), (CALLERS, "pbx <- BYE")):
        data = in_dialog("BYE", ok, cseq=7, from_callee=True, route=False)
        uri = b"sip:127.0.0.1:5060;lr;tw=" + (CALLERS if token == CALLEES else CALLEES)
        play.receive(data.replace(b"sip:alice@127.0.0.2:5070 ", uri + b" ", 1), CARRIER)
        assert play.take() == [label]


def test_neither_side_is_shown_the_others_token() -> None:
    """In provisional, final, failure and repeated responses, in either direction, and quoted anywhere."""
    play = Remembering()
    play.receive(invite())
    outgoing = play.last(CARRIER)
    assert CALLEES in play.last_bytes(CARRIER)
    quoted = f'Warning: 399 x "{CALLEES.decode()}"\r\nX-Route: <sip:p;lr;tw={CALLEES.decode()}>'
    for status in (180, 183, 200, 200):
        play.receive(answer(outgoing, status, extra=quoted), CARRIER)
        assert CALLERS in play.last_bytes(PBX)
    ok = play.last(PBX)
    play.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    for number, from_callee in enumerate([True, False, True, False]):
        source, target = (CARRIER, PBX) if from_callee else (PBX, CARRIER)
        own = (CALLEES if from_callee else CALLERS).decode()
        record = f"Record-Route: <sip:127.0.0.1:5060;lr;tw={own}>"
        request = in_dialog(
            ("INFO", "UPDATE", "INVITE", "OPTIONS")[number],
            ok,
            cseq=2 + number,
            from_callee=from_callee,
            branch=f"z9hG4bK-{number}",
            extra=f"X-Seen: {own}\r\n{record}",
        )
        play.receive(request, source)
        passed = play.last(target)
        play.receive(answer(passed, 200, extra=f"X-Seen: {own}"), target)
    play.receive(in_dialog("BYE", ok, cseq=9))
    play.receive(answer(play.last(CARRIER), 200, extra=quoted), CARRIER)
    assert CALLEES not in play.shown_to(PBX)
    assert CALLERS not in play.shown_to(CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]


def test_token_in_a_body_is_rewritten_and_the_length_stays_true() -> None:
    """A NOTIFY or a 483 may quote the request that it is about."""
    play = Playbook()
    ok = established(play)
    body = b"Record-Route: <sip:127.0.0.1;lr;tw=" + CALLEES + b">\r\n"
    data = in_dialog("NOTIFY", ok, cseq=1, from_callee=True)
    data = data.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: %d\r\n\r\n" % len(body) + body)
    play.receive(data, CARRIER)
    notify = play.last(PBX)
    assert notify.body == body.replace(CALLEES, CALLERS)
    assert notify.first(b"content-length") == str(len(notify.body)).encode()


def test_double_record_route_is_rewritten_in_both_places() -> None:
    """RFC 5658."""
    play = Playbook(
        policy(trunk={"allowed_sip_ips": ["127.0.0.2", "::2"]}),
        identities={
            ("::1", 5060): Identity("udp", b"[::1]:5060"),
            PROXY: Identity("udp", b"127.0.0.1:5060"),
        },
    )
    play.receive(invite(), ("::2", 5070), ("::1", 5060))
    outgoing = play.last(CARRIER)
    play.receive(answer(outgoing, 200), CARRIER)
    (shown,) = [m for to, m, _ in play.sent if to[0] == "::2" and getattr(m, "status", 0) == 200]
    routes = shown.all(b"record-route")
    assert len(routes) == 2
    assert all(CALLERS in route for route in routes)
    assert all(CALLEES in route for route in outgoing.all(b"record-route"))


def test_token_of_one_call_is_none_of_another() -> None:
    play = Playbook()
    first = established(play)
    second = established(play, branch="z9hG4bK-second", call_id="call-2")
    data = in_dialog("BYE", second, cseq=2).replace(b"ref2.", b"ref1.")
    play.receive(data)
    assert play.take() == ["pbx <- 481 (BYE)"]
    play.receive(in_dialog("BYE", first, cseq=2, branch="z9hG4bK-own"))
    assert play.take() == ["carrier <- BYE"]
