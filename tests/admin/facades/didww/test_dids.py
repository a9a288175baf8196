"""Numbers as resources."""

from __future__ import annotations

import pytest

from proxy.admin.access.identity import Identity, everything
from proxy.admin.facades.didww.dids import assigned, id_of, numbers_of, related, resource
from proxy.admin.facades.didww.fields import TrunkRelationships
from proxy.admin.facades.didww.trunk import FieldError
from proxy.objects.document import Document, new_id

OWN, POOL, THEIRS = "+442071838750", "+442071838751", "+33142685300"
ACME = Identity("acme", frozenset({"write"}), "acme")
DOCUMENT = (
    Document()
    .create("accounts", "acme", {"dids": [POOL]}, id=new_id())
    .create("accounts", "zenith", {"dids": [THEIRS]}, id=new_id())
    .create("trunks", "a", {"account": "acme", "dids": [OWN], "default_did": POOL}, id=new_id())
    .create("trunks", "b", {}, id=new_id())
)


def said(**relationships: object) -> TrunkRelationships:
    return TrunkRelationships.model_validate({name: {"data": data} for name, data in relationships.items()})


def one(number: str, type: str = "dids") -> dict[str, str]:  # noqa: A002
    return {"type": type, "id": id_of(number)}


def test_who_sees_which() -> None:
    assert set(numbers_of(DOCUMENT, ACME).values()) == {OWN, POOL}
    assert set(numbers_of(DOCUMENT, everything("ops")).values()) == {OWN, POOL, THEIRS}
    assert resource(OWN, "http://a")["attributes"] == {"number": "442071838750"}
    assert resource(OWN, "http://a")["id"] == resource(OWN, "http://b")["id"] == id_of(OWN)


def test_what_a_trunk_leads_to() -> None:
    a, b = DOCUMENT.list("trunks")
    assert [related(a, name) for name in ("dids", "default_did", "emergency_dids")] == [[OWN], [POOL], []]
    assert [related(b, name) for name in ("dids", "default_did")] == [[], []]


def test_assigning() -> None:
    assert assigned(said(dids=[one(OWN), one(POOL)], default_did=one(OWN)), DOCUMENT, ACME) == {
        "dids": [OWN, POOL],
        "default_did": OWN,
    }
    assert assigned(said(dids=[], default_did=None, emergency_dids=[]), DOCUMENT, ACME) == {
        "dids": [],
        "default_did": None,
    }
    assert assigned(said(), DOCUMENT, ACME) == {}


@pytest.mark.parametrize(
    ("relationships", "name"),
    [
        ({"dids": [one(THEIRS)]}, "dids"),
        ({"dids": [one(OWN, "numbers")]}, "dids"),
        ({"default_did": {"type": "dids", "id": OWN}}, "default_did"),
        ({"emergency_dids": [one(OWN)]}, "emergency_dids"),
    ],
)
def test_what_cannot_be_assigned(relationships: dict[str, object], name: str) -> None:
    with pytest.raises(FieldError) as error:
        assigned(said(**relationships), DOCUMENT, ACME)
    assert error.value.attribute == name
