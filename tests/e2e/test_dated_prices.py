"""Prices that a deck has dated come into force while the program runs; live calls keep theirs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.configuration import LONDON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
AHEAD = timedelta(seconds=12)  # the program must be up, and the first call too, before the price changes
OLD, NEW = "0.06", "0.6"


@pytest.fixture
def changes_at() -> datetime:
    return datetime.now(UTC) + AHEAD


@pytest.fixture
def proxy(serve, redis_server, provider, tmp_path, changes_at) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path,
        redis_server.url,
        [provider_entry("carrier", provider.address, rate_deck="wholesale")],
        [trunk("desk", DESK, rate_deck="dated", threshold_amount="100.00")],
    )
    config["rate_decks"] |= {name: {"file": str(tmp_path / f"{name}.csv")} for name in ("dated", "wholesale")}
    moment = changes_at.isoformat()
    (tmp_path / "dated.csv").write_text(
        f"prefix,rate_per_minute,effective_date,end_date\n44,{OLD},,{moment}\n44,{NEW},{moment},\n"
    )
    (tmp_path / "wholesale.csv").write_text("prefix,rate_per_minute\n44,0.0300\n")
    started = serve(config)
    started.folder = tmp_path
    return started


def line_of(proxy: Trunkwarden, call: OutgoingCall, kind: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        lines = proxy.records()
        return [line for line in lines if (line["call_id"], line["record"]) == (call.call_id, kind)]

    return eventually(found, what=f"the {kind} record")[0]


def test_new_price_holds_for_new_calls_and_live_ones_keep_theirs(
    proxy, provider, new_peer, changes_at
) -> None:
    desk = new_peer(DESK)

    def place() -> tuple[OutgoingCall, Any, Any]:
        call = OutgoingCall(desk, proxy.address, LONDON).send()
        far_end = incoming(provider, proxy.address, call)
        far_end.accept()
        return call, call.answered(), far_end

    before = place()
    assert datetime.now(UTC) < changes_at, "the machine was too slow for this test"
    assert line_of(proxy, before[0], "decision")["rate"] == OLD

    def price_now() -> str:
        asked = {"source": DESK, "to": LONDON}
        return str(proxy.http.post("/v1/explain", json=asked).json()["rate"])

    eventually(lambda: price_now() == NEW, AHEAD.total_seconds() + 5, "the new price")
    assert datetime.now(UTC) >= changes_at
    after = place()
    for call, dialog, far_end in (before, after):
        hang_up(call, dialog, far_end)

    ended = [line_of(proxy, call, "call") for call, _, _ in (before, after)]
    assert [(line["rate"], line["cost"]) for line in ended] == [(OLD, "0.06"), (NEW, "0.60")]
    assert [line["provider_cost"] for line in ended] == ["0.03", "0.03"]
    assert proxy.usage("desk")["spent_amount"] == "0.66"
    said = command("rate", "-c", str(proxy.file), "--deck", "dated", LONDON)
    assert f"rate_per_minute: {NEW}" in said.stdout + said.stderr
