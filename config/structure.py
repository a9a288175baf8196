"""A tree against the model: every section and every list item by itself, so that one fault hides no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.model import Config
from config.problem import Finding, join
from config.tree import Value
from config.values import show

_LISTS = ("listen", "accept_unenforced", "providers", "accounts", "profiles", "trunks", "dids", "outplans")
_MAPPINGS = ("refusals", "exchange_rates", "rate_decks")
_SECTIONS = ("admin", "ledger", "timers", "records", "digest", "policy", "webhooks")
_STAND_INS: dict[str, dict[str, Value]] = {
    "providers": {"hostname": "unknown.invalid"},
    "dids": {"number": "+999999"},
}
"""What a faulty field without a default is replaced by, so that the rest of its item is still judged."""
_SAME_LIMITS = ({"capacity_limit", "concurrent_call_limit"}, {"threshold_amount", "daily_spend_limit"})
"""What trunks and accounts call otherwise than profiles: no spelling tells that one means the other."""
_MAY_BE_EMPTY = frozenset({*_SECTIONS, *_LISTS, *_MAPPINGS} - {"listen"})
"""Sections of which nothing may be left, all entries commented out: then they have their defaults."""


@dataclass(slots=True)
class Draft:
    """The parts of a configuration that are sound by themselves.

    sections: valid values of the keys that are neither a list nor a mapping of entries; of absent sections
        the default.
    items: for each list key the valid items with their paths.
    entries: for each mapping key its valid entries.
    broken: for each list or mapping the names of entries that have a fault: known, though not usable; for any
        other key with a fault nothing but the key.
    faulty: for the path of an item that is in `items` though some of its fields have a fault: those fields.
        They are left out of it, so a rule that reads one of them cannot judge it.
    objects_elsewhere: whether the objects of the policy are not here, so that no name of one can be judged.
    """

    sections: dict[str, Any] = field(default_factory=dict)
    items: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: dict[str, set[str]] = field(default_factory=dict)
    faulty: dict[str, frozenset[str]] = field(default_factory=dict)
    objects_elsewhere: bool = False

    def config(self) -> Config:
        """The whole; only when there were no findings."""
        lists = {key: tuple(item for _, item in items) for key, items in self.items.items()}
        return Config.model_validate({**self.sections, **lists, **self.entries})


def read_structure(tree: Value) -> tuple[Draft, list[Finding]]:
    """The draft of a file's tree, and every way in which the tree is not what the model wants."""
    draft = Draft()
    if not isinstance(tree, dict):
        return draft, [Finding("", f"must be a mapping of keys such as `trunks:`, not {show(tree)}")]
    findings: list[Finding] = []
    for key, value in tree.items():
        if value is None and key in _MAY_BE_EMPTY:
            continue
        if key in _LISTS and isinstance(value, list):
            findings.extend(_read_list(draft, key, value))
        elif key in _MAPPINGS and isinstance(value, dict):
            findings.extend(_read_mapping(draft, key, value))
        else:
            config, errors = _validate(key, value)
            findings.extend(_findings(errors))
            if config is None and isinstance(value, dict):
                config, _ = _validate(key, _without(value, _unknown(errors, depth=1)))
            if config is not None:
                draft.sections[key] = getattr(config, key)
            else:
                draft.broken.setdefault(key, set())
    for key in _SECTIONS:
        if key not in draft.broken and key not in draft.sections:
            draft.sections[key] = Config.model_fields[key].get_default()
    return draft, findings


def _validate(key: str, value: Any) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        return Config.model_validate({key: value}), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _read_list(draft: Draft, key: str, values: list[Value]) -> Iterator[Finding]:
    items = draft.items.setdefault(key, [])
    config, errors = _validate(key, values)
    if config is not None:  # most lists are sound, and at once is several times faster
        items += [(join(key, index), item) for index, item in enumerate(getattr(config, key))]
        return
    if not values:
        yield from _findings(errors)
    for index, value in enumerate(values):
        path = join(key, index)
        config, errors = _validate(key, [value])
        yield from _findings(errors, index)
        if config is None and isinstance(value, dict):
            if isinstance(value.get("name"), str):
                draft.broken.setdefault(key, set()).add(str(value["name"]))
            unknown = _unknown(errors, depth=2)
            faulty = frozenset(str(error["loc"][2]) for error in errors if len(error["loc"]) > 2) - unknown
            stand_ins = {name: text for name, text in _STAND_INS.get(key, {}).items() if name in faulty}
            config, _ = _validate(key, [_without(value, faulty | unknown) | stand_ins])
            if faulty:
                draft.faulty[path] = faulty
        if config is not None:
            items.append((path, getattr(config, key)[0]))


def _unknown(errors: Iterable[ErrorDetails], depth: int) -> frozenset[str]:
    """The unknown keys of a section or item itself; what is below them is nobody's."""
    return frozenset(
        str(error["loc"][depth])
        for error in errors
        if error["type"] == "extra_forbidden" and len(error["loc"]) == depth + 1
    )


def _without(value: dict[str, Value], names: frozenset[str]) -> dict[str, Value]:
    return {name: item for name, item in value.items() if name not in names}


def _read_mapping(draft: Draft, key: str, values: dict[str, Value]) -> Iterator[Finding]:
    entries = draft.entries.setdefault(key, {})
    for name, value in values.items():
        config, errors = _validate(key, {name: value})
        if config is not None:
            entries.update(getattr(config, key))
        else:
            yield from _findings(errors)
            draft.broken.setdefault(key, set()).add(name)


def _findings(errors: Iterable[ErrorDetails], index: int = 0) -> Iterator[Finding]:
    for error in errors:
        if error["type"] == "too_short" and error["input"]:
            continue  # its entries are faulty, each of which says so
        location = list(error["loc"])
        if index and len(location) > 1:
            location[1] = index
        if location and location[-1] == "[key]":
            location.pop()
        path = ""
        for part in location:
            path = join(path, part)
        yield Finding(path, _message(error, location))


def _message(error: ErrorDetails, location: list[str | int]) -> str:
    kind, value = error["type"], error.get("input")
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        hint = " (leave the key out for its default)" if "not null" in text and _has_default(location) else ""
        return text + hint
    if kind == "extra_forbidden":
        return _unknown_key(location)
    if kind == "missing":
        return "is required"
    if kind in ("tuple_type", "list_type"):
        hint = f": write `[{value}]`" if isinstance(value, str) and value and len(value) < 40 else ""
        return f"must be a list, not {show(value)}{hint}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a mapping, not {show(value)}"
    if kind == "string_type":
        return f"must be text, not {show(value)}"
    if kind == "path_type":
        return f"must be the path of a file, not {show(value)}"
    if kind == "too_short":
        return "must not be empty"
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}"


def _unknown_key(location: list[str | int]) -> str:
    key, known = str(location[-1]), _known_keys(location[:-1])
    for names in _SAME_LIMITS:
        if key in names and not names.isdisjoint(known):
            return f"unknown key; here it is called `{names.intersection(known).pop()}`"
    return f"unknown key{nearest(key, known)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the word most like `word`, or nothing when none is like it."""
    by_folded = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), sorted(by_folded), n=1, cutoff=0.6)
    return f"; did you mean `{by_folded[close[0]]}`?" if close else ""


def _known_keys(location: list[str | int]) -> list[str]:
    return list(_model_at(location).model_fields)


def _has_default(location: list[str | int]) -> bool:
    field_info = _model_at(location[:-1]).model_fields.get(str(location[-1]))
    return field_info is not None and not field_info.is_required()


def _model_at(location: list[str | int]) -> type[BaseModel]:
    """The model of the section or item that a location leads to."""
    model: type[BaseModel] = Config
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _inner_model(model.model_fields[part].annotation) or model
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
