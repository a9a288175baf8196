"""DIDs: the numbers that accounts and trunks own, as resources of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID, uuid5

from proxy.admin.access.identity import Identity
from proxy.admin.facades.didww.fields import Identifier, TrunkRelationships
from proxy.admin.facades.didww.listing import Kind
from proxy.admin.facades.didww.trunk import FieldError
from proxy.admin.facades.refused import belongs_to
from proxy.objects.document import Document, PolicyObject

_NUMBERS: Final = UUID("9b0c53d5-95c7-4a0e-8c0b-0f6f2f3b7e51")

RELATIONSHIPS: Final = ("default_did", "dids", "emergency_dids")
DIDS: Final = Kind(
    "dids",
    filters={"id": lambda did: did["id"], "number": lambda did: did["number"]},
    sorts={"number": lambda did: did["number"]},
    fields=frozenset({"number"}),
)


def id_of(number: str) -> str:
    """The id of a number: always the same, made of the number alone."""
    return str(uuid5(_NUMBERS, number))


def numbers_of(document: Document, who: Identity) -> dict[str, str]:
    """Id → number, of all that the caller may see: those of its accounts and trunks."""
    numbers: dict[str, str] = {}
    for kind in ("accounts", "trunks"):
        for one in document.list(kind):
            if who.sees(belongs_to(one)):
                found: Iterable[str] = [*one.spec.get("dids", ()), *related(one, "default_did")]
                numbers.update((id_of(number), number) for number in found)
    return numbers


def related(one: PolicyObject, relationship: str) -> list[str]:
    """The numbers of a relationship of a trunk."""
    if relationship == "default_did":
        number = one.spec.get("default_did")
        return [] if number is None else [number]
    return list(one.spec.get("dids", ())) if relationship == "dids" else []


def assigned(said: TrunkRelationships, document: Document, who: Identity) -> dict[str, Any]:
    """The fields of a trunk that its relationships are. Raises FieldError for a DID that the caller has
    not."""
    known = numbers_of(document, who)
    fields: dict[str, Any] = {}
    if said.dids is not None:
        fields["dids"] = [_number("dids", one, known) for one in said.dids.data]
    if said.default_did is not None:
        one = said.default_did.data
        fields["default_did"] = None if one is None else _number("default_did", one, known)
    if said.emergency_dids is not None and said.emergency_dids.data:
        raise FieldError("emergency_dids", "can't be assigned: emergency calls are refused to no number here")
    return fields


def _number(relationship: str, one: Identifier, known: dict[str, str]) -> str:
    if one.type != "dids" or one.id not in known:
        raise FieldError(relationship, "is invalid")
    return known[one.id]


def identifier(number: str) -> dict[str, Any]:
    return {"id": id_of(number), "type": "dids"}


def resource(number: str, base: str) -> dict[str, Any]:
    """Numbers are written without their plus."""
    key = id_of(number)
    return {
        "id": key,
        "type": "dids",
        "attributes": {"number": number.removeprefix("+")},
        "links": {"self": f"{base}/dids/{key}"},
    }
