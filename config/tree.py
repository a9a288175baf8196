"""YAML to plain lists, mappings and text, with the line of everything.

Every scalar is the text that stands in the file: YAML's implicit types would read `no` (Norway) as false,
`22:00` as 1320 and `0011` as nine. Only an empty, `~` or `null` scalar without quotes is null. Anchors,
aliases and merge keys work, and what they expand to is bounded. `${NAME}` is taken from the environment;
`$${` is a plain `${`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from config.environment import expand
from config.problem import Finding, enclosing, join

Value: TypeAlias = "str | list[Value] | dict[str, Value] | None"

MAX_VALUES = 200_000
"""Scalars, lists and mappings that a file may hold, aliases expanded; in a longer file one a byte."""
MAX_DEPTH = 32

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_STANDARD_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value", "map", "seq")
)


@dataclass(slots=True)
class Tree:
    """What a YAML file says.

    value: the whole, None when nothing could be read.
    lines: the line of each path, from 1; of a mapping's entry the line of its key.
    environment: names of the environment variables that were used.
    """

    value: Value = None
    lines: dict[str, int] = field(default_factory=dict)
    environment: set[str] = field(default_factory=set)
    findings: list[tuple[int, Finding]] = field(default_factory=list)

    def locate(self, path: str) -> int:
        """The line of `path`, or of the nearest enclosing path that stands in the file; 1 at last."""
        while path and path not in self.lines:
            path = enclosing(path)
        return self.lines.get(path, 1)


def read_tree(data: bytes, environ: Mapping[str, str] | None) -> Tree:
    """The tree of a YAML file; what is wrong with it is in its findings, and as much as possible is read.
    `environ` None: references to the environment stay as they are written."""
    tree = Tree()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        tree.findings.append((line, Finding("", "is not UTF-8 text")))
        return tree
    node = _compose(text, tree)
    if node is not None:
        tree.value = _Expansion(tree, environ, max(MAX_VALUES, len(data))).value(node, "", 0)
    elif not tree.findings:
        tree.findings.append((1, Finding("", "is empty")))
    return tree


def _compose(text: str, tree: Tree) -> yaml.Node | None:
    """The node graph. libyaml is fast, and the Python parser that says the same has the better messages."""
    fast = getattr(yaml, "CSafeLoader", None)
    if fast is not None:
        try:
            return _single_node(text, fast)
        except (yaml.YAMLError, RecursionError):
            pass
    try:
        return _single_node(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        tree.findings.append(_syntax_finding(error, text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        tree.findings.append(
            (line, Finding("", f"has a character that YAML forbids: U+{_code(error.character):04X}"))
        )
    except RecursionError:
        tree.findings.append((1, Finding("", "is nested too deeply")))
    return None


def _single_node(text: str, loader_class: type[yaml.SafeLoader]) -> yaml.Node | None:
    loader = loader_class(text)
    try:
        node = loader.get_single_node()
        return node if isinstance(node, yaml.Node) else None
    finally:
        loader.dispose()


def _syntax_finding(error: yaml.MarkedYAMLError, text: str) -> tuple[int, Finding]:
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    what = error.problem or error.context or "cannot be read"
    if "'\\t'" in what:
        what = "a tab where spaces are wanted: YAML indents by spaces only"
    elif error.context and error.problem:
        what = f"{error.context}, {error.problem}"
    if "${" in text.split("\n")[line - 1]:
        what += '; within [ ] and { } write "${NAME}" with its quotes'
    return line, Finding("", f"is not YAML: {what}")


def _code(character: object) -> int:
    """The reader of PyYAML gives the character or its number."""
    return ord(character) if isinstance(character, str) else int(str(character))


def _is_plain(node: yaml.ScalarNode) -> bool:
    """Whether a scalar has no quotes: libyaml says so by an empty style, the Python parser by no style."""
    return not node.style


class _TooMuch(Exception):
    """The expansion has grown past its bound."""


class _Expansion:
    """One walk over the node graph."""

    def __init__(self, tree: Tree, environ: Mapping[str, str] | None, limit: int) -> None:
        self._tree = tree
        self._environ = environ
        self._limit = limit
        self._count = 0

    def value(self, node: yaml.Node, path: str, depth: int) -> Value:
        try:
            return self._value(node, path, depth)
        except _TooMuch:
            text = f"holds more than {self._limit:,} values or {MAX_DEPTH} levels, with its aliases expanded"
            self._tree.findings.append((1, Finding("", text)))
            return None

    def _report(self, node: yaml.Node, path: str, message: str) -> None:
        self._tree.findings.append((node.start_mark.line + 1, Finding(path, message)))

    def _value(self, node: yaml.Node, path: str, depth: int) -> Value:
        self._count += 1
        if self._count > self._limit or depth > MAX_DEPTH:
            raise _TooMuch
        if node.tag not in _STANDARD_TAGS:
            self._report(
                node,
                path,
                f"tags such as `{node.tag.removeprefix('tag:yaml.org,2002:')}` have no meaning here",
            )
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return self._list(node, path, depth)
        if isinstance(node, yaml.ScalarNode) and _is_plain(node) and node.value in _NULLS:
            return None
        return self._text(node, path)

    def _list(self, node: yaml.SequenceNode, path: str, depth: int) -> Value:
        items: list[Value] = []
        for index, child in enumerate(node.value):
            below = join(path, index)
            self._tree.lines[below] = child.start_mark.line + 1
            items.append(self._value(child, below, depth + 1))
        return items

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> Value:
        found: dict[str, Value] = {}
        inherited: list[yaml.Node] = []
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, path, "has a key that is not text")
                continue
            if key_node.value == "<<" and _is_plain(key_node):
                inherited.extend(child.value if isinstance(child, yaml.SequenceNode) else [child])
                continue
            key = str(key_node.value)
            below = join(path, key)
            if key in found:
                first = self._tree.lines[below]
                self._report(key_node, below, f"duplicate key, first on line {first}")
                continue
            self._tree.lines[below] = key_node.start_mark.line + 1
            found[key] = self._value(child, below, depth + 1)
        for parent in inherited:
            self._inherit(parent, found, path, depth)
        return found

    def _inherit(self, parent: yaml.Node, found: dict[str, Value], path: str, depth: int) -> None:
        """Merge keys: what stands in the mapping itself, or in an earlier parent, goes first."""
        if not isinstance(parent, yaml.MappingNode):
            self._report(parent, path, "`<<` takes a mapping or a list of mappings")
            return
        kept = {below: self._tree.lines[below] for below in (join(path, key) for key in found)}
        merged = self._value(parent, path, depth + 1)
        self._tree.lines.update(kept)
        if isinstance(merged, dict):
            for key, value in merged.items():
                found.setdefault(key, value)

    def _text(self, node: yaml.Node, path: str) -> str:
        text = str(node.value)
        if self._environ is None:
            return text
        return expand(
            text, self._environ, self._tree.environment, lambda message: self._report(node, path, message)
        )
