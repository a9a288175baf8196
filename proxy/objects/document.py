"""Document: the objects of the policy at one version. Pure and unchangeable: an operation gives another one.

An operation of the editor is a function from a document to a document:

    lambda document: document.create("trunks", "office", {"allowed_sip_ips": ["192.0.2.1"]}, id=new_id())
    lambda document: document.patch("trunks", key, {"capacity_limit": 5})
    lambda document: document.require("trunks", key, etag).delete("trunks", key)

A `key` is an object's id or its name. When an object was made and changed is stamped by the editor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any, Final
from uuid import uuid4

from config.objects import MASK, SECRETS, defaults, masked
from config.policy_source import KINDS
from config.problem import Finding, join
from proxy.objects.errors import Conflict, Invalid, Unknown

FORMAT: Final = 1
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


def new_id() -> str:
    """An id for an object."""
    return str(uuid4())


@dataclass(frozen=True)
class PolicyObject:
    """One object.

    kind: one of KINDS. id: a UUID. name: of our grammar, unique in its kind.
    created_at, updated_at: no two objects have the same `created_at`.
    spec: the fields of the configuration's model without its name, as JSON; those that are not here have
        their defaults. Secrets are in it: show `shown`.
    extra: what a carrier's API gives back and the model has no field for, by carrier.
    """

    kind: str
    id: str
    name: str
    spec: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime = _NEVER
    updated_at: datetime = _NEVER

    @property
    def full(self) -> dict[str, Any]:
        """The spec with the defaults of what it leaves out."""
        return {**defaults(self.kind), **self.spec}

    @property
    def shown(self) -> dict[str, Any]:
        """`full` with MASK in place of secrets. A MASK that is written back leaves the secret as it is."""
        shown: dict[str, Any] = masked(self.full)
        return shown

    @cached_property
    def etag(self) -> str:
        """Changes whenever the object does. Nothing can be learnt from it: a digest of the spec would let who
        sees all else of it try passwords, and what is the operator's own. So it is made of when the object
        was changed, which no two of its states share; where the policy is in the file, which nobody changes
        here, of what is shown."""
        content = (
            [masked(self.spec), self.extra] if self.updated_at == _NEVER else self.updated_at.isoformat()
        )
        return sha256(_json([self.id, self.name, content])).hexdigest()[:32]

    def section(self) -> dict[str, Any]:
        """What the configuration file would hold."""
        return dict(self.spec) if self.kind == "rate_decks" else {"name": self.name, **self.spec}


class Document:
    """All objects, each kind in the order in which its objects were made."""

    def __init__(self, objects: Iterable[PolicyObject] = ()) -> None:
        """Raises Invalid for an id or name that stands twice in a kind, or an unknown kind."""
        self._kinds: dict[str, dict[str, PolicyObject]] = {kind: {} for kind in KINDS}
        self._names: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
        problems = []
        for one in objects:
            if one.kind not in self._kinds:
                problems.append(Finding(one.kind, "is no kind of object"))
            elif one.name in self._names[one.kind] or one.id in self._kinds[one.kind]:
                problems.append(_taken(one.kind, one.name))
            else:
                self._kinds[one.kind][one.id] = one
                self._names[one.kind][one.name] = one.id
        if problems:
            raise Invalid(problems)

    # Reading

    def __iter__(self) -> Iterator[PolicyObject]:
        for objects in self._kinds.values():
            yield from objects.values()

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values()))

    def list(self, kind: str) -> list[PolicyObject]:
        """The objects of a kind, the oldest first."""
        return list(self._kinds[kind].values())

    def find(self, kind: str, key: str) -> PolicyObject | None:
        """The object of that id, or else of that name."""
        objects = self._kinds[kind]
        return objects.get(key) or objects.get(self._names[kind].get(key, ""))

    def get(self, kind: str, key: str) -> PolicyObject:
        """As `find`. Raises Unknown."""
        found = self.find(kind, key)
        if found is None:
            raise Unknown(kind, key)
        return found

    def free_name(self, kind: str, wanted: str, fallback: str = "object") -> str:
        """A name of our grammar, made from `wanted`, that no object of the kind has: `acme-2` and so on where
        it is taken."""
        kept = (char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in wanted)
        base = "".join(kept).strip("._-")[:56].rstrip("._-") or fallback
        name, number = base, 1
        while name in self._names[kind]:
            number += 1
            name = f"{base}-{number}"
        return name

    # Operations

    def create(
        self,
        kind: str,
        name: str,
        spec: Mapping[str, Any],
        *,
        id: str,  # noqa: A002 - it is called so
        extra: Mapping[str, Any] | None = None,
    ) -> Document:
        """One more object. Raises Invalid when its name or id is taken."""
        if name in self._names[kind] or id in self._kinds[kind]:
            raise Invalid([_taken(kind, name)])
        made = PolicyObject(kind, id, name, _without_name(kind, spec), dict(extra or {}))
        return self._with(kind, {**self._kinds[kind], id: kept_secrets(made, None)})

    def replace(
        self,
        kind: str,
        key: str,
        spec: Mapping[str, Any],
        *,
        name: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Document:
        """Another spec for an object, and another name or extra where they are given. Raises Unknown, and
        Invalid when the name is taken."""
        old = self.get(kind, key)
        new = replace(
            old,
            name=old.name if name is None else name,
            spec=_without_name(kind, spec),
            extra=old.extra if extra is None else dict(extra),
        )
        if new.name != old.name and new.name in self._names[kind]:
            raise Invalid([_taken(kind, new.name)])
        return self._with(kind, {**self._kinds[kind], old.id: kept_secrets(new, old)})

    def patch(
        self, kind: str, key: str, changes: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None
    ) -> Document:
        """Merge `changes` into the spec, and `extra` into the extra (RFC 7396: null takes a field away, so
        that it has its default again). `name` among the changes is another name. Raises as `replace`."""
        old = self.get(kind, key)
        spec = merge_patch(old.spec, {field: value for field, value in changes.items() if field != "name"})
        name = changes.get("name", old.name)
        if not isinstance(name, str):
            raise Invalid([Finding(f"{kind}[{old.name}].name", "must be text")])
        return self.replace(
            kind, old.id, spec, name=name, extra=None if extra is None else merge_patch(old.extra, extra)
        )

    def delete(self, kind: str, key: str) -> Document:
        """One object less. Raises Unknown. That another object still refers to it shows when the policy is
        compiled."""
        gone = self.get(kind, key)
        return self._with(kind, {key: one for key, one in self._kinds[kind].items() if key != gone.id})

    def require(self, kind: str, key: str, etag: str) -> Document:
        """This document, if the object is still what the writer saw. Raises Conflict, and Unknown."""
        if self.get(kind, key).etag != etag:
            raise Conflict(f"`{key}` has been changed by somebody else")
        return self

    def _with(self, kind: str, objects: dict[str, PolicyObject]) -> Document:
        made = Document.__new__(Document)
        made._kinds = {**self._kinds, kind: objects}
        made._names = {**self._names, kind: {one.name: one.id for one in objects.values()}}
        return made

    def map(self, objects: Mapping[str, PolicyObject]) -> Document:
        """The document with these in place of the objects of their ids."""
        made = Document.__new__(Document)
        made._names = self._names
        made._kinds = {
            kind: {key: objects.get(key, one) for key, one in each.items()}
            for kind, each in self._kinds.items()
        }
        return made

    def stamped(self, before: Document, at: datetime) -> Document:
        """The document with `at` as the time of what is new or changed since `before`. What is new differs by
        a microsecond each; none is earlier than anything in `before`."""
        latest = max((one.updated_at for one in before), default=_NEVER)
        at = max(at, latest + _TICK)
        stamped = {}
        for one in self:
            old = before._kinds[one.kind].get(one.id)
            if old is None and one.created_at == _NEVER:
                stamped[one.id] = replace(one, created_at=at, updated_at=at)
                at += _TICK
            elif old is None:  # it has been here before
                stamped[one.id] = replace(one, updated_at=at)
            elif old is not one and (old.name, old.spec, old.extra) != (one.name, one.spec, one.extra):
                stamped[one.id] = replace(one, created_at=old.created_at, updated_at=at)
        return self.map(stamped)

    # As bytes

    def to_json(self) -> bytes:
        """For the store: a line that names the format, and a line an object, so that who reads them one by
        one keeps no other thread waiting."""
        lines = [_json({"format": FORMAT})]
        for one in self:
            fields = {
                "kind": one.kind,
                "id": one.id,
                "name": one.name,
                "created_at": one.created_at.isoformat(),
                "updated_at": one.updated_at.isoformat(),
                "spec": one.spec,
                "extra": one.extra,
            }
            lines.append(_json(fields))
        return b"\n".join(lines)

    @classmethod
    def from_json(cls, data: bytes) -> Document:
        """What `to_json` wrote. Raises ValueError for what a later version of the program wrote."""
        head, *lines = data.split(b"\n")
        if json.loads(head).get("format") != FORMAT:
            raise ValueError("it was written by a later version of the program")
        try:
            return cls(map(_object, lines))
        except (KeyError, Invalid) as error:
            raise ValueError(f"it was written by another version of the program: {error}") from None

    def sections(self) -> dict[str, Any]:
        """The sections of a configuration file that these objects are."""
        found: dict[str, Any] = {}
        for kind, objects in self._kinds.items():
            if kind == "rate_decks":
                found[kind] = {one.name: one.section() for one in objects.values()}
            else:
                found[kind] = [one.section() for one in objects.values()]
        return found

    def decks(self) -> tuple[str, ...]:
        """The digests of the rows that the rate decks name."""
        named = (one.spec.get("sha256") for one in self._kinds["rate_decks"].values())
        return tuple(dict.fromkeys(digest for digest in named if isinstance(digest, str)))


def _object(line: bytes) -> PolicyObject:
    fields = json.loads(line)
    return PolicyObject(
        fields["kind"],
        fields["id"],
        fields["name"],
        fields["spec"],
        fields["extra"],
        datetime.fromisoformat(fields["created_at"]),
        datetime.fromisoformat(fields["updated_at"]),
    )


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396 §2."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _without_name(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "name" or kind == "rate_decks"}


def kept_secrets(new: PolicyObject, old: PolicyObject | None) -> PolicyObject:
    """`new` with the secrets of `old` where they were written back masked. Raises Invalid where there is
    none."""
    masks = [key for key in SECRETS if new.spec.get(key) == MASK]
    if not masks:
        return new
    spec = dict(new.spec)
    problems = []
    for key in masks:
        if old is None or key not in old.spec:
            path = join(f"{new.kind}[{new.name}]", key)
            problems.append(
                Finding(path, "is masked, and there is no such secret here: give the secret itself")
            )
        else:
            spec[key] = old.spec[key]
    if problems:
        raise Invalid(problems)
    return replace(new, spec=spec)


def _taken(kind: str, name: str) -> Finding:
    return Finding(f"{kind}[{name}].name", f"`{name}` is the name of another one already")


def _json(tree: object) -> bytes:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()
