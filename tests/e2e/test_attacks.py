"""The attack cases of tests/cases against the running program, and after each of them what must always hold.

docs/attacks.md explains the classes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.attack_stage import FIXTURE, SETTLE_SECONDS, Sink, Stage, attack_configuration, load
from tests.e2e.peer import Peer, refusing
from tests.e2e.sip_text import Message, answer, fresh
from tests.e2e.stream_peer import StreamPeer
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

MESSAGES = [case for name in ("numbers", "routes", "sources", "framing", "text") for case in load(name)]
RESPONSES, DIALOGS = load("responses"), load("dialogs")
BUSY = "486 Busy Here"
PLAIN = FIXTURE["trunks"]["plain"]["source"]
WASHINGTON = "+12025550123"
QUIET_SECONDS = 0.2
STATUS = {"NUMBER": 484, "ROUTE": 404}  # all others are 403


@pytest.fixture(scope="module")
def stage(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("attacks")
    proxy = serve_module(attack_configuration(folder, redis_server.url, provider.address))
    proxy.folder = folder
    made = Stage(proxy, provider, Sink(), redis_server)
    yield made
    made.close()


def ids(cases: list[dict[str, Any]]) -> list[str]:
    return [case["id"] for case in cases]


def source_of(case: dict[str, Any]) -> str:
    return str(case.get("source") or FIXTURE["trunks"][case.get("trunk", "plain")]["source"])


def outcome(stage: Stage, caller: Peer, branch: str, silence: bool) -> Message | None:
    """The final response to this branch; None when none comes, where that may be."""

    def found(least: int = 200) -> Message | None:
        for datagram in list(caller.received):
            message = datagram.message
            if message.status >= least and any(branch in via for via in message.all("via")[:1]):
                return message
        return None

    if silence:
        if not isinstance(caller, StreamPeer):
            stage.fence(caller.address[0])
        deadline = time.monotonic() + QUIET_SECONDS
        while found(100) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if found(100) is None:
            return None
    # What was begun comes to an end, whoever is slow.
    return eventually(found, SETTLE_SECONDS, "a final response")


def check(stage: Stage, expect: dict[str, Any], final: Message | None, sent: list[str]) -> None:
    """The response and the Request-URIs at the provider are what the case says."""
    if "sent" in expect:
        assert final is not None
        assert final.start == f"SIP/2.0 {BUSY}", final
        number = expect["sent"]
        assert sent == [f"sip:{number}@{stage.provider.host_port}"]
        return
    if "refused" in expect:
        code = expect["refused"]
        assert final is not None
        assert final.status == STATUS.get(code, 403), final
        assert final.one("warning").startswith(f'399 trunkwarden "{code} '), final
        assert not sent
        return
    if final is None:
        assert "status" not in expect or expect.get("or_silence"), "no response came"
        return
    assert not expect.get("silence"), final
    if "status" not in expect:
        return
    allowed = expect["status"] if isinstance(expect["status"], list) else [expect["status"]]
    assert final.status in allowed, final
    assert len(sent) == (final.status == 486)


@pytest.mark.parametrize("case", MESSAGES, ids=ids(MESSAGES))
def test_message(stage: Stage, case: dict[str, Any]) -> None:
    stage.provider.reaction = refusing(BUSY)
    before = len(stage.first_invites())
    expect, branch = case["expect"], fresh("z9hG4bK-attack-")
    silent = bool(expect.get("silence") or expect.get("or_silence") or set(expect) == {"closes"})
    if case.get("transport") == "tcp":
        address = stage.proxy.sockets["tcp"]
        caller: Peer = StreamPeer(source_of(case), address)
    else:
        address, caller = stage.proxy.address, stage.caller(source_of(case))
    try:
        caller.send(stage.message(case, caller, branch), address)
        final = outcome(stage, caller, branch, silent)
        if final is not None and final.all("cseq") == ["1 INVITE"]:
            stage.acknowledge(caller, final)
        check(stage, expect, final, [invite.uri for invite in stage.first_invites()[before:]])
        if expect.get("closes"):
            assert isinstance(caller, StreamPeer)
            eventually(lambda: caller.ended, SETTLE_SECONDS, "the end of the connection")
    finally:
        if isinstance(caller, StreamPeer):
            caller.close()
    stage.holds()


@pytest.mark.parametrize("case", RESPONSES, ids=ids(RESPONSES))
def test_response(stage: Stage, case: dict[str, Any]) -> None:
    """The caller gets a final response, and nobody is called but the provider, once."""
    caller = stage.caller(PLAIN, "calls")
    contact = stage.filled(case["contact"], caller)
    extra = (("Contact", contact),) if contact else ()

    def react(message: Message) -> list[bytes]:
        if message.method != "INVITE":
            return []
        return [answer(message, case["answer"], tag=fresh("callee"), extra=extra)]

    stage.provider.reaction = react
    before = len(stage.first_invites())
    call = OutgoingCall(caller, stage.proxy.address, WASHINGTON).send()

    assert call.final(SETTLE_SECONDS).status >= 300
    assert len(stage.first_invites()) == before + 1
    stage.holds()


@pytest.mark.parametrize("case", DIALOGS, ids=ids(DIALOGS))
def test_within_a_live_call(stage: Stage, case: dict[str, Any]) -> None:
    """What a caller sends in its call goes to the recorded target or nowhere, and the call can be ended."""
    stage.provider.reaction = None
    caller, expect = stage.caller(PLAIN, "calls"), case["expect"]
    call = OutgoingCall(caller, stage.proxy.address, WASHINGTON).send()
    far_end = incoming(stage.provider, stage.proxy.address, call, SETTLE_SECONDS)
    far_end.accept()
    dialog = call.answered(SETTLE_SECONDS)
    far_end.expect("ACK", SETTLE_SECONDS)
    stage.live = 1
    uri = stage.filled(case["uri"], caller) if "uri" in case else None
    lines = [stage.filled(line, caller).split(": ", 1) for line in case.get("extra", ())]
    extra = tuple((name, value) for name, value in lines)
    if not case.get("replace_contact"):
        extra = (("Contact", f"<sip:desk@{caller.host_port}>"), *extra)

    method, ended = case["method"], False
    caller.send(dialog.request(method, uri=uri, extra=extra), stage.proxy.address)
    if expect.get("silence"):
        stage.fence(PLAIN)
    elif not expect.get("target"):
        assert caller.expect_final(method, SETTLE_SECONDS, call.call_id).status == expect["status"]
    else:
        ended = arrives_or_is_refused(stage, call, far_end, method, expect)
    assert not stage.provider.requests("REFER", call.call_id)
    if ended:
        stage.live = 0
    stage.holds()
    if not ended:
        hang_up(call, dialog, far_end)
        stage.live = 0
        stage.holds()


def arrives_or_is_refused(stage: Stage, call: OutgoingCall, far_end, method: str, expect) -> bool:
    """Whether the call ended with it. What arrives has the recorded target as its Request-URI."""

    def arrived() -> Message | None:
        found = stage.provider.requests(method, call.call_id)
        return next((message for message in found if message.tag("to") is not None), None)

    def refused() -> Message | None:
        for datagram in list(call.peer.received):
            message = datagram.message
            own = message.is_response and message.one("call-id") == call.call_id
            if own and message.method == method and message.status >= 300:
                return message
        return None

    eventually(lambda: arrived() or refused(), SETTLE_SECONDS, "what became of it")
    request = arrived()
    if request is None:
        response = refused()
        assert response is not None
        assert response.status in expect.get("or_status", ()), response
        return False
    assert request.uri == f"sip:carrier@{stage.provider.host_port}"
    assert not request.all("route")
    far_end.reply(request)
    response = call.peer.expect_final(method, SETTLE_SECONDS, call.call_id)
    assert response.status == 200
    return method == "BYE"


def test_every_line_that_was_written_is_one_json_object_in_ascii(stage: Stage) -> None:
    """O01, after all that the cases above sent: no byte of theirs ends a line or reaches a terminal."""
    eventually(stage.proxy.records, what="records")
    records = (
        (stage.proxy.folder / "records.jsonl").read_text().rpartition("\n")[0]
    )  # one may be half written
    lines = stage.proxy.stderr().rpartition("\n")[0].split("\n") + records.split("\n")
    # What is said of the configuration comes before the log, and is for people.
    written = [line for line in lines if line and not line.startswith("warning: ")]
    assert len(written) > 100
    for line in written:
        assert line.isascii(), line
        assert line.isprintable(), line
        assert isinstance(json.loads(line), dict)


def test_there_are_enough_cases_and_none_twice() -> None:
    names = ids([*MESSAGES, *RESPONSES, *DIALOGS])
    assert len(names) == len(set(names)) >= 400
