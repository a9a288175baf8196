"""Decisions and call detail records: one JSON line each, with the contract's fields, also over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.configuration import PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import CLI, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
FIELDS = {
    "call_id", "ref", "trunk", "account", "profile", "provider", "source", "transport", "cli",
    "cli_sent", "dialled", "called", "country", "destination", "decision", "reason", "checks",
    "policy_version", "decided_at", "answered_at", "ended_at", "duration_ms", "billed_seconds", "rate",
    "cost", "currency", "sip_status", "ended_by",
}  # fmt: skip


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    folder = tmp_path_factory.mktemp("records")
    config = configuration(
        folder,
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", DESK, account="acme", profile="office", rate_deck="retail", threshold_amount="50.00")],
        accounts=[{"name": "acme"}],
        profiles=[{"name": "office"}],
    )
    started = serve_module(config)
    started.folder = folder
    return started


def lines_of(proxy: Trunkwarden, call_id: str, count: int) -> list[dict[str, Any]]:
    """The record lines of a call, once there are so many."""

    def found() -> list[dict[str, Any]]:
        lines = [line for line in proxy.records() if line["call_id"] == call_id]
        return lines if len(lines) >= count else []

    return eventually(found, what=f"{count} lines of {call_id}")


def test_refused_call_leaves_a_decision(proxy, new_peer) -> None:
    call = OutgoingCall(new_peer(DESK), proxy.address, PARIS).send()
    call.final()

    (line,) = lines_of(proxy, call.call_id, 1)

    assert set(line) >= FIELDS
    assert (line["decision"], line["reason"], line["sip_status"]) == ("refused", "COUNTRY", 403)
    assert (line["trunk"], line["account"], line["profile"], line["source"]) == (
        "desk",
        "acme",
        "office",
        DESK,
    )
    assert (line["called"], line["dialled"], line["cli"]) == (PARIS, PARIS, CLI)
    assert line["checks"][-1]["name"] == "country"
    assert line["policy_version"] == proxy.policy_version()
    assert line["answered_at"] is None


def test_answered_call_leaves_a_decision_and_a_detail_record(proxy, provider, new_peer) -> None:
    began = time.monotonic()
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    hang_up(call, call.answered(), far_end)
    took = time.monotonic() - began

    decision, detail = lines_of(proxy, call.call_id, 2)

    assert set(decision) >= FIELDS
    assert set(detail) >= FIELDS
    assert (decision["decision"], decision["reason"]) == ("admitted", None)
    assert decision["ref"] == detail["ref"]
    assert decision["ended_at"] is None
    assert (detail["provider"], detail["country"], detail["currency"]) == ("carrier", "US", "USD")
    assert detail["destination"] == "Washington"
    assert detail["sip_status"] == 200
    assert detail["decided_at"] <= detail["answered_at"] <= detail["ended_at"]
    assert 0 <= detail["duration_ms"] <= took * 1_000
    assert detail["billed_seconds"] == 60
    assert float(detail["cost"]) == 0.1
    assert isinstance(detail["cost"], str)
    assert detail["ended_by"]


@pytest.mark.parametrize("status", ["486 Busy Here", "503 Service Unavailable"])
def test_failed_call_leaves_its_status(proxy, provider, new_peer, status: str) -> None:
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    incoming(provider, proxy.address, call).respond(status)
    heard = call.final().status

    _, detail = lines_of(proxy, call.call_id, 2)

    assert (detail["decision"], detail["sip_status"], detail["answered_at"]) == ("admitted", heard, None)
    assert float(detail["cost"] or 0) == 0


def test_newest_decision_comes_first_over_http(proxy, new_peer) -> None:
    calls = [OutgoingCall(new_peer(DESK), proxy.address, PARIS).send() for _ in range(3)]
    for call in calls:
        call.final()

    def newest() -> bool:
        decisions = proxy.get("/v1/decisions?limit=3")["decisions"]
        return {one["call_id"] for one in decisions} == {call.call_id for call in calls}

    eventually(newest, what="the decisions")
    decided = [one["decided_at"] for one in proxy.get("/v1/decisions?limit=3")["decisions"]]
    assert decided == sorted(decided, reverse=True)


def test_hostile_header_stays_one_line(proxy, new_peer) -> None:
    """What cannot be read is refused before it is a call; what can is recorded without a control
    character."""
    unreadable = OutgoingCall(new_peer(DESK), proxy.address, PARIS, call_id="o01\x1b[2J").send()
    assert unreadable.peer.expect(lambda message: message.status >= 400, "refusal").message.status == 400
    dialled = f"{PARIS}%0d%0a%1b%5b31m%22%7d"
    uri = f"sip:{dialled}@127.0.0.1"
    hostile = OutgoingCall(new_peer(DESK), proxy.address, PARIS, uri=uri, cli="%0a%1b[31m").send()
    assert hostile.final().status == 484

    (line,) = lines_of(proxy, hostile.call_id, 1)
    assert (line["decision"], line["dialled"]) == ("refused", dialled)
    for text in ((proxy.folder / "records.jsonl").read_bytes(), proxy.stderr().encode()):
        assert b"\x1b" not in text
        assert b"\r" not in text
