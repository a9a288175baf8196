"""The editor on a real server: what it lets pass, what it refuses, and that nothing of it gets lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from config.credentials import ha1s_of
from proxy.ledger.ledger import LedgerUnavailable
from proxy.objects.document import Document, new_id
from proxy.objects.editor import Conflict, Invalid, Operation, PolicyEditor, ReadOnly, Unknown
from tests.ledger.servers import Server
from tests.objects.conftest import Opener

PROVIDER = {"hostname": "198.51.100.1"}
TRUNK = {
    "provider": "carrier",
    "allowed_sip_ips": ["192.0.2.1"],
    "destination_whitelist": ["us"],
    "capacity_limit": "5",
    "threshold_amount": None,
}
DECK = b"prefix,rate_per_minute\n44,0.01\n1,0.02\n"


def creating(kind: str, name: str, **spec: Any) -> Operation:
    key = new_id()
    return lambda document: document.create(kind, name, spec, id=key)


async def with_a_trunk(editor: PolicyEditor) -> Document:
    await editor.change("ops", "", creating("providers", "carrier", **PROVIDER))
    return (await editor.change("ops", "", creating("trunks", "office", **TRUNK))).document


async def test_what_is_made_is_there_for_everybody(editor: PolicyEditor, opener: Opener) -> None:
    assert (await editor.current()).number == 0
    await with_a_trunk(editor)
    other = await opener()
    version = await other.current()
    assert version.number == 2
    trunk = version.document.get("trunks", "office")
    assert version.document.get("trunks", trunk.id) == trunk
    assert trunk.spec["allowed_sip_ips"] == ["192.0.2.1/32"]
    assert trunk.spec["destination_whitelist"] == ["US"]
    assert trunk.spec["capacity_limit"] == 5
    assert trunk.full["threshold_window"] == "rolling_24h"
    assert trunk.created_at == trunk.updated_at > version.document.get("providers", "carrier").created_at


async def test_own_changes_are_seen_at_once_and_others_within_a_second(
    editor: PolicyEditor, opener: Opener
) -> None:
    other = await opener()
    for one in (editor, other):
        assert (await one.current()).number == 0
    await with_a_trunk(editor)
    assert (await editor.current()).number == 2
    await asyncio.sleep(0.6)
    assert (await other.current()).number == 2


async def test_a_change_that_does_not_compile_is_refused_with_all_problems(editor: PolicyEditor) -> None:
    await with_a_trunk(editor)

    def bad(document: Document) -> Document:
        document = document.patch("trunks", "office", {"provider": "nobody", "capacity_limit": -1})
        return document.create("trunks", "twin", {**TRUNK, "rate_deck": "none"}, id=new_id())

    with pytest.raises(Invalid) as refused:
        await editor.change("ops", "", bad)
    paths = {finding.path for finding in refused.value.problems}
    assert {"trunks[office].provider", "trunks[office].capacity_limit", "trunks[twin].rate_deck"} <= paths
    assert (await editor.current()).number == 2
    assert [entry.number for entry in await editor.history()] == [2, 1]


async def test_what_others_refer_to_is_not_deleted(editor: PolicyEditor) -> None:
    await with_a_trunk(editor)
    with pytest.raises(Invalid) as refused:
        await editor.change("ops", "", lambda document: document.delete("providers", "carrier"))
    assert [finding.path for finding in refused.value.problems] == ["trunks[office].provider"]


async def test_unknown_objects_and_names_that_are_taken(editor: PolicyEditor) -> None:
    await with_a_trunk(editor)
    with pytest.raises(Unknown):
        await editor.change("ops", "", lambda document: document.delete("trunks", "other"))
    with pytest.raises(Invalid):
        await editor.change("ops", "", creating("trunks", "office", **TRUNK))


async def test_nothing_is_committed_when_nothing_differs(editor: PolicyEditor) -> None:
    await with_a_trunk(editor)
    version = await editor.change(
        "ops", "", lambda document: document.patch("trunks", "office", {"capacity_limit": "5"})
    )
    assert version.number == 2


async def test_many_writers_lose_nothing(opener: Opener) -> None:
    editors = [await opener() for _ in range(4)]
    await asyncio.gather(
        *[
            editor.change(f"writer {n}", "", creating("accounts", f"account-{n}-{turn}"))
            for n, editor in enumerate(editors)
            for turn in range(3)
        ]
    )
    await asyncio.sleep(0.6)
    version = await editors[0].current()
    assert version.number == 12
    assert len(version.document.list("accounts")) == 12
    made = [one.created_at for one in version.document.list("accounts")]
    assert len(set(made)) == 12


async def test_preconditions(editor: PolicyEditor, opener: Opener) -> None:
    document = await with_a_trunk(editor)
    version = await editor.current()
    etag = document.get("trunks", "office").etag
    other = await opener()
    await other.change("x", "", creating("accounts", "acme"))
    # Another object was changed: the whole is another, the trunk is not.
    with pytest.raises(Conflict):
        await editor.change(
            "y", "", lambda document: document.patch("trunks", "office", {"cps_limit": 1}), version.etag
        )
    await editor.change(
        "y",
        "",
        lambda document: document.require("trunks", "office", etag).patch(
            "trunks", "office", {"cps_limit": 1}
        ),
    )
    with pytest.raises(Conflict):
        await other.change(
            "x", "", lambda document: document.require("trunks", "office", etag).delete("trunks", "office")
        )


async def test_of_two_with_one_etag_one_wins(opener: Opener) -> None:
    one, two = await opener(), await opener()
    etag = (await one.current()).etag
    outcomes = await asyncio.gather(
        one.change("one", "", creating("accounts", "a"), etag),
        two.change("two", "", creating("accounts", "b"), etag),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "Version"]


async def test_history_and_rollback(editor: PolicyEditor) -> None:
    first = await with_a_trunk(editor)
    await editor.change(
        "eve", "more", lambda document: document.patch("trunks", "office", {"capacity_limit": 7})
    )
    await editor.change("eve", "gone", lambda document: document.delete("trunks", "office"))
    entries = await editor.history(limit=2)
    assert [(entry.number, entry.author, entry.comment) for entry in entries] == [
        (4, "eve", "gone"),
        (3, "eve", "more"),
    ]
    assert entries[1].changes[0]["fields"] == {"capacity_limit": [5, 7]}
    assert [entry.number for entry in await editor.history(before=3)] == [2, 1]
    back = await editor.roll_back("ops", 2)
    assert back.number == 5
    restored, before = back.document.get("trunks", "office"), first.get("trunks", "office")
    assert (restored.spec, restored.id, restored.created_at) == (before.spec, before.id, before.created_at)
    with pytest.raises(Unknown):
        await editor.roll_back("ops", 99)


async def test_decks_are_read_and_kept(editor: PolicyEditor, opener: Opener) -> None:
    digest = await editor.put_deck(DECK)
    await editor.change("ops", "", creating("rate_decks", "retail", sha256=digest))
    await with_a_trunk(editor)
    other = await opener()
    await other.change(
        "x",
        "",
        lambda document: document.patch(
            "trunks", "office", {"rate_deck": "retail", "threshold_amount": "10.5"}
        ),
    )
    assert await other.deck(digest) == DECK
    with pytest.raises(Invalid) as refused:
        await editor.put_deck(b"prefix,rate_per_minute\n44,free\n")
    assert refused.value.problems[0].path == "line 2"
    with pytest.raises(Invalid):
        await editor.change("ops", "", creating("rate_decks", "other", sha256="0" * 64))


async def test_half_a_character_is_no_text(editor: PolicyEditor) -> None:
    with pytest.raises(Invalid, match="surrogate"):
        await editor.change(
            "ops", "", creating("providers", "carrier", **PROVIDER, tech_headers={"X-A": "\ud83d"})
        )
    assert (await editor.current()).document.list("providers") == []


async def test_passwords_become_ha1_and_are_not_shown(editor: PolicyEditor) -> None:
    await with_a_trunk(editor)
    version = await editor.change(
        "ops",
        "",
        lambda document: document.patch(
            "trunks", "office", {"auth": "ip_and_digest", "username": "u", "password": "hunter2-secret"}
        ),
    )
    trunk = version.document.get("trunks", "office")
    assert "password" not in trunk.spec
    assert ha1s_of(trunk.spec["ha1"]).keys() == {"SHA-256", "SHA-512-256"}
    assert trunk.shown["ha1"] == "********"
    # What was shown may be written back.
    again = await editor.change(
        "ops", "", lambda document: document.replace("trunks", "office", {**trunk.shown, "cps_limit": 3})
    )
    assert again.document.get("trunks", "office").spec["ha1"] == trunk.spec["ha1"]
    told = str([entry.changes for entry in await editor.history()])
    assert "hunter2" not in told
    assert trunk.spec["ha1"] not in told
    with pytest.raises(Invalid) as refused:
        await editor.change("ops", "", lambda document: document.patch("trunks", "office", {"username": "v"}))
    assert refused.value.problems[0].path == "trunks[office].username"


async def test_others_than_the_operator_reach_no_file_and_no_variable(
    editor: PolicyEditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "hunter2")
    await with_a_trunk(editor)
    for changes in (
        {"tech_headers": {"X-Leak": "${CANARY}"}},
        {"username": "u", "password_file": "/etc/passwd"},
        {"ca_file": "/etc/passwd"},
    ):

        def change(document: Document, changes: dict[str, Any] = changes) -> Document:
            return document.patch("providers", "carrier", changes)

        with pytest.raises(Invalid) as refused:
            await editor.change("api", "", change)
        assert "only the operator" in refused.value.problems[0].message
        assert "hunter2" not in str(refused.value)
    await editor.change(
        "root",
        "",
        lambda document: document.patch("providers", "carrier", {"tech_headers": {"X-A": "${CANARY}"}}),
        operator=True,
    )
    version = await editor.change(
        "api", "", lambda document: document.patch("providers", "carrier", {"status": "blocked"})
    )
    assert version.document.get("providers", "carrier").spec["tech_headers"] == {"X-A": "${CANARY}"}


async def test_a_policy_in_the_file_is_read_and_not_changed(opener: Opener, short_folder: Path) -> None:
    path = short_folder / "alone.yaml"
    path.write_text(
        "emergency: none\n"
        "providers: [{name: carrier, hostname: 198.51.100.1}]\n"
        "trunks: [{name: office, provider: carrier, allowed_sip_ips: [192.0.2.1],"
        " destination_whitelist: [us]}]\n"
    )
    editor = await opener(path)
    version = await editor.current()
    assert version.number == 0
    assert version.document.get("trunks", "office").spec["destination_whitelist"] == ["US"]
    assert editor.read_only is not None
    with pytest.raises(ReadOnly, match="source: store"):
        await editor.change("x", "", creating("accounts", "a"))
    path.write_text(path.read_text().replace("name: office", "name: works"))
    assert (await editor.current()).document.find("trunks", "works") is not None


async def test_a_store_that_is_away_is_said_and_comes_back(editor: PolicyEditor, server: Server) -> None:
    await with_a_trunk(editor)
    server.kill()
    with pytest.raises(LedgerUnavailable):
        await editor.change("x", "", creating("accounts", "a"))
    server.start()
    assert (await editor.change("x", "", creating("accounts", "a"))).number == 3
