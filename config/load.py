"""load_config: a YAML file, and the files that it names, into the model, with all problems at once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from config.deck import Deck
from config.did_rules import place_dids
from config.files import read_decks, read_files
from config.model import Config
from config.objects import Stored
from config.policy_source import KINDS
from config.problem import Finding, Problem, join
from config.references import check_references
from config.scopes import Report
from config.structure import Draft, read_structure
from config.tree import Tree, Value, read_tree
from config.webhooks import secret_findings

if TYPE_CHECKING:
    from config.signing import StirFiles

_SECRET_PATH = re.compile(
    r"admin\.token|ledger\.(?:url|secret)|(?:trunks|providers)\[\d+\]\.(?:password|ha1|callback_secret)"
    r"|webhooks\.(?:callback_secret|endpoints\[\d+\]\.secret)"
)
_OWN = frozenset({"listen", "advertise", "admin", "records"})
_SHORTEST_HIDDEN = 3

STORE = "store"
"""What stands in place of a file's name where an object of the store has a problem."""


@dataclass(slots=True)
class Loaded:
    """What a configuration file holds.

    config: None when there are problems. Its paths are absolute and its secrets read.
    decks: rows of the rate decks by name.
    stir: keys and certificates of that section; None where there is none.
    problems: what refuses the file, by file and line. warnings: what deserves a look.
    objects_elsewhere: whether the objects of the policy are in the store and were not given.
    digest: 16 hexadecimal digits over all that the files say, secrets left out and what is one instance's own
        (its addresses, where it writes); layout and comments of the YAML file do not change it. So instances
        with one policy have one digest.
    """

    file: str
    config: Config | None = None
    decks: dict[str, Deck] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    digest: str = ""
    stir: StirFiles | None = None
    tree: Tree = field(default_factory=Tree, repr=False)
    stored: Stored | None = field(default=None, repr=False)
    objects_elsewhere: bool = False

    def locate(self, path: str) -> int:
        """The line of a model path such as `trunks[0].provider`, or of the nearest path around it."""
        return self.tree.locate(path)

    def problem(self, path: str, message: str) -> Problem:
        """A finding about the model, of the policy compiler for instance, with its place in the file, or with
        the object's name where it is of the store."""
        named = None if self.stored is None else self.stored.named(path)
        if named is not None:
            return Problem(STORE, 0, named, message)
        return Problem(self.file, self.locate(path), path, message)

    def add(self, problems: Iterable[tuple[str, str]], warnings: Iterable[tuple[str, str]] = ()) -> None:
        """Take in what the policy compiler found, as (path, message), in the order of the file."""
        self.problems = _in_order(self.problems, (self.problem(*finding) for finding in problems))
        self.warnings = _in_order(self.warnings, (self.problem(*finding) for finding in warnings))


def load_config(
    path: str | Path,
    environ: Mapping[str, str] | None = None,
    now: datetime | None = None,
    stored: Stored | None = None,
) -> Loaded:
    """Read a configuration file. Never raises for what stands in files; see Loaded.problems.

    `stored`: the objects of the policy, in place of those in the file, which are then not looked at.

    Relative paths in it start at the file's own folder. `environ` is what `${NAME}` is taken from; None: the
    environment of the process. `now` is when certificates have to be valid; None: now.
    """
    loaded = Loaded(str(path))
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        loaded.problems.append(Problem(loaded.file, 0, "", f"cannot be read: {error.strerror}"))
        return loaded
    environ = os.environ if environ is None else environ
    if stored is None:
        tree = loaded.tree = read_tree(data, environ)
    else:
        own = _own_tree(data, tuple(environ.items()))
        tree = loaded.tree = Tree(own.value, own.lines, set(own.environment), list(own.findings))
    if stored is not None and isinstance(tree.value, dict):
        _put_in_place(loaded, stored, environ)
    loaded.problems += [Problem(loaded.file, line, *finding) for line, finding in tree.findings]
    if tree.value is not None or not tree.findings:
        _read_model(loaded, Path(path).absolute().parent, now or datetime.now(UTC))
    _hide(loaded, environ)
    loaded.problems = _in_order(loaded.problems)
    loaded.warnings = _in_order(loaded.warnings)
    return loaded


@lru_cache(maxsize=1)
def _own_tree(data: bytes, environ: tuple[tuple[str, str], ...]) -> Tree:
    """The tree of a file without the policy's objects. The objects of the store change more often than the
    file, and whoever parses YAML keeps all other threads waiting."""
    tree = read_tree(data, dict(environ))
    if isinstance(tree.value, dict):
        tree.value = {key: value for key, value in tree.value.items() if key not in KINDS}
    tree.findings = [(line, found) for line, found in tree.findings if _kind_of(found.path) not in KINDS]
    return tree


def _kind_of(path: str) -> str:
    """The section that a path leads into."""
    return path.partition("[")[0].partition(".")[0]


def _put_in_place(loaded: Loaded, stored: Stored, environ: Mapping[str, str]) -> None:
    """The store's sections for the file's."""
    tree = loaded.tree
    assert isinstance(tree.value, dict)
    loaded.stored = stored
    sections, findings = stored.expanded(environ, tree.environment)
    tree.value = tree.value | sections
    loaded.problems += [loaded.problem(*finding) for finding in findings]


def read_as_written(path: str | Path) -> Tree:
    """What a file says, references to the environment unread. Raises OSError."""
    return read_tree(Path(path).read_bytes(), None)


def _objects_elsewhere(loaded: Loaded) -> bool:
    """Whether the file's own sections are all that is known: its objects are in the store."""
    if loaded.stored is not None:
        return not loaded.stored.known
    tree = loaded.tree.value
    section = tree.get("policy") if isinstance(tree, dict) else None
    in_store = isinstance(section, dict) and section.get("source") == "store"
    return in_store and isinstance(tree, dict) and not any(tree.get(kind) for kind in KINDS)


def _read_model(loaded: Loaded, base: Path, now: datetime) -> None:
    reported = {finding.path for _, finding in loaded.tree.findings}
    draft, findings = read_structure(loaded.tree.value)
    place_dids(draft)
    draft.objects_elsewhere = loaded.objects_elsewhere = _objects_elsewhere(loaded)
    report = check_references(draft) if isinstance(loaded.tree.value, dict) else Report()
    findings += read_files(draft, base)
    if "webhooks" in draft.sections:
        findings += secret_findings(draft.sections["webhooks"])
    certificates = _certificates(draft, now)
    loaded.stir = _stir(draft, now, certificates)
    loaded.decks, digests, more, deck_problems = read_decks(
        draft, None if loaded.stored is None else loaded.stored.decks
    )
    for finding in [*findings, *report.problems, *certificates.problems, *more]:
        if finding.path not in reported or not finding.path:
            loaded.problems.append(loaded.problem(*finding))
    loaded.problems += (fault._replace(file=_as_given(fault.file, loaded.file)) for fault in deck_problems)
    loaded.warnings = [loaded.problem(*finding) for finding in [*report.warnings, *certificates.warnings]]
    loaded.digest = _digest(loaded.tree.value, digests)
    if not loaded.problems:
        loaded.config = draft.config()


def _certificates(draft: Draft, now: datetime) -> Report:
    tls = any(
        item.transport == "tls" for key in ("listen", "providers") for _, item in draft.items.get(key, [])
    )
    admin = draft.sections.get("admin")
    if not tls and (admin is None or admin.certificate_file is None):
        return Report()
    # Only who serves TLS waits for what reads certificates to be loaded.
    from config.certificates import check_certificates

    return check_certificates(draft, now)


def _stir(draft: Draft, now: datetime, report: Report) -> StirFiles | None:
    if draft.sections.get("stir") is None:
        return None
    from config.stir import read_stir

    return read_stir(draft.sections["stir"], now, report)


def _as_given(file: str, config_file: str) -> str:
    """`file` (absolute) in the way in which the configuration was named: relative when that was."""
    folder = Path(config_file).parent
    path = Path(file)
    base = folder.absolute()
    return str(folder / path.relative_to(base)) if path.is_relative_to(base) else file


def _hide(loaded: Loaded, environ: Mapping[str, str]) -> None:
    """Where a message quotes what came from the environment, put `${NAME}` back: it may be a secret."""
    texts = {
        environ[name]: f"${{{name}}}"
        for name in loaded.tree.environment
        if len(environ.get(name, "")) >= _SHORTEST_HIDDEN
    }

    def hidden(problem: Problem) -> Problem:
        message = problem.message
        for text, reference in texts.items():
            message = message.replace(text, reference)
        return problem._replace(message=message)

    loaded.problems = [hidden(problem) for problem in loaded.problems]
    loaded.warnings = [hidden(problem) for problem in loaded.warnings]


def _in_order(problems: Iterable[Problem], more: Iterable[Problem] = ()) -> list[Problem]:
    """By file and line, without repetitions; the file that is named first stays first."""
    unique = list(dict.fromkeys([*problems, *more]))
    files = list(dict.fromkeys(problem.file for problem in unique))
    return sorted(unique, key=lambda problem: (files.index(problem.file), problem.line))


def _digest(tree: Value, digests: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    if isinstance(tree, dict):
        tree = {key: value for key, value in tree.items() if key not in _OWN}
    for path, text in sorted(_flat(tree, "")):
        digest.update(f"{path}\0{text}\0".encode())
    for data in digests:
        digest.update(data)
    return digest.hexdigest()[:16]


def _flat(tree: Value, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flat(value, join(path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _flat(value, join(path, index))
    elif _SECRET_PATH.fullmatch(path) is None:
        yield path, "null" if tree is None else f"={tree}"


__all__ = ["Finding", "Loaded", "Problem", "load_config"]
