"""Documents: operations give new ones, and say what they cannot do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.objects import MASK
from proxy.objects.document import Document, PolicyObject, merge_patch
from proxy.objects.errors import Conflict, Invalid, Unknown

AT = datetime(2026, 1, 1, tzinfo=UTC)


def some() -> Document:
    document = Document().create("accounts", "acme", {"capacity_limit": 3}, id="a1")
    return document.create("accounts", "zeta", {"status": "blocked"}, id="a2", extra={"x": {"y": 1}})


def test_operations_leave_the_old_document_as_it_is() -> None:
    before = some()
    seen = before.to_json()
    before.create("trunks", "t", {}, id="t1")
    before.patch("accounts", "acme", {"capacity_limit": None})
    before.replace("accounts", "a2", {})
    before.delete("accounts", "zeta")
    assert before.to_json() == seen


def test_objects_are_found_by_id_and_by_name() -> None:
    document = some()
    assert document.get("accounts", "a1") is document.get("accounts", "acme")
    assert document.find("accounts", "nobody") is None
    assert document.find("trunks", "acme") is None
    with pytest.raises(Unknown, match="there is no rate deck `x`"):
        document.get("rate_decks", "x")
    # An id goes before a name that looks like it.
    twin = document.create("accounts", "a1", {}, id="a3")
    assert twin.get("accounts", "a1").name == "acme"
    assert [one.name for one in twin.list("accounts")] == ["acme", "zeta", "a1"]
    assert len(twin) == 3


def test_names_and_ids_are_unique_in_their_kind() -> None:
    document = some().create("profiles", "acme", {}, id="p1")
    for name, key in (("acme", "new"), ("new", "a1")):
        with pytest.raises(Invalid):
            document.create("accounts", name, {}, id=key)
    with pytest.raises(Invalid, match=r"accounts\[acme\].name"):
        document.patch("accounts", "zeta", {"name": "acme"})
    one = document.get("accounts", "acme")
    for bad in ([one, one], [PolicyObject("nonsense", "1", "n", {})]):
        with pytest.raises(Invalid):
            Document(bad)
    with pytest.raises(Invalid, match="must be text"):
        document.patch("accounts", "zeta", {"name": 7})


def test_patch_merges_and_replace_does_not() -> None:
    document = Document().create(
        "trunks",
        "t",
        {"dst_prefixes": {"deny": ["+1900"]}, "capacity_limit": 1},
        id="1",
        extra={"a": {"b": 1}},
    )
    patched = document.patch(
        "trunks",
        "t",
        {"dst_prefixes": {"allow": ["+1"]}, "capacity_limit": None, "name": "u"},
        extra={"c": 2},
    ).get("trunks", "1")
    assert (patched.name, patched.extra) == ("u", {"a": {"b": 1}, "c": 2})
    assert patched.spec == {"dst_prefixes": {"deny": ["+1900"], "allow": ["+1"]}}
    replaced = document.replace("trunks", "t", {"name": "ignored", "cps_limit": 1}).get("trunks", "t")
    assert (replaced.spec, replaced.extra) == ({"cps_limit": 1}, {"a": {"b": 1}})


def test_secrets_are_shown_masked_and_may_be_written_back() -> None:
    document = Document().create("providers", "p", {"password": "hunter2", "username": "u"}, id="1")
    shown = document.get("providers", "p").shown
    assert shown["password"] == MASK
    assert shown["transport"] == "udp"
    assert document.replace("providers", "p", shown).get("providers", "p").spec["password"] == "hunter2"
    assert (
        document.patch("providers", "p", {"password": MASK}).get("providers", "p").spec["password"]
        == "hunter2"
    )
    with pytest.raises(Invalid, match="is masked"):
        document.create("providers", "q", shown, id="2")
    reference = document.patch("providers", "p", {"password": "${CARRIER}"}).get("providers", "p")
    assert reference.shown["password"] == "${CARRIER}"


def test_an_etag_is_of_the_object_alone() -> None:
    document = some()
    etag = document.get("accounts", "acme").etag
    other = document.delete("accounts", "zeta")
    assert other.require("accounts", "acme", etag) is other
    for changed in (
        document.patch("accounts", "acme", {"capacity_limit": 4}),
        document.patch("accounts", "acme", {}, extra={"x": 1}),
        document.patch("accounts", "acme", {"name": "b"}),
    ):
        with pytest.raises(Conflict):
            changed.require("accounts", "a1", etag)


def test_nobody_tries_passwords_by_an_etag() -> None:
    """Who sees all but the secret must not be able to compute what the etag would be with a guessed one."""

    def etags(password: str) -> tuple[str, str]:
        document = Document().create("providers", "p", {"hostname": "h", "password": password}, id="p1")
        stamped = document.stamped(Document(), AT)
        return document.get("providers", "p").etag, stamped.get("providers", "p").etag

    assert etags("hunter2") == etags("another")
    before = Document().create("providers", "p", {"password": "old"}, id="p1").stamped(Document(), AT)
    after = before.patch("providers", "p", {"password": "new"}).stamped(before, AT)
    with pytest.raises(Conflict):
        after.require("providers", "p", before.get("providers", "p").etag)


def test_stamps_are_in_order_and_differ() -> None:
    first = some().stamped(Document(), AT)
    made = [one.created_at for one in first]
    assert made == [AT, AT + timedelta(microseconds=1)]
    # A clock that stepped back does not put anything before what was there.
    second = (
        first.patch("accounts", "acme", {"capacity_limit": 9})
        .create("accounts", "new", {}, id="a3")
        .stamped(first, AT - timedelta(hours=1))
    )
    acme, zeta, new = second.list("accounts")
    assert (acme.created_at, zeta.updated_at) == (AT, made[1])
    assert acme.updated_at > made[1]
    assert new.created_at > made[1]
    gone = second.delete("accounts", "new").stamped(second, AT)
    back = Document([*gone, new]).stamped(gone, AT + timedelta(days=1))
    assert back.get("accounts", "new").created_at == new.created_at
    assert back.get("accounts", "new").updated_at > AT


def test_json_and_back() -> None:
    document = some().stamped(Document(), AT).create("trunks", "t", {"dids": ["+44\n", "ü"]}, id="t1")
    again = Document.from_json(document.to_json())
    assert list(again) == list(document)
    assert again.to_json() == document.to_json()
    with pytest.raises(ValueError, match="later version"):
        Document.from_json(b'{"format":2}')
    for line in (
        b'{"kind": "accounts"}',
        document.to_json().split(b"\n")[1].replace(b"accounts", b"widgets"),
    ):
        with pytest.raises(ValueError, match="another version"):
            Document.from_json(b'{"format":1}\n' + line)


def test_sections_are_those_of_a_file() -> None:
    document = some().create("rate_decks", "retail", {"sha256": "0" * 64}, id="d")
    sections = document.sections()
    assert sections["accounts"][0] == {"name": "acme", "capacity_limit": 3}
    assert sections["rate_decks"] == {"retail": {"sha256": "0" * 64}}
    assert sections["trunks"] == []
    assert document.decks() == ("0" * 64,)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("Acme Ltd. & Söhne", "Acme-Ltd.---S-hne"), ("acme", "acme-2"), ("§§", "object"), ("", "object")],
)
def test_free_names(wanted: str, name: str) -> None:
    assert some().free_name("accounts", wanted) == name


@given(st.text(max_size=100))
def test_free_names_are_of_our_grammar(wanted: str) -> None:
    document = some()
    name = document.free_name("accounts", wanted)
    assert document.create("accounts", name, {}, id="x").find("accounts", name) is not None
    assert len(name) <= 64
    assert name[0].isalnum()
    assert all(char.isascii() and (char.isalnum() or char in "._-") for char in name)


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, merged: Any) -> None:
    assert merge_patch(target, patch) == merged
