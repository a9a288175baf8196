"""Schemathesis: every operation answers as its description says, whatever it is sent, on the real process.

TRUNKWARDEN_API_EXAMPLES=50 makes a long run of it: so many inputs for each operation, and all corner cases.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from proxy.admin.settings import AdminSettings
from proxy.admin.spawn import AdminProcess
from proxy.ledger.redis_ledger import open_ledger
from tests.admin.stage import Target
from tests.ledger.servers import PATIENT, Server

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("TRUNKWARDEN_API_EXAMPLES", "0"))
LEFT_OUT = ",".join(
    [
        "positive_data_acceptance",  # a policy's rules are more than a schema can say
        "ignored_auth",  # it shows so many wrong tokens that it is sent away: test_security.py has these
    ]
)
# A body over 256 KiB is refused before anybody reads it.
TOML = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 412, 413, 415, 422]
"""


@pytest.mark.timeout(3600 if EXAMPLES else 300)
async def test_what_is_described_is_done(short_folder: Path, tmp_path: Path) -> None:
    server = Server("valkey", short_folder)
    ledger = await open_ledger(server.url, short_folder, lease_seconds=30, owner="test", deadline=PATIENT)
    ledger.on_hangup(lambda _: [])
    file = short_folder / "trunkwarden.yaml"
    file.write_text("policy: {source: store}\nemergency: none\n")
    (tmp_path / "schemathesis.toml").write_text(TOML)
    settings = AdminSettings(
        "127.0.0.1", 0, "root", server.url, short_folder, config_file=file, policy_source="store"
    )
    admin = AdminProcess(settings, Target())
    url = admin.bind()
    await admin.start(60)
    how = (
        ["--phases=examples,coverage,fuzzing,stateful", f"--max-examples={EXAMPLES}"]
        if EXAMPLES
        else ["--phases=fuzzing", "--max-examples=2", "--no-shrink", "--max-time=25"]
    )
    try:
        tool = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
            "--header=Authorization: Bearer root", "--seed=1", "--checks=all", f"--exclude-checks={LEFT_OUT}",
            "--suppress-health-check=all", "--warnings=off", "--no-color", "--generation-database=none", *how,
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await tool.communicate()
    finally:
        await admin.stop()
        await ledger.close()
        server.kill()
    text = said.decode()
    assert tool.returncode == 0, text[-20_000:]
    assert admin.restarts == 0
    assert "Fuzzing" in text
