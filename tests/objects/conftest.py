"""Editors of a policy on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from proxy.configuration import load_own
from proxy.ledger.versions import Versions
from proxy.objects.editor import PolicyEditor, open_editor
from tests.ledger.servers import Server

OWN = "policy: {source: store}\nemergency: none\n"

Opener = Callable[..., Awaitable[PolicyEditor]]


@pytest.fixture
def server(short_folder: Path) -> Iterator[Server]:
    started = Server("redis", short_folder)
    yield started
    started.kill()


@pytest.fixture
def config_file(short_folder: Path, server: Server) -> Path:
    path = short_folder / "trunkwarden.yaml"
    path.write_text(f"ledger: {{url: 'unix://{server.socket}'}}\n{OWN}")
    return path


@pytest.fixture
async def opener(config_file: Path) -> AsyncIterator[Opener]:
    opened: list[PolicyEditor] = []

    async def open_one(path: Path = config_file) -> PolicyEditor:
        config = load_own(path).config
        assert config is not None
        editor = open_editor(path, config.policy.source, config.ledger.url, config.ledger.data_dir)
        opened.append(editor)
        return editor

    yield open_one
    for editor in opened:
        await editor.close()


@pytest.fixture
async def editor(opener: Opener) -> PolicyEditor:
    return await opener()


@pytest.fixture
async def versions(server: Server, short_folder: Path) -> AsyncIterator[Versions]:
    store = Versions(server.url, short_folder)
    yield store
    await store.close()
