"""The `webhooks` commands, as far as they need no running instance; the rest is tested end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cli.webhooks import dead_letters, replay, try_out
from proxy.configuration import load_policy
from proxy.ledger.hook_queue import open_hook_queue
from tests.ledger.servers import Server
from tests.webhooks.queues import running_server
from tests.webhooks.receiver import Receiver

CONFIG = """emergency: none
trunks: []
ledger: {{url: "{url}"}}
webhooks:
  allow_networks: [127.0.0.0/8]
  endpoints:
    - {{name: ops, url: "{hook}", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}
"""


def write(folder: Path, url: str, hook: str = "https://a.example/") -> Path:
    file = folder / "trunkwarden.yaml"
    file.write_text(CONFIG.format(url=url, hook=hook))
    return file


async def test_try_out(tmp_path: Path) -> None:
    receiver = Receiver()
    compiled = load_policy(write(tmp_path, "embedded", receiver.url()))
    ((name, outcome),) = await try_out(compiled, None)
    assert (name, outcome.ok) == ("ops", True)
    assert receiver.received[0].type == "webhook.test"
    with pytest.raises(ValueError, match="no endpoint `nobody`"):
        await try_out(compiled, "nobody")
    receiver.close()


async def test_dead_letters_and_replay(tmp_path: Path) -> None:
    with running_server() as server:
        await _one_dead(server)
        compiled = load_policy(write(tmp_path, server.url))
        (line,) = await dead_letters(compiled, 10)
        assert line.endswith("ops policy.changed after 1 tries: answered with 500")
        with pytest.raises(ValueError, match="no dead letter has the id `x`"):
            await replay(compiled, "x")
        assert await replay(compiled, None) == 1
        assert await dead_letters(compiled, 10) == []
        server.kill()
        with pytest.raises(ValueError, match="the ledger is away"):
            await replay(compiled, None)


async def _one_dead(server: Server) -> None:
    queue = await open_hook_queue(server.url, Path(), "one")
    await queue.put(b'{"type":"policy.changed"}', ["ops"])
    (one,) = await queue.claim(1, 1000)
    await queue.bury(one, "answered with 500")
    await queue.close()
