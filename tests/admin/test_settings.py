from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.admin.settings import ChildSettings

SETTINGS = ChildSettings(
    control_path="/run/x/control",
    listener=7,
    sip_pid=42,
    token="s3cret\nline",
    ledger_url="rediss://user:pass@host:6380/0",
    data_dir="./var",
    lease_seconds=30,
    shard_by="none",
    log_level="info",
    version="1.2.3",
)


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, token=None)])
def test_they_arrive_as_they_were_sent(settings: ChildSettings) -> None:
    line = settings.to_json()
    assert line.count(b"\n") == 1
    assert ChildSettings.from_json(line) == settings


@pytest.mark.parametrize("line", [b"", b"{}", b'{"unknown": 1}', b"[]"])
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        ChildSettings.from_json(line)
