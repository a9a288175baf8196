"""Documents as YAML files: an operator's file put in place of what the store has, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import yaml

from config.environment import refers
from config.objects import MASK, name_of
from config.policy_source import KINDS
from config.problem import Finding, Problem, join
from proxy.configuration import Tree, load_tree
from proxy.objects.document import Document, PolicyObject, kept_secrets, new_id

_NAMESPACE = UUID("0b0f6d3e-6f0e-5c0e-9d9b-7d6c6a3f5a51")


def id_by_name(kind: str, name: str) -> str:
    """The id of an object of a file: always the same for its kind and name."""
    return str(uuid5(_NAMESPACE, f"{kind}/{name}"))


@dataclass(slots=True)
class Wanted:
    """The objects of a file, as they stand there, and the rows of its rate decks by digest. `problems`: why
    it cannot be read."""

    path: Path
    tree: Tree = field(default_factory=Tree)
    objects: list[PolicyObject] = field(default_factory=list)
    rows: dict[str, bytes] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, finding: Finding) -> Problem:
        """A finding of the editor with its line in this file, where it has one."""
        kind, bracket, rest = finding.path.partition("[")
        name, _, below = rest.partition("]")
        items = self.tree.value.get(kind) if isinstance(self.tree.value, dict) else None
        path = ""
        if bracket and isinstance(items, list):
            index = next((at for at, item in enumerate(items) if name_of(kind, item) == name), None)
            path = "" if index is None else f"{kind}[{index}]{below}"
        elif finding.path.partition(".")[0] in KINDS:
            path = finding.path
        line = self.tree.locate(path) if path else 0
        return Problem(str(self.path), line, finding.path, finding.message)


def read_wanted(path: Path, *, rows: bool = True) -> Wanted:
    """The objects of a YAML file, whether it holds them alone or is a whole configuration. Never raises for
    what stands in it. `rows`: read those of its rate decks, too."""
    wanted = Wanted(path)
    try:
        wanted.tree = load_tree(path)
    except OSError as error:
        wanted.problems.append(Problem(str(path), 0, "", f"cannot be read: {error.strerror}"))
        return wanted
    wanted.problems += [Problem(str(path), line, *found) for line, found in wanted.tree.findings]
    tree = wanted.tree.value
    if not isinstance(tree, dict):
        if not wanted.problems:
            wanted.problems.append(Problem(str(path), 1, "", "must be a mapping of keys such as `trunks:`"))
        return wanted
    for kind in KINDS:
        for place, name, spec in _items(kind, tree.get(kind)):
            if name is None or spec is None:
                line = wanted.tree.locate(place)
                needed = "number" if kind == "dids" else "name"
                text = f"must be a mapping with a `{needed}`"
                wanted.problems.append(Problem(str(path), line, place, text))
            else:
                one = PolicyObject(kind, "", name, spec)
                wanted.objects.append(_with_rows(one, place, wanted) if rows else one)
    return wanted


def _items(kind: str, section: Any) -> Iterable[tuple[str, str | None, dict[str, Any] | None]]:
    """The place, the name and the fields of each entry; None for what is not there."""
    if section is None:
        return
    if kind == "rate_decks" and isinstance(section, dict):
        for name, spec in section.items():
            yield join(kind, name), name, spec if isinstance(spec, dict) else None
    elif kind != "rate_decks" and isinstance(section, list):
        for index, item in enumerate(section):
            whole = item if isinstance(item, dict) else None
            spec = None if whole is None else {key: whole[key] for key in whole if key != "name"}
            yield join(kind, index), name_of(kind, item), spec
    else:
        yield kind, None, None


def _with_rows(one: PolicyObject, place: str, wanted: Wanted) -> PolicyObject:
    """A rate deck with its rows' digest in place of their file."""
    file = one.spec.get("file") if one.kind == "rate_decks" else None
    if not isinstance(file, str):
        return one
    try:
        data = (wanted.path.absolute().parent / file).read_bytes()
    except OSError as error:
        text = f"`{file}` cannot be read: {error.strerror}"
        line = wanted.tree.locate(place)
        wanted.problems.append(Problem(str(wanted.path), line, join(place, "file"), text))
        return one
    digest = sha256(data).hexdigest()
    wanted.rows[digest] = data
    return replace(one, spec={"sha256": digest, **{key: one.spec[key] for key in one.spec if key != "file"}})


def applying(wanted: Wanted) -> Callable[[Document], Document]:
    """The operation that makes the file's objects all that there are. One of the same kind and name stays the
    same object: it keeps its id, and what a carrier's API has stored with it. An account that is new has an
    id that no account had before: tokens of one that went by its name are not tokens of this one."""

    def apply(document: Document) -> Document:
        objects = []
        for one in wanted.objects:
            old = document.find(one.kind, one.name)
            if old is not None and old.name == one.name:
                made = replace(old, spec=one.spec)
            else:
                key = id_by_name(one.kind, one.name)
                fresh = one.kind == "accounts" or document.find(one.kind, key) is not None
                made = replace(one, id=new_id() if fresh else key)
            objects.append(kept_secrets(made, old))
        return Document(objects)

    return apply


def to_yaml(document: Document, decks: Mapping[str, str] | None = None) -> str:
    """The objects as the sections of a file. `decks`: the file names of rows, by digest; a deck of others
    names its rows by their digest. A password is masked: where it is put back it stays what it is."""
    sections: dict[str, Any] = {}
    for kind, section in document.sections().items():
        if kind == "rate_decks":
            section = {name: _with_file(spec, decks or {}) for name, spec in section.items()}
        else:
            section = [_exported(spec) for spec in section]
        if section:
            sections[kind] = section
    if not sections:
        return "{}\n"
    return yaml.safe_dump(sections, sort_keys=False, allow_unicode=True, width=100)


def _with_file(spec: Mapping[str, Any], decks: Mapping[str, str]) -> dict[str, Any]:
    name = decks.get(str(spec.get("sha256")))
    if name is None:
        return dict(spec)
    return {"file": name, **{key: value for key, value in spec.items() if key != "sha256"}}


def _exported(spec: Mapping[str, Any]) -> dict[str, Any]:
    password = spec.get("password")
    if not isinstance(password, str) or refers(password):
        return dict(spec)
    return {**spec, "password": MASK}
