"""The `policy` commands: what would change, changing it, and what has changed, in the store that the
configuration file names."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from config.problem import Finding
from proxy.configuration import load_own
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.objects.changes import Change, diff
from proxy.objects.document import Document
from proxy.objects.editor import Entry, Invalid, PolicyEditor, ReadOnly, Unknown, Version, open_editor
from proxy.objects.errors import EditError
from proxy.objects.yaml_file import Wanted, applying, read_wanted, to_yaml

_SIGNS = {"created": "+", "updated": "~", "deleted": "-"}


class Failed(Exception):
    """What could not be done: a line each. `code` is the exit code."""

    def __init__(self, lines: Iterable[str], code: int = 1) -> None:
        self.lines = list(lines)
        self.code = code
        super().__init__("\n".join(self.lines))


NO_LEDGER = 4


def author() -> str:
    """Who runs the command."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@asynccontextmanager
async def editing(config: Path) -> AsyncIterator[PolicyEditor]:
    """The editor of the store that the file names. What goes wrong with it is Failed."""
    own = load_own(config)
    if own.config is None:
        raise Failed(str(problem) for problem in own.problems)
    section = own.config.ledger
    try:
        editor = open_editor(config, own.config.policy.source, section.url, section.data_dir)
        try:
            yield editor
        finally:
            await editor.close()
    except (LedgerUnavailable, LedgerRefused) as error:
        raise Failed([str(error)], NO_LEDGER) from None
    except Invalid as error:
        raise Failed(f"{path}: {text}" if path else text for path, text in error.problems) from None
    except (EditError, OSError) as error:
        raise Failed([str(error)]) from None


async def plan(config: Path, file: Path) -> tuple[Change, ...]:
    """What `apply` would change."""
    wanted = _readable(file)
    async with editing(config) as editor:
        with _placed(wanted):
            await _each_deck(wanted, editor.know_deck)
            _, changes = await editor.check(applying(wanted), operator=True)
            return changes


async def apply(
    config: Path, file: Path, comment: str, expected: int | None, show: Callable[[tuple[Change, ...]], None]
) -> Version:
    """Put the objects of a file in place of what the store has, after `show` was given the plan. `expected`:
    the version that the store has to be at. The version that is in force then."""
    wanted = _readable(file)
    async with editing(config) as editor:
        with _placed(wanted):
            before = await editor.current()
            if expected is not None and before.number != expected:
                raise Failed([f"the store is at version {before.number}, not {expected}"])
            await _each_deck(wanted, editor.put_deck)
            _, changes = await editor.check(applying(wanted), operator=True)
            show(changes)
            return await editor.change(
                author(), comment or f"apply {file.name}", applying(wanted), before.etag, operator=True
            )


async def _each_deck(wanted: Wanted, take: Callable[[bytes], Awaitable[str]]) -> None:
    for one in wanted.objects:
        data = wanted.rows.get(str(one.spec.get("sha256"))) if one.kind == "rate_decks" else None
        if data is None:
            continue
        try:
            await take(data)
        except Invalid as error:
            found = [": ".join(filter(None, problem)) for problem in error.problems]
            raise Invalid(Finding(f"rate_decks.{one.name}", text) for text in found) from None


async def export(config: Path, number: int | None, decks: Path | None) -> str:
    """The objects of a version, or of what is in force, as YAML; with `decks` the rows of the rate decks are
    written into that folder, and named by their files."""
    async with editing(config) as editor:
        document = (await _version(editor, number)).document
        names: dict[str, str] = {}
        for one in document.list("rate_decks") if decks is not None else ():
            digest = str(one.spec.get("sha256"))
            data = await editor.deck(digest)
            if data is not None and decks is not None:
                names[digest] = _written(decks, f"{one.name}.csv", data)
        return to_yaml(document, names)


async def compare(config: Path, old: int, new: int | None) -> tuple[Change, ...]:
    """What changed between two versions; `new` None: what is in force."""
    async with editing(config) as editor:
        _needs_store(editor)
        before = Document() if old == 0 else (await _version(editor, old)).document
        return diff(before, (await _version(editor, new)).document)


async def history(config: Path, before: int | None, limit: int) -> list[Entry]:
    """The versions, newest first."""
    async with editing(config) as editor:
        _needs_store(editor)
        return await editor.history(before, limit)


async def roll_back(config: Path, number: int, comment: str) -> Version:
    """A new version with what the policy was at an earlier one."""
    async with editing(config) as editor:
        return await editor.roll_back(author(), number, comment)


async def _version(editor: PolicyEditor, number: int | None) -> Version:
    version = await editor.current() if number is None else await editor.version(number)
    if version is None:
        raise Unknown("versions", str(number))
    return version


def _written(folder: Path, name: str, data: bytes) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.absolute() / name
    path.write_bytes(data)
    return str(path)


def _needs_store(editor: PolicyEditor) -> None:
    if editor.read_only is not None:
        raise ReadOnly(editor.read_only)


def _readable(file: Path) -> Wanted:
    wanted = read_wanted(file)
    if wanted.problems:
        raise Failed(str(problem) for problem in wanted.problems)
    return wanted


class _placed:
    """Problems are told with their lines in the file that was to be applied."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Invalid):
            problems = sorted(map(self._wanted.place, error.problems), key=lambda problem: problem.line)
            raise Failed(map(str, problems)) from None


def lines_of(changes: Iterable[Change | Mapping[str, Any]]) -> Iterable[str]:
    """Changes for a person to read."""
    for one in changes:
        change = one.to_json() if isinstance(one, Change) else one
        yield f"{_SIGNS[change['change']]} {change['kind']}[{change['name']}]"
        if change["change"] == "deleted":
            continue
        for name, (old, new) in change["fields"].items():
            if name == "name" and change["change"] == "created":
                continue
            shown = _shown(new) if change["change"] == "created" else f"{_shown(old)} -> {_shown(new)}"
            yield f"    {name}: {shown}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
