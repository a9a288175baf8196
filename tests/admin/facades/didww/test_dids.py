"""Numbers as resources: those that are listed, and those with an entry of their own."""

from __future__ import annotations

import pytest

from proxy.admin.access.identity import Identity, everything
from proxy.admin.facades.didww.dids import Numbers, derived_id, given_back, settled
from proxy.admin.facades.didww.fields import TrunkRelationships
from proxy.admin.facades.didww.trunk import FieldError
from proxy.objects.document import Document, new_id

OWN, POOL, THEIRS = "+442071838750", "+442071838751", "+33142685300"
ENTRY, STOCK = "+442071838760", "+442071838761"
ACME = Identity("acme", frozenset({"write"}), "acme")
OPS = everything("ops")
DOCUMENT = (
    Document()
    .create("accounts", "acme", {"dids": [POOL]}, id=new_id())
    .create("accounts", "zenith", {"dids": [THEIRS]}, id=new_id())
    .create("trunks", "a", {"account": "acme", "dids": [OWN], "default_did": POOL}, id="ta")
    .create("trunks", "b", {"account": "acme"}, id="tb")
    .create("dids", "entry", {"number": ENTRY, "trunk": "a"}, id="entry-id")
    .create("dids", "stock", {"number": STOCK}, id="stock-id")
)
NUMBERS = Numbers(DOCUMENT)


def said(**relationships: object) -> TrunkRelationships:
    return TrunkRelationships.model_validate({name: {"data": data} for name, data in relationships.items()})


def one(number: str, type: str = "dids") -> dict[str, str]:  # noqa: A002
    return {"type": type, "id": NUMBERS.id_of(number)}


def given(key: str, *numbers: str, document: Document = DOCUMENT, who: Identity = OPS) -> Document:
    """What the document is after a client gave a trunk these numbers."""
    return settled(document, document.patch("trunks", key, {"dids": list(numbers)}), key, who)


def whose(document: Document) -> list[tuple[str, object, object]]:
    return [(did.name, did.spec.get("trunk"), did.spec.get("account")) for did in document.list("dids")]


def test_who_sees_which() -> None:
    assert set(NUMBERS.seen_by(ACME).values()) == {OWN, POOL, ENTRY}
    assert set(NUMBERS.seen_by(OPS).values()) == {OWN, POOL, THEIRS, ENTRY, STOCK}
    assert NUMBERS.seen_by(OPS)["stock-id"] == STOCK
    assert NUMBERS.resource(OWN, "http://a")["attributes"] == {"number": "442071838750"}
    assert NUMBERS.resource(OWN, "http://b")["id"] == NUMBERS.id_of(OWN) == derived_id(OWN)
    assert NUMBERS.resource(ENTRY, "http://a") == {
        "id": "entry-id", "type": "dids", "attributes": {"number": ENTRY[1:]},
        "links": {"self": "http://a/dids/entry-id"},
    }  # fmt: skip


def test_what_a_trunk_leads_to() -> None:
    a, b = DOCUMENT.list("trunks")
    assert NUMBERS.related(a, "dids") == NUMBERS.spec_of(a)["dids"] == [OWN, ENTRY]
    assert [NUMBERS.related(a, name) for name in ("default_did", "emergency_dids")] == [[POOL], []]
    assert [NUMBERS.related(b, name) for name in ("dids", "default_did")] == [[], []]
    assert NUMBERS.spec_of(b) == b.spec


def test_assigning() -> None:
    assert NUMBERS.assigned(said(dids=[one(OWN), one(ENTRY)], default_did=one(ENTRY)), ACME) == {
        "dids": [OWN, ENTRY],
        "default_did": ENTRY,
    }
    assert NUMBERS.assigned(said(dids=[], default_did=None, emergency_dids=[]), ACME) == {
        "dids": [],
        "default_did": None,
    }
    assert NUMBERS.assigned(said(), ACME) == {}
    assert NUMBERS.assigned(said(dids=[one(STOCK)]), OPS) == {"dids": [STOCK]}


@pytest.mark.parametrize(
    ("relationships", "name"),
    [
        ({"dids": [one(THEIRS)]}, "dids"),
        ({"dids": [one(STOCK)]}, "dids"),
        ({"default_did": one(STOCK)}, "default_did"),
        ({"dids": [one(OWN, "numbers")]}, "dids"),
        ({"dids": [{"type": "dids", "id": derived_id(ENTRY)}]}, "dids"),
        ({"default_did": {"type": "dids", "id": OWN}}, "default_did"),
        ({"emergency_dids": [one(OWN)]}, "emergency_dids"),
    ],
)
def test_what_cannot_be_assigned(relationships: dict[str, object], name: str) -> None:
    with pytest.raises(FieldError) as error:
        NUMBERS.assigned(said(**relationships), ACME)
    assert error.value.attribute == name


def test_entries_are_assigned_and_lists_hold_the_rest() -> None:
    moved = given("b", POOL, ENTRY, STOCK)
    assert whose(moved) == [("entry", "b", None), ("stock", "b", None)]
    assert [trunk.spec.get("dids") for trunk in moved.list("trunks")] == [[OWN], [POOL]]
    kept = given("a", OWN, ENTRY)
    assert (whose(kept), kept.get("trunks", "a")) == (whose(DOCUMENT), DOCUMENT.get("trunks", "a"))


def test_what_is_taken_back_stays_the_accounts() -> None:
    less = given("a", OWN)
    assert whose(less) == [("entry", None, "acme"), ("stock", None, None)]
    assert "dids" not in given("a").get("trunks", "a").spec
    gone = given_back(DOCUMENT, DOCUMENT.delete("trunks", "a"), "a")
    assert whose(gone) == whose(less)


def test_a_number_that_another_trunk_lists_is_not_taken_from_its_trunk() -> None:
    shared = DOCUMENT.patch("trunks", "b", {"dids": [ENTRY]})
    same = given("b", ENTRY, document=shared)
    assert (whose(same), same.get("trunks", "b").spec["dids"]) == (whose(DOCUMENT), [ENTRY])


def test_an_account_takes_no_entry_that_is_nobodys() -> None:
    """It may be its trunk's `default_did`, and is then one of the numbers that it may list."""
    mine = given("b", ENTRY, STOCK, who=ACME)
    assert whose(mine) == [("entry", "b", None), ("stock", None, None)]
    assert mine.get("trunks", "b").spec["dids"] == [STOCK]


def test_another_accounts_entry() -> None:
    theirs = DOCUMENT.create("dids", "theirs", {"number": THEIRS, "account": "zenith"}, id="z")
    with pytest.raises(FieldError, match="belongs to another account") as error:
        given("a", OWN, THEIRS, document=theirs)
    assert error.value.attribute == "dids"
