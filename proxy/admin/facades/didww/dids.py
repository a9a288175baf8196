"""DIDs: the numbers that accounts and trunks own, as resources of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from uuid import UUID, uuid5

from proxy.admin.access.identity import Identity
from proxy.admin.facades.didww.fields import Identifier, TrunkRelationships
from proxy.admin.facades.didww.listing import Kind
from proxy.admin.facades.didww.trunk import FieldError
from proxy.admin.facades.refused import belongs_to
from proxy.admin.facades.specs import put
from proxy.objects.document import Document, PolicyObject
from proxy.objects.numbers import account_of

_NUMBERS: Final = UUID("9b0c53d5-95c7-4a0e-8c0b-0f6f2f3b7e51")

RELATIONSHIPS: Final = ("default_did", "dids", "emergency_dids")
DIDS: Final = Kind(
    "dids",
    filters={"id": lambda did: did["id"], "number": lambda did: did["number"]},
    sorts={"number": lambda did: did["number"]},
    fields=frozenset({"number"}),
)


def derived_id(number: str) -> str:
    """The id of a number that is only listed: always the same, made of the number alone."""
    return str(uuid5(_NUMBERS, number))


class Numbers:
    """The numbers of one document. What has an entry in `dids` has that entry's id."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._entries = {did.spec["number"]: did for did in document.list("dids")}
        self._of_trunks: dict[str, list[str]] = {}
        for number, did in self._entries.items():
            self._of_trunks.setdefault(did.spec.get("trunk") or "", []).append(number)

    def id_of(self, number: str) -> str:
        """The id of a number."""
        entry = self._entries.get(number)
        return derived_id(number) if entry is None else entry.id

    def seen_by(self, who: Identity) -> dict[str, str]:
        """Id → number, of all that the caller may see: those of its accounts and trunks."""
        found: list[str] = []
        for kind in ("accounts", "trunks"):
            for one in self._document.list(kind):
                if who.sees(belongs_to(one)):
                    found += [*one.spec.get("dids", ()), *self.related(one, "default_did")]
        for number, entry in self._entries.items():
            if who.sees(account_of(self._document, entry)):
                found.append(number)
        return {self.id_of(number): number for number in found}

    def related(self, trunk: PolicyObject, relationship: str) -> list[str]:
        """The numbers of a relationship of a trunk."""
        if relationship == "default_did":
            number = trunk.spec.get("default_did")
            return [] if number is None else [number]
        if relationship != "dids":
            return []
        return list(dict.fromkeys([*trunk.spec.get("dids", ()), *self._of_trunks.get(trunk.name, ())]))

    def spec_of(self, trunk: PolicyObject) -> dict[str, Any]:
        """The spec of a trunk with all of its numbers among its `dids`, as a client sees it."""
        numbers = self.related(trunk, "dids")
        return {**trunk.spec, "dids": numbers} if numbers else dict(trunk.spec)

    def assigned(self, said: TrunkRelationships, who: Identity) -> dict[str, Any]:
        """The fields of a trunk that its relationships are. Raises FieldError for a DID that the caller has
        not."""
        known = self.seen_by(who)
        fields: dict[str, Any] = {}
        if said.dids is not None:
            fields["dids"] = [_number("dids", one, known) for one in said.dids.data]
        if said.default_did is not None:
            one = said.default_did.data
            fields["default_did"] = None if one is None else _number("default_did", one, known)
        if said.emergency_dids is not None and said.emergency_dids.data:
            text = "can't be assigned: emergency calls are refused to no number here"
            raise FieldError("emergency_dids", text)
        return fields

    def identifier(self, number: str) -> dict[str, Any]:
        return {"id": self.id_of(number), "type": "dids"}

    def resource(self, number: str, base: str) -> dict[str, Any]:
        """Numbers are written without their plus."""
        key = self.id_of(number)
        return {
            "id": key,
            "type": "dids",
            "attributes": {"number": number.removeprefix("+")},
            "links": {"self": f"{base}/dids/{key}"},
        }


def _number(relationship: str, one: Identifier, known: dict[str, str]) -> str:
    if one.type != "dids" or one.id not in known:
        raise FieldError(relationship, "is invalid")
    return known[one.id]


def settled(before: Document, after: Document, key: str, who: Identity) -> Document:
    """`after`, in which `who` gave the trunk `key` the spec of a client, with its numbers where they belong:
    what has an entry is assigned there, or given back, and the rest is listed. Raises FieldError."""
    trunk, old = after.get("trunks", key), before.find("trunks", key)
    wanted = dict.fromkeys(trunk.spec.get("dids", ()))
    had = frozenset() if old is None else frozenset(Numbers(before).related(old, "dids"))
    listed = frozenset() if old is None else frozenset(old.spec.get("dids", ()))
    # An entry of nobody's is not for an account to take.
    entries = {did.spec["number"]: did for did in after.list("dids") if who.sees(account_of(before, did))}
    made: dict[str, PolicyObject] = {}
    for number in wanted:
        entry = entries.get(number)
        if number in had or entry is None:
            continue
        if entry.spec.get("account") not in (None, belongs_to(trunk)):
            raise FieldError("dids", "belongs to another account")
        made[entry.id] = replace(entry, spec={**entry.spec, "trunk": trunk.name})
    spec = dict(trunk.spec)
    put(spec, "dids", [one for one in wanted if one in listed or one not in entries] or None)
    made[trunk.id] = replace(trunk, spec=spec)
    return given_back(before, after.map(made), trunk.name, keep=frozenset(wanted))


def given_back(
    before: Document, after: Document, trunk: str, *, keep: frozenset[str] = frozenset()
) -> Document:
    """`after` with the numbers of a trunk that are not to be kept in the hands of its account, as it was
    `before`."""
    made: dict[str, PolicyObject] = {}
    for did in after.list("dids"):
        if did.spec.get("trunk") == trunk and did.spec["number"] not in keep:
            spec = {field: value for field, value in did.spec.items() if field != "trunk"}
            put(spec, "account", account_of(before, did))
            made[did.id] = replace(did, spec=spec)
    return after.map(made)
