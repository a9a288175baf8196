"""Numbers as objects of the policy: whose callers may show one, on the wire, and after it was moved."""

from __future__ import annotations

import pytest

from tests.e2e.configuration import WASHINGTON, trunk
from tests.e2e.facade_stage import outcome, seconds_until, signed_in, store_configuration
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import CLI, OutgoingCall, incoming

DESK, HALL, DRAWING = "127.0.6.1", "127.0.6.2", "127.0.6.3"
OWN, POOL = "+442079460500", "+442079460501"
WITHIN = 1.0


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    strict = {"account": "acme", "on_cli_mismatch_action": "reject_call"}
    config = store_configuration(
        tmp_path_factory.mktemp("numbers"),
        redis_server.url,
        provider,
        [
            trunk("desk", DESK, **strict),
            trunk("hall", HALL, **strict),
            trunk("drawing", DRAWING, on_cli_mismatch_action="randomize_cli"),
        ],
        dids=[{"number": OWN, "trunk": "desk"}, {"name": "pool", "number": POOL, "trunk": "drawing"}],
    )
    return signed_in(serve_module(config))


@pytest.fixture
def ask(proxy, busy, new_peer):
    """What becomes of a call from this source that says it is `OWN`."""
    peers = {source: new_peer(source) for source in (DESK, HALL)}
    return lambda source, cli=OWN: outcome(peers[source], proxy, WASHINGTON, cli=cli)


def explained(proxy: Trunkwarden, source: str) -> str | None:
    asked = {"source": source, "to": WASHINGTON, "from": f"sip:{OWN}@{source}"}
    answer = proxy.http.post("/v1/explain", json=asked).json()
    return "admitted" if answer["decision"] == "admitted" else answer["reason"]


def test_a_call_is_sent_with_the_number_that_the_trunk_was_given(proxy, provider, new_peer) -> None:
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON, cli=OWN).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")
    call.final()
    assert far_end.invite.one("from") == call.from_value

    drawn = OutgoingCall(new_peer(DRAWING), proxy.address, WASHINGTON, cli=CLI).send()
    far_end = incoming(provider, proxy.address, drawn)
    far_end.respond("486 Busy Here")
    drawn.final()
    assert far_end.invite.one("from") == drawn.from_value.replace(CLI, POOL).removeprefix('"Desk" ')


def test_another_number_is_refused(proxy, provider, new_peer) -> None:
    for source, cli in ((DESK, POOL), (DESK, CLI), (HALL, OWN)):
        call = OutgoingCall(new_peer(source), proxy.address, WASHINGTON, cli=cli).send()
        assert call.final().start == "SIP/2.0 403 Caller Identity Not Allowed"
        assert provider.requests("INVITE", call.call_id) == []


def test_a_number_that_is_moved_is_followed_within_a_second(proxy, ask) -> None:
    took = []
    for trunk_name, has, lacks in (("hall", HALL, DESK), ("desk", DESK, HALL)) * 2:
        moved = proxy.http.patch(f"/v1/dids/{OWN[1:]}", json={"trunk": trunk_name})
        assert (moved.status_code, moved.json()["trunk"]) == (200, trunk_name), moved.text
        took.append(max(seconds_until("admitted", lambda has=has: ask(has)),
                        seconds_until("CLI", lambda lacks=lacks: ask(lacks))))  # fmt: skip
        assert [explained(proxy, source) for source in (has, lacks)] == ["admitted", "CLI"]
    assert min(took) < WITHIN, took


def test_a_number_of_nobody_is_nobodys(proxy, ask) -> None:
    assert ask(DESK) == "admitted"
    assert proxy.http.patch(f"/v1/dids/{OWN[1:]}", json={"trunk": None}).status_code == 200
    seconds_until("CLI", lambda: ask(DESK))
    assert ask(HALL) == "CLI"
    assert proxy.http.patch(f"/v1/dids/{OWN[1:]}", json={"trunk": "desk"}).status_code == 200
    seconds_until("admitted", lambda: ask(DESK))
