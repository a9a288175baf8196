"""What this version cannot do, transport by transport."""

from __future__ import annotations

import pytest

from config.model import LedgerConfig, Listener, ProviderConfig
from config.served import unserved_ledger, unserved_listener, unserved_provider


@pytest.mark.parametrize(("transport", "count"), [("udp", 0), ("tcp", 0), ("tls", 0)])
def test_transports(transport: str, count: int) -> None:
    listener = Listener(bind=f"{transport}:127.0.0.1:5060")
    provider = ProviderConfig.model_validate({"name": "a", "hostname": "b", "transport": transport})
    assert len(list(unserved_listener(listener, "listen[0]"))) == count
    assert [finding.path for finding in unserved_provider(provider, "p")] == ["p.transport"] * count


@pytest.mark.parametrize(
    ("url", "count"),
    [
        ("embedded", 0),
        ("redis://h", 0),
        ("rediss://h", 0),
        ("unix:///s", 0),
        ("redis+sentinel://h/main", 0),
        ("redis+cluster://h", 0),
    ],
)
def test_ledgers(url: str, count: int) -> None:
    assert [finding.path for finding in unserved_ledger(LedgerConfig(url=url), "ledger")] == [
        "ledger.url"
    ] * count
