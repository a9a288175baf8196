"""The objects of the configuration file as a document: to seed a store, to be compared, to be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from config.objects import canonical
from config.problem import Finding
from proxy.objects.document import Document
from proxy.objects.errors import Invalid
from proxy.objects.yaml_file import Wanted, id_by_name, read_wanted

_TICK = timedelta(microseconds=1)


def document_of_file(path: Path) -> tuple[Document, dict[str, bytes]]:
    """The objects of a file, and the rows of its rate decks by digest; such a deck names its rows by that
    digest and not by its file any more. Raises Invalid."""
    wanted = _sound(read_wanted(path))
    return Document(replace(one, id=id_by_name(one.kind, one.name)) for one in wanted.objects), wanted.rows


def document_as_written(path: Path, environ: Mapping[str, str] | None = None) -> Document:
    """The objects of a file in canonical form, rate decks with their files; as old as the file. Raises
    Invalid or OSError."""
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    wanted = _sound(read_wanted(path, rows=False))
    return Document(
        replace(
            one,
            id=id_by_name(one.kind, one.name),
            spec=canonical(one.kind, one.name, one.spec, os.environ if environ is None else environ),
            created_at=at + _TICK * place,
            updated_at=at + _TICK * place,
        )
        for place, one in enumerate(wanted.objects)
    )


def _sound(wanted: Wanted) -> Wanted:
    if wanted.problems:
        raise Invalid(Finding(problem.path, problem.message) for problem in wanted.problems)
    return wanted
