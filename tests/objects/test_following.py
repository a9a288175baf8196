"""What an instance makes of the store: seeds, heads, and a store that lost what it had. That calls follow is
shown in tests/e2e/test_policy_store.py."""

from __future__ import annotations

import asyncio
import logging
import os
import zlib
from pathlib import Path

import pytest

from proxy.ledger.ledger import LedgerUnavailable
from proxy.ledger.versions import Versions
from proxy.objects.editor import PolicyEditor
from proxy.objects.following import load_in_force, open_followed
from tests.ledger.servers import Server, until

OBJECTS = """\
rate_decks: {retail: {file: retail.csv}}
providers: [{name: carrier, hostname: 198.51.100.1}]
trunks:
  - {name: office, provider: carrier, allowed_sip_ips: [192.0.2.1], allow_any_country: yes, rate_deck: retail}
"""


def rewrite(path: Path, old: str, new: str) -> None:
    """Change a text of a file; nothing for `old` is its end."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new) if old else text + new)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.fixture
def seeded(config_file: Path) -> Path:
    (config_file.parent / "retail.csv").write_text("prefix,rate_per_minute\n1,1\n")
    config_file.write_text(config_file.read_text() + OBJECTS)
    return config_file


async def test_the_file_seeds_an_empty_store_once(seeded: Path, editor: PolicyEditor) -> None:
    followed, compiled = await open_followed(seeded)
    assert followed is not None
    assert compiled.policy is not None
    assert list(compiled.policy.trunks) == ["office"]
    await followed.close()
    version = await editor.current()
    assert (version.number, version.entry.author, version.entry.comment) == (
        1,
        "trunkwarden",
        "from trunkwarden.yaml",
    )
    os.unlink(seeded.parent / "retail.csv")  # the rows are in the store
    rewrite(seeded, "name: office", "name: other")
    followed, compiled = await open_followed(seeded)
    assert followed is not None
    assert compiled.policy is not None
    assert list(compiled.policy.trunks) == ["office"]
    await followed.close()


async def test_a_file_that_differs_is_told(seeded: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for changed, told in ((False, False), (True, True)):
        if changed:
            rewrite(seeded, "name: office", "name: other")
        followed, _ = await open_followed(seeded)
        assert followed is not None
        await followed.close()
        assert ("differ and are not looked at" in caplog.text) is told


async def test_a_seed_with_problems(seeded: Path) -> None:
    rewrite(seeded, "provider: carrier", "provider: nobody")
    followed, compiled = await open_followed(seeded)
    assert followed is None
    assert [problem.path for problem in compiled.problems] == ["trunks[0].provider"]
    assert compiled.problems[0].line > 1


async def test_no_objects_anywhere_refuse_every_call(config_file: Path, editor: PolicyEditor) -> None:
    followed, compiled = await open_followed(config_file)
    assert followed is not None
    assert compiled.policy is not None
    assert not compiled.policy.trunks
    await followed.close()
    assert (await editor.current()).number == 0


async def test_own_sections_may_name_objects_of_the_store(seeded: Path) -> None:
    followed, _ = await open_followed(seeded)
    assert followed is not None
    await followed.close()
    rewrite(seeded, OBJECTS, "")
    rewrite(seeded, "emergency: none", "emergency: {numbers: ['112'], providers: [carrier]}")
    compiled = await load_in_force(seeded)
    assert compiled.policy is not None
    assert compiled.policy.emergency_providers
    rewrite(seeded, "", "default_provider: nobody\n")
    compiled = await load_in_force(seeded)
    (problem,) = compiled.problems
    assert (problem.path, problem.file) == ("default_provider", str(seeded))


async def test_a_store_that_is_away(seeded: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.objects.following.PATIENCE", 0.2)
    server.kill()
    with pytest.raises(LedgerUnavailable):
        await open_followed(seeded)
    with pytest.raises(ValueError, match="cannot be asked"):
        await load_in_force(seeded)


async def test_the_embedded_server_is_started_and_stopped(seeded: Path, short_folder: Path) -> None:
    url = next(line for line in lines_of(seeded) if line.startswith("ledger:"))
    rewrite(seeded, url, f"ledger: {{data_dir: '{short_folder}/data'}}")
    for _ in range(2):
        followed, compiled = await open_followed(seeded)
        assert followed is not None
        assert compiled.policy is not None
        assert followed.version.number == 1
        await followed.close()
    with pytest.raises(ValueError, match="cannot be asked"):
        await load_in_force(seeded)


async def test_what_cannot_be_followed_is_a_problem_until_it_can(
    seeded: Path, editor: PolicyEditor, server: Server, versions: Versions
) -> None:
    followed, _ = await open_followed(seeded)
    assert followed is not None
    seen: list[int] = []

    async def moved() -> None:
        seen.append(followed.version.number)

    task = asyncio.get_running_loop().create_task(followed.follow(moved))
    await editor.change("x", "", lambda document: document.patch("trunks", "office", {"cps_limit": 1}))
    await until(lambda: seen == [2])
    assert followed.compile().policy is not None
    client = server.client()
    kept = {name: client.dump(name) for name in client.keys("{tw}:policy*")}
    client.delete(*kept)
    await until(lambda: followed.problem is not None)
    assert "version 2 stays in force" in str(followed.problem)
    assert (followed.version.number, seen) == (2, [2])
    for name, value in kept.items():
        client.restore(name, 0, value)
    await until(lambda: followed.problem is None)
    head = await versions.head()
    stored = await versions.load(head.number)
    assert stored is not None
    client.hset("{tw}:policy:v:3", mapping={**client.hgetall("{tw}:policy:v:2"), "document": _later()})
    client.hset("{tw}:policy", mapping={"head": "3", "token": "later"})
    await until(lambda: followed.problem is not None)
    assert "later version of the program" in str(followed.problem)
    task.cancel()
    await asyncio.wait([task])
    await followed.close()


def _later() -> bytes:
    return zlib.compress(b'{"format": 99}')


async def test_a_failure_ends_no_following(seeded: Path, editor: PolicyEditor, server: Server) -> None:
    followed, _ = await open_followed(seeded)
    assert followed is not None
    seen: list[int] = []

    async def moved() -> None:
        seen.append(followed.version.number)
        if followed.version.number == 2:
            raise KeyError("a mistake of ours")

    task = asyncio.get_running_loop().create_task(followed.follow(moved))
    await editor.change("x", "", lambda document: document.patch("trunks", "office", {"cps_limit": 1}))
    await until(lambda: followed.problem is not None)
    assert str(followed.problem).startswith("store: version 2 failed")
    server.client().hset("{tw}:policy", "head", "nonsense")
    await asyncio.sleep(0.3)
    server.client().hset("{tw}:policy", "head", "2")
    await editor.change("x", "", lambda document: document.patch("trunks", "office", {"cps_limit": 2}))
    await until(lambda: seen == [2, 3])
    assert followed.problem is None
    task.cancel()
    await asyncio.wait([task])
    await followed.close()
