"""The transcripts in docs/facades, played again: what the documents show is what the program says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.facade_stage import TOKEN, new_token, signed_in, store_configuration
from tests.e2e.trunkwarden_process import Trunkwarden

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs" / "facades"
SHOWN_BASE = "http://127.0.0.1:8080"
SECONDS = 20.0
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BY_CHANCE = frozenset(
    {
        "created_at",
        "updated_at",
        "username",
        "password",
        "tm_create",
        "tm_update",
        "tm_delete",
        "next_page_token",
    }
)


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    folder = tmp_path_factory.mktemp("documents")
    return serve_module(store_configuration(folder, redis_server.url, provider))


def steps(document: Path) -> list[tuple[str, str]]:
    """The commands of a document's transcript, each with what it printed."""
    (block,) = re.findall(r"```console\n(.*?)```", document.read_text(), re.DOTALL)
    found = []
    for part in block.split("\n$ "):
        lines = part.removeprefix("$ ").splitlines()
        ends = (
            number
            for number in range(1, len(lines) + 1)
            if "\n".join(lines[:number]).count("'") % 2 == 0 and not lines[number - 1].endswith("\\")
        )
        end = next(ends)
        found.append(("\n".join(lines[:end]), "\n".join(lines[end:]).strip()))
    return found


def run(command: str, base: str, customer: str) -> str:
    environ = {**os.environ, "API": base, "KEY": TOKEN, "ADMIN": TOKEN, "TOKEN": customer}
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=SECONDS, check=True, env=environ
    )
    return done.stdout.strip()


def agree(shown: Any, got: Any, ids: dict[str, str], key: str = "") -> None:
    """Ids differ from run to run, each in the same way everywhere; moments and logins are of the run."""
    if isinstance(shown, dict):
        assert isinstance(got, dict)
        assert shown.keys() == got.keys()
        for name in shown:
            agree(shown[name], got[name], ids, name)
    elif isinstance(shown, list):
        assert isinstance(got, list)
        assert len(shown) == len(got)
        for mine, other in zip(shown, got, strict=True):
            agree(mine, other, ids)
    elif isinstance(shown, str) and isinstance(got, str):
        for mine, other in zip(_UUID.findall(shown), _UUID.findall(got), strict=True):
            assert ids.setdefault(mine, other) == other
        if key not in _BY_CHANCE:
            assert _UUID.sub("ID", shown) == _UUID.sub("ID", got)
    else:
        assert shown == got


@pytest.mark.parametrize(
    ("name", "path"), [("didww", "/didww/v3"), ("telnyx", "/telnyx/v2"), ("voipbin", "/voipbin/v1.0")]
)
def test_the_transcript_is_true(proxy, name: str, path: str) -> None:
    ids: dict[str, str] = {}
    customer = new_token(signed_in(proxy), f"of-{name}", "write", account="acme")
    for command, printed in steps(DOCUMENTS / f"{name}.md"):
        for mine, other in ids.items():
            command = command.replace(mine, other)
        got = run(command, proxy.admin + path, customer).replace(proxy.admin, SHOWN_BASE)
        if printed.startswith("{"):
            agree(json.loads(printed), json.loads(got), ids)
        else:
            assert got == printed, command
