"""Whose numbers are whose."""

from __future__ import annotations

import pytest

from proxy.objects.document import Document
from proxy.objects.numbers import account_of, numbers_of_account

LISTED, POOL, FREE, OF_TRUNK, OF_BOTH, LOOSE = (f"+44207183875{digit}" for digit in range(6))


@pytest.fixture
def document() -> Document:
    made = (
        Document()
        .create("accounts", "acme", {"dids": [POOL]}, id="1")
        .create("accounts", "None", {}, id="0")
        .create("trunks", "desk", {"account": "acme", "dids": [LISTED, OF_BOTH]}, id="2")
        .create("trunks", "loose", {}, id="3")
    )
    for number, spec in {
        FREE: {},
        OF_TRUNK: {"trunk": "desk"},
        OF_BOTH: {"trunk": "desk", "account": "acme"},
        LOOSE: {"trunk": "loose"},
        POOL: {"account": "acme", "trunk": None},
    }.items():
        made = made.create("dids", number[1:], {"number": number, **spec}, id=number)
    return made


def test_a_number_belongs_to_its_account_or_its_trunks(document: Document) -> None:
    found = {one.name: account_of(document, one) for one in document}
    assert found == {
        "acme": "acme", "None": "None", "desk": "acme", "loose": None, FREE[1:]: None, OF_TRUNK[1:]: "acme",
        OF_BOTH[1:]: "acme", LOOSE[1:]: None, POOL[1:]: "acme",
    }  # fmt: skip


def test_numbers_are_told_once(document: Document) -> None:
    assert numbers_of_account(document, "acme") == [POOL, LISTED, OF_BOTH, OF_TRUNK]
    assert numbers_of_account(document, "None") == []
