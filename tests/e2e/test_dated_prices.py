"""Prices that a deck has dated come into force while the program runs; live calls keep theirs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.configuration import LONDON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
# The program must have read the deck, and the first call be up, before the price changes: a half for each.
AHEAD_SECONDS = 4.0
OLD, NEW = "0.06", "0.6"


def write(deck: Path, moment: str) -> None:
    deck.write_text(
        f"prefix,rate_per_minute,effective_date,end_date\n44,{OLD},,{moment}\n44,{NEW},{moment},\n"
    )


@pytest.fixture
def proxy(serve, redis_server, provider, tmp_path) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path,
        redis_server.url,
        [provider_entry("carrier", provider.address, rate_deck="wholesale")],
        [trunk("desk", DESK, rate_deck="dated", threshold_amount="100.00")],
    )
    config["rate_decks"] |= {name: {"file": str(tmp_path / f"{name}.csv")} for name in ("dated", "wholesale")}
    write(tmp_path / "dated.csv", "2100-01-01T00:00:00Z")
    (tmp_path / "wholesale.csv").write_text("prefix,rate_per_minute\n44,0.0300\n")
    started = serve(config)
    started.folder = tmp_path
    return started


@pytest.fixture
def changes_at(proxy, tmp_path) -> datetime:
    """When the price changes, in a deck that the running program has read."""

    def read(moment: datetime) -> None:
        version = proxy.policy_version()
        write(tmp_path / "dated.csv", moment.isoformat())
        proxy.reload()
        eventually(lambda: proxy.policy_version() != version, what="the deck to be read")

    ahead = AHEAD_SECONDS
    while True:
        moment = datetime.now(UTC) + timedelta(seconds=ahead)
        read(moment)
        if (moment - datetime.now(UTC)).total_seconds() > ahead / 2:
            return moment
        ahead *= 2  # on this machine, as busy as it is


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

    left = (changes_at - datetime.now(UTC)).total_seconds()
    eventually(lambda: price_now() == NEW, left + 10, "the new price")
    assert datetime.now(UTC) >= changes_at
    after = place()
    for call, dialog, far_end in (before, after):
        hang_up(call, dialog, far_end)

    ended = [line_of(proxy, call, "call") for call, _, _ in (before, after)]
    assert [(line["rate"], line["cost"]) for line in ended] == [(OLD, "0.06"), (NEW, "0.60")]
    assert [line["provider_cost"] for line in ended] == ["0.03", "0.03"]
    eventually(lambda: proxy.usage("desk")["spent_amount"] == "0.66", what="the sum of both")
    said = command("rate", "-c", str(proxy.file), "--deck", "dated", LONDON)
    assert f"rate_per_minute: {NEW}" in said.stdout + said.stderr
