"""The files that a configuration names: where they are, secrets and rate decks read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

from config.deck import Deck
from config.problem import Finding, Problem, join
from config.rate_deck import ReadDeck, read_deck
from config.structure import Draft

_MAX_SECRET_BYTES = 65_536
_ROWS_OF_THE_STORE = "names rows that are in the store: in a file write `file`"
_SECRETS = {
    "token_file": "token",
    "secret_file": "secret",
    "password_file": "password",
    "callback_secret_file": "callback_secret",
}
"""Keys whose file holds a secret, and the attribute that takes its text."""

Model = TypeVar("Model", bound=BaseModel)


def read_files(draft: Draft, base: Path) -> list[Finding]:
    """Make every path in the draft absolute (relative ones start at `base`), every secret read."""
    findings: list[Finding] = []
    for key, section in draft.sections.items():
        if isinstance(section, BaseModel):
            draft.sections[key] = _resolved(section, key, base, findings)
    for items in draft.items.values():
        for index, (path, item) in enumerate(items):
            if isinstance(item, BaseModel):
                items[index] = path, _resolved(item, path, base, findings)
    for name, deck in draft.entries.get("rate_decks", {}).items():
        draft.entries["rate_decks"][name] = _resolved(deck, f"rate_decks.{name}", base, findings)
    return findings


def _resolved(model: Model, path: str, base: Path, findings: list[Finding]) -> Model:
    changes: dict[str, Any] = {}
    for key in type(model).model_fields:
        value = getattr(model, key)
        if isinstance(value, Path):
            changes[key] = base / value
            secret = _SECRETS.get(key)
            if secret is not None and getattr(model, secret) is None:
                changes[secret] = _secret(base / value, join(path, key), findings)
        elif key in _SECRETS.values() and isinstance(value, SecretStr):
            if not value.get_secret_value().strip():
                findings.append(Finding(join(path, key), "must not be empty"))
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            changes[key] = tuple(
                _resolved(item, join(join(path, key), index), base, findings)
                for index, item in enumerate(value)
            )
    if path == "records" and getattr(model, "file", None) not in (None, "-"):
        changes["file"] = str(base / getattr(model, "file"))  # noqa: B009
    return model.model_copy(update=changes) if changes else model


def _secret(file: Path, path: str, findings: list[Finding]) -> SecretStr | None:
    """The first and only line of a secret's file."""
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        findings.append(Finding(path, f"`{file}` cannot be read: {error.strerror}"))
        return None
    text = data.decode("utf-8", "replace").rstrip("\r\n")
    if not text.strip():
        findings.append(Finding(path, f"`{file}` is empty"))
    elif len(data) > _MAX_SECRET_BYTES or "\n" in text or "\ufffd" in text:
        findings.append(
            Finding(path, f"`{file}` must hold one line of UTF-8 text, the secret, and nothing else")
        )
    else:
        return SecretStr(text)
    return None


def read_decks(
    draft: Draft, stored: Mapping[str, ReadDeck] | None = None
) -> tuple[dict[str, Deck], list[bytes], list[Finding], list[Problem]]:
    """Every deck by name, digests of the files, findings at the model, problems in the files. `stored`: the
    rows that the store has, by digest."""
    decks: dict[str, Deck] = {}
    digests: list[bytes] = []
    findings: list[Finding] = []
    problems: list[Problem] = []
    for name, deck in sorted(draft.entries.get("rate_decks", {}).items()):
        if deck.sha256 is not None:
            read = None if stored is None else stored.get(deck.sha256)
            if read is None:
                text = "the store has no rows of this digest" if stored is not None else _ROWS_OF_THE_STORE
                findings.append(Finding(f"rate_decks.{name}.sha256", text))
                continue
            decks[name], faults = read.deck.copy(), read.faults
            digests.append(bytes.fromhex(deck.sha256))
            problems.extend(Problem(name, fault.line, fault.column, fault.message) for fault in faults)
            continue
        if deck.file is None:
            continue
        try:
            data = deck.file.read_bytes()
        except OSError as error:
            findings.append(
                Finding(f"rate_decks.{name}.file", f"`{deck.file}` cannot be read: {error.strerror}")
            )
            continue
        deck_read, faults = read_deck(data)
        if not len(deck_read) and not faults:
            findings.append(Finding(f"rate_decks.{name}.file", f"`{deck.file}` has no rows"))
        problems.extend(Problem(str(deck.file), fault.line, fault.column, fault.message) for fault in faults)
        decks[name] = deck_read
        digests.append(hashlib.sha256(data).digest())
    return decks, digests, findings, problems
