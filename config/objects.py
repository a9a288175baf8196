"""The objects of the policy as plain trees: sections that stand in place of a file's, their canonical form,
their secrets.

A tree is what YAML or JSON gives: text, numbers, truth values, null, lists and mappings. References to the
environment and paths of files stay in it as they were written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from config.did import DidConfig, name_by_number
from config.environment import expand, refers
from config.model import AccountConfig, ProfileConfig, ProviderConfig, RateDeckRef, TrunkConfig
from config.outplan import OutplanConfig
from config.policy_source import KINDS
from config.problem import Finding, join
from config.rate_deck import ReadDeck

MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "rate_decks": RateDeckRef,
    "providers": ProviderConfig,
    "accounts": AccountConfig,
    "profiles": ProfileConfig,
    "trunks": TrunkConfig,
    "dids": DidConfig,
    "outplans": OutplanConfig,
}
"""The model of each kind. The name of a rate deck stands above it, the others have theirs in them."""

MASK: Final = "********"
SECRETS: Final = frozenset({"password", "ha1", "secret", "token", "api_key", "callback_secret"})
"""Keys whose values are not shown."""


@dataclass(slots=True)
class Stored:
    """The sections of KINDS as the store has them, in place of those that a file may hold.

    sections: a list of mappings with a `name` for each kind, of rate decks a mapping by name.
    decks: rows by their digest.
    known: False where the objects are not known yet; then nobody asks whether a name that the file gives is
        one of theirs.
    """

    sections: dict[str, Any] = field(default_factory=dict)
    decks: Mapping[str, ReadDeck] = field(default_factory=dict)
    known: bool = True

    def named(self, path: str) -> str | None:
        """A path of the model with the object's name in place of its number: `trunks[office].provider` for
        `trunks[0].provider`. None: it is no path of these objects."""
        kind, bracket, rest = path.partition("[")
        if kind not in self.sections:
            return path if path.partition(".")[0] in KINDS else None
        index, end, field_path = rest.partition("]")
        items = self.sections[kind]
        if not bracket or not end or not index.isdigit() or not isinstance(items, list):
            return path
        name = items[int(index)].get("name", index)
        return f"{kind}[{name}]{field_path}"

    def expanded(self, environ: Mapping[str, str], used: set[str]) -> tuple[dict[str, Any], list[Finding]]:
        """The sections with their references to the environment replaced, and what is wrong with those."""
        findings: list[Finding] = []
        sections: dict[str, Any] = {}
        for kind, section in self.sections.items():
            # Most objects have no references, and there may be thousands.
            if "${" not in str(section):
                sections[kind] = section
            elif isinstance(section, list):
                sections[kind] = [
                    expand_tree(item, environ, used, findings, join(kind, index))
                    if "${" in str(item)
                    else item
                    for index, item in enumerate(section)
                ]
            else:
                sections[kind] = expand_tree(section, environ, used, findings, kind)
        return sections, findings


def name_of(kind: str, item: Any) -> str | None:
    """The name that the tree of an object says; None: it says none, and is none of a number either."""
    if not isinstance(item, Mapping):
        return None
    name = item.get("name")
    if name is None and kind == "dids":
        return name_by_number(item)
    return name if isinstance(name, str) else None


def expand_tree(
    tree: Any, environ: Mapping[str, str], used: set[str], findings: list[Finding], path: str = ""
) -> Any:
    """The tree with its references to the environment replaced."""
    if isinstance(tree, str):
        if "${" not in tree:
            return tree
        return expand(tree, environ, used, lambda message: findings.append(Finding(path, message)))
    if isinstance(tree, Mapping):
        return {
            key: expand_tree(value, environ, used, findings, join(path, str(key)))
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [
            expand_tree(value, environ, used, findings, join(path, index)) for index, value in enumerate(tree)
        ]
    return tree


def canonical(kind: str, name: str, spec: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The fields in the one form that JSON has for them: numbers as numbers, money as decimal text, countries
    in capitals. What refers to the environment, names a file or is secret stays as it is, and so does all of
    an object that the model does not take."""
    findings: list[Finding] = []
    values = expand_tree(spec, environ, set(), findings)
    if kind != "rate_decks":
        values = {**values, "name": name}
    try:
        plain = MODELS[kind].model_validate(values).model_dump(mode="json", exclude_unset=True)
    except ValidationError:
        return dict(spec)
    return {key: value if _as_written(key, value) else plain[key] for key, value in spec.items()}


def _as_written(key: str, value: Any) -> bool:
    return key in SECRETS or key == "file" or key.endswith("_file") or bool(any(_references(value)))


def _references(tree: Any) -> Iterator[bool]:
    if isinstance(tree, str):
        yield refers(tree)
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _references(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _references(value)


def reaches_out(tree: Any, path: str = "") -> Iterator[str]:
    """The paths of what makes an instance read its environment or a file of its machine."""
    if isinstance(tree, str):
        if refers(tree):
            yield path
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            below = join(path, str(key))
            if (key == "file" or str(key).endswith("_file")) and value is not None:
                yield below
            else:
                yield from reaches_out(value, below)
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from reaches_out(value, join(path, index))


@cache
def defaults(kind: str) -> Mapping[str, Any]:
    """What the fields of a kind are when they are left out, as JSON; without those that may not be."""
    found: dict[str, Any] = {}
    for name, info in MODELS[kind].model_fields.items():
        value = info.get_default(call_default_factory=True, validated_data={})
        if value is not PydanticUndefined:
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def masked(tree: Any) -> Any:
    """The tree with MASK in place of secrets; a reference to the environment is none."""
    if isinstance(tree, Mapping):
        return {
            key: MASK if key in SECRETS and _is_secret(value) else masked(value)
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [masked(value) for value in tree]
    return tree


def _is_secret(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and refers(value))
