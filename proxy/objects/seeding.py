"""The objects of a configuration file as a document: to seed a store, to be compared with one, to be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from config.objects import canonical
from proxy.configuration import load_sections
from proxy.objects.document import Document, PolicyObject

_NAMESPACE = UUID("0b0f6d3e-6f0e-5c0e-9d9b-7d6c6a3f5a51")


def id_by_name(kind: str, name: str) -> str:
    """The id of an object of a file: always the same for its kind and name."""
    return str(uuid5(_NAMESPACE, f"{kind}/{name}"))


def document_of_file(
    path: Path, environ: Mapping[str, str] | None = None
) -> tuple[Document, dict[str, bytes]]:
    """The objects of a file that has no problems, and the rows of its rate decks by digest; such a deck names
    its rows by that digest and not by its file any more. Raises OSError, ValueError or Invalid."""
    rows: dict[str, bytes] = {}
    objects = []
    for one in _objects(path, os.environ if environ is None else environ):
        if one.kind == "rate_decks" and one.spec.get("file"):
            data = (path.absolute().parent / str(one.spec["file"])).read_bytes()
            digest = sha256(data).hexdigest()
            rows[digest] = data
            one = replace(one, spec={"sha256": digest, **_without(one.spec, "file")})
        objects.append(one)
    return Document(objects), rows


def document_as_written(path: Path, environ: Mapping[str, str] | None = None) -> Document:
    """The objects of a file that has no problems, rate decks with their files; as old as the file."""
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    tick = timedelta(microseconds=1)
    return Document(
        replace(one, created_at=at + tick * place, updated_at=at + tick * place)
        for place, one in enumerate(_objects(path, os.environ if environ is None else environ))
    )


def _objects(path: Path, environ: Mapping[str, str]) -> list[PolicyObject]:
    objects = []
    for kind, section in load_sections(path).items():
        items = section.items() if isinstance(section, dict) else ((item["name"], item) for item in section)
        for name, item in items:
            spec = canonical(kind, name, _without(item, "name") if kind != "rate_decks" else item, environ)
            objects.append(PolicyObject(kind, id_by_name(kind, name), name, spec))
    return objects


def _without(spec: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name != key}
