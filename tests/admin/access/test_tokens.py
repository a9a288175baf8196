from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from proxy.admin.access.identity import Identity
from proxy.admin.access.tokens import id_of, identity_from, issue, mistakes_in

TEXT, STORED = issue(
    "billing", ("read",), "acme", by="admin.token", at="now", token_id=b"\x01" * 6, secret=b"\xff" * 32
)


def test_a_token_names_its_entry_and_only_its_digest_is_kept() -> None:
    assert TEXT == "tw_010101010101_" + "_" * 42 + "8"
    assert id_of(TEXT) == STORED.id == "010101010101"
    assert STORED.digest == sha256(TEXT.encode()).hexdigest()
    assert "____" not in repr(STORED)


@pytest.mark.parametrize(
    "text", ["", "tw_", TEXT[:-1], TEXT + "x", TEXT.upper(), " " + TEXT, TEXT + "\n", "tw_é" + TEXT[4:]]
)
def test_what_cannot_be_one_of_ours(text: str) -> None:
    assert id_of(text) is None


def test_who_shows_it() -> None:
    assert identity_from(TEXT, STORED) == Identity("billing", frozenset({"read"}), "acme", STORED.id)
    assert identity_from(TEXT[:-1] + "4", STORED) is None
    assert identity_from(TEXT, None) is None
    assert identity_from("", None) is None


def test_scopes_that_are_not_known_open_nothing() -> None:
    found = identity_from(TEXT, replace(STORED, scopes=("read", "later")))
    assert found is not None
    assert found.scopes == {"read"}


@pytest.mark.parametrize(
    ("scopes", "account", "mistake"),
    [
        (("read",), None, None),
        (("write", "calls"), "acme", None),
        (("admin",), None, None),
        (("admin",), "acme", "cannot have the scope `admin`"),
        (("root",), None, "no such scope: `root`"),
        ((), None, "needs a scope"),
    ],
)
def test_mistakes(scopes: tuple[str, ...], account: str | None, mistake: str | None) -> None:
    found = mistakes_in(scopes, account)
    assert found is None if mistake is None else mistake in (found or "")
