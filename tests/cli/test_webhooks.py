"""The `webhooks` commands, as far as they need no running instance; the rest is tested end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cli.webhooks import dead_letters, replay, secret_of, try_out
from proxy.configuration import load_policy
from proxy.ledger.hook_queue import open_hook_queue
from proxy.objects.yaml_file import id_by_name
from proxy.webhooks.callback_key import callback_key
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

SECRET = "a-secret-of-twenty-four-characters"
SIGNED = f"""emergency: none
accounts: [{{name: acme}}]
providers: [{{name: p, hostname: 192.0.2.1}}]
trunks:
  - {{name: office, account: acme, provider: p, allowed_sip_ips: [192.0.2.10], destination_whitelist: [us]}}
  - {{name: alone, provider: p, allowed_sip_ips: [192.0.2.11], destination_whitelist: [us]}}
webhooks: {{callback_secret: {SECRET}}}
"""


def write(folder: Path, url: str, hook: str = "https://a.example/") -> Path:
    file = folder / "trunkwarden.yaml"
    file.write_text(CONFIG.format(url=url, hook=hook))
    return file


async def test_try_out(tmp_path: Path) -> None:
    receiver = Receiver()
    compiled = load_policy(write(tmp_path, "embedded", receiver.url()))
    ((name, outcome),) = await try_out(compiled, tmp_path / "trunkwarden.yaml", None)
    assert (name, outcome.ok) == ("ops", True)
    assert receiver.received[0].type == "webhook.test"
    with pytest.raises(ValueError, match="no endpoint `nobody`"):
        await try_out(compiled, tmp_path / "trunkwarden.yaml", "nobody")
    receiver.close()


async def test_secret_of_a_customer(tmp_path: Path) -> None:
    file = tmp_path / "trunkwarden.yaml"
    file.write_text(SIGNED)
    compiled = load_policy(file)
    assert compiled.problems == ()
    of_account = await secret_of(compiled, file, "acme", None)
    assert of_account == callback_key(SECRET, f"accounts/{id_by_name('accounts', 'acme')}")
    assert await secret_of(compiled, file, None, "office") == of_account
    assert await secret_of(compiled, file, None, "alone") not in (of_account, SECRET)
    for account, trunk in (("nobody", None), (None, "nobody")):
        with pytest.raises(ValueError, match=r"there is no (account|trunk) `nobody`"):
            await secret_of(compiled, file, account, trunk)
    with pytest.raises(ValueError, match="callbacks are not signed"):
        await secret_of(load_policy(write(tmp_path, "embedded")), file, "acme", None)


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
