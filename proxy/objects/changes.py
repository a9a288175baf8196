"""What differs between two documents, fit to be shown: secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from config.objects import masked
from proxy.objects.document import Document, PolicyObject

CREATED, UPDATED, DELETED = "created", "updated", "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is new, gone or different. `fields`: what each field was, and what it is; None:
    nothing. Fields of `extra` are called `extra.telnyx`."""

    kind: str
    name: str
    id: str
    change: str
    fields: Mapping[str, Sequence[Any]]

    def to_json(self) -> dict[str, Any]:
        """As a plain mapping."""
        return asdict(self)


def diff(old: Document, new: Document) -> tuple[Change, ...]:
    """The changes from `old` to `new`, kind by kind: what is gone, then the others in their order."""
    before = {one.id: one for one in old}
    after = {one.id: one for one in new}
    gone = [one for one in old if one.id not in after]
    changes = [Change(one.kind, one.name, one.id, DELETED, _fields(one, None)) for one in gone]
    for one in new:
        earlier = before.get(one.id)
        if earlier is None:
            changes.append(Change(one.kind, one.name, one.id, CREATED, _fields(None, one)))
        elif earlier is not one and (fields := _fields(earlier, one)):
            changes.append(Change(one.kind, one.name, one.id, UPDATED, fields))
    return tuple(changes)


def _fields(old: PolicyObject | None, new: PolicyObject | None) -> dict[str, list[Any]]:
    before, after = _flat(old), _flat(new)
    names = dict.fromkeys([*before, *after])
    return {
        name: _pair(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }


def _pair(name: str, old: Any, new: Any) -> list[Any]:
    pair = masked({"old": {name: old}, "new": {name: new}})
    return [pair["old"][name], pair["new"][name]]


def _flat(one: PolicyObject | None) -> dict[str, Any]:
    if one is None:
        return {}
    extra = {f"extra.{name}": value for name, value in one.extra.items()}
    return {"name": one.name, **one.spec, **extra}


__all__ = ["CREATED", "DELETED", "UPDATED", "Change", "diff"]
