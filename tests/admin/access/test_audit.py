from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.admin.access import audit as module
from proxy.admin.access.audit import CHANGES, CUSTOMERS, STREAMS, TURNED_AWAY, Audit, entry, merged
from proxy.admin.access.identity import Identity, everything
from proxy.ledger.ledger import LedgerUnavailable
from proxy.observe.tasks import TaskKeeper
from tests.admin.stage import until

ACME = Identity("billing", frozenset({"read"}), "acme", "0102")


class Kept:
    """The ledger's streams."""

    def __init__(self) -> None:
        self.away = False
        self.streams: dict[str, list[dict[str, Any]]] = {stream: [] for stream in STREAMS}
        self.tasks = TaskKeeper()
        self.audit = Audit(self.append, self.tasks, lambda: "now")

    async def append(self, stream: str, lines: list[bytes]) -> None:
        if self.away:
            raise LedgerUnavailable("timeout", "no answer")
        self.streams[stream] += [json.loads(line) for line in lines]

    async def written(self) -> None:
        async def idle() -> bool:
            return len(self.tasks) == 0

        await until(idle, 30)


async def test_a_change() -> None:
    kept = Kept()
    kept.audit.changed(ACME, "192.0.2.1", "PATCH", "/v1/trunks/t1", 200)
    await kept.written()
    assert kept.streams[CHANGES] == [
        {
            "at": "now",
            "who": "billing",
            "action": "PATCH /v1/trunks/t1",
            "token": "0102",
            "account": "acme",
            "source": "192.0.2.1",
            "status": 200,
        }
    ]


async def test_customers_push_out_no_changes() -> None:
    """By calls that they end, or by what they are refused."""
    kept = Kept()
    for who, own in ((ACME, True), (everything("ops"), False)):
        kept.audit.changed(who, "192.0.2.1", "DELETE", "/v1/calls?trunk=t1", 202)
        kept.audit.refused(who, "192.0.2.1", "POST", "/v1/reload", 403, 0.0)
        await kept.written()
        assert len(kept.streams[CUSTOMERS]) == 2
        assert len(kept.streams[CHANGES]) == (0 if own else 2)


async def test_strangers_are_sampled_on_a_stream_of_their_own() -> None:
    kept = Kept()
    for _ in range(100):
        kept.audit.refused(None, "192.0.2.1", "GET", "/" + "a" * 5000, 401, 0.0)
    kept.audit.refused(None, "192.0.2.2", "GET", "/", 401, 0.0)
    kept.audit.refused(None, "192.0.2.1", "GET", "/", 401, 61.0)
    await kept.written()
    assert kept.streams[CHANGES] == []
    found = kept.streams[TURNED_AWAY]
    assert [one["source"][-1] for one in found] == ["1", "1", "1", "2", "1"]
    assert [one.get("more") for one in found] == [None, None, None, None, 97]
    assert all(len(one["action"]) < 210 for one in found)


async def test_those_with_a_token_are_sampled_by_name() -> None:
    kept = Kept()
    for number in range(100):
        kept.audit.refused(ACME, f"192.0.2.{number}", "GET", "/v1/tokens", 403, 0.0)
    await kept.written()
    assert len(kept.streams[CUSTOMERS]) == 20


async def test_a_ledger_that_is_away_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    kept.away = True
    kept.audit.changed(ACME, "192.0.2.1", "POST", "/v1/reload", 200)
    await kept.written()
    assert "POST /v1/reload" in caplog.text


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    kept = Kept()
    for _ in range(10):
        kept.audit.changed(ACME, "192.0.2.1", "POST", "/v1/reload", 200)
    await kept.written()
    assert len(kept.streams[CHANGES]) == 3


def test_streams_are_merged_newest_first() -> None:
    one = [entry("3", "a", "x"), entry("1", "a", "x")]
    other = [entry("4", "b", "x"), b"garbage", b"[]", entry("2", "b", "x", status=None)]
    assert [fields["at"] for fields in merged([one, other], 3)] == ["4", "3", "2"]
