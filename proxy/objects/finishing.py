"""What is done to a changed document before it is judged: canonical form, HA1 for passwords, no reach beyond
the store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from config.environment import refers
from config.model import Digest
from config.objects import canonical, reaches_out
from config.problem import Finding, join
from policy.digest import ha1
from proxy.objects.document import Document, PolicyObject
from proxy.objects.errors import Invalid


def finish(old: Document, new: Document, digest: Digest, *, operator: bool) -> Document:
    """The new document, fit for the store. `operator`: whether who changed it may name variables and files of
    the machine; others may only leave them where they are. Raises Invalid."""
    finished: dict[str, PolicyObject] = {}
    problems: list[Finding] = []
    for one in new:
        before = old.find(one.kind, one.id)
        if before is one:
            continue
        spec = canonical(one.kind, one.name, one.spec, os.environ)
        if one.kind == "trunks":
            problems += _stale_ha1(one.name, before, spec)
            spec = _with_ha1(spec, digest)
        done = replace(one, spec=spec)
        if not _can_be_written(done):
            problems.append(
                Finding(f"{one.kind}[{one.name}]", "holds half of a surrogate pair, which is no text")
            )
        if not operator:
            problems += _reach(before, done)
        finished[one.id] = done
    if problems:
        raise Invalid(problems)
    return new.map(finished)


def _can_be_written(one: PolicyObject) -> bool:
    try:
        json.dumps([one.name, one.spec, one.extra], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_ha1(spec: dict[str, Any], digest: Digest) -> dict[str, Any]:
    """A password of callers is not kept: what stands for it does as well, by every algorithm that callers are
    offered, since each of them may know another."""
    password, username = spec.get("password"), spec.get("username")
    if not isinstance(password, str) or not isinstance(username, str):
        return spec
    if refers(password) or refers(username) or not password:
        return spec
    stored = " ".join(
        f"{name}:{ha1(name, username, digest.realm, password).decode()}" for name in digest.algorithms
    )
    return {key: value for key, value in spec.items() if key != "password"} | {"ha1": stored}


def _stale_ha1(name: str, before: PolicyObject | None, spec: Mapping[str, Any]) -> Iterator[Finding]:
    """An HA1 is of one user name."""
    if before is None or spec.get("ha1") is None or spec["ha1"] != before.spec.get("ha1"):
        return
    if spec.get("username") != before.spec.get("username") and spec.get("password") is None:
        yield Finding(
            f"trunks[{name}].username", "is another than the stored secret is of: give `password`, too"
        )


def _reach(before: PolicyObject | None, one: PolicyObject) -> Iterator[Finding]:
    for path in reaches_out(one.spec):
        if before is None or _at(before.spec, path) != _at(one.spec, path):
            text = "names a file or a variable of the machine, which only the operator's own commands may"
            yield Finding(join(f"{one.kind}[{one.name}]", path), text)


def _at(spec: Mapping[str, Any], path: str) -> Any:
    """What stands at a path of `reaches_out`."""
    return dict(_leaves(spec)).get(path)


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, join(path, str(key)))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _leaves(value, join(path, index))
    else:
        yield path, tree
