"""The documents keep to what is there: links, configurations and their keys, commands, metrics, refusals."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.load import load_config
from config.model import Config
from policy.compile import compile_policy
from policy.reasons import REFUSALS, ReasonCode
from proxy.cli.console import app
from proxy.observe.exposition import NAMES

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "sipp-scenarios").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
    ]
)
_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")
_METRIC = re.compile(r"\btrunkwarden_[a-z_]+\b")
_SERIES_ENDINGS = ("_bucket", "_sum", "_count")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[tuple[str, str]]:
    """(info string, text without the block's indentation) of each fenced block."""
    found = []
    for indent, info, body in _FENCE.findall(page.read_text(encoding="utf-8")):
        lines = [line.removeprefix(indent) for line in body.splitlines()]
        found.append((info.strip(), "\n".join(lines) + "\n"))
    return found


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def full_configs() -> list[tuple[Path, int]]:
    return [
        (page, number)
        for page in PAGES
        for number, (info, _) in enumerate(blocks(page))
        if info == "yaml full"
    ]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        leads_to = (page.parent / target).resolve() if target else page
        assert leads_to.exists(), link
        if anchor:
            assert anchor in anchors(leads_to), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_metrics_are_those_of_the_program(page: Path) -> None:
    for name in _METRIC.findall(page.read_text(encoding="utf-8")):
        plain = next((name.removesuffix(end) for end in _SERIES_ENDINGS if name.endswith(end)), name)
        assert name in NAMES or plain in NAMES, name


def test_every_metric_is_described() -> None:
    described = set(_METRIC.findall((ROOT / "docs" / "operators.md").read_text(encoding="utf-8")))
    assert described >= NAMES


def test_some_configurations_are_checked() -> None:
    assert len(full_configs()) >= 3


@pytest.mark.parametrize(("page", "number"), full_configs(), ids=lambda value: getattr(value, "name", value))
def test_full_configurations_load_and_compile(page: Path, number: int, tmp_path: Path) -> None:
    for info, text in blocks(page):
        if info.startswith("csv "):
            (tmp_path / info.removeprefix("csv ")).write_text(text, encoding="utf-8")
    file = tmp_path / "trunkwarden.yaml"
    file.write_text(blocks(page)[number][1], encoding="utf-8")
    loaded = load_config(file)
    assert loaded.problems == []
    assert loaded.config is not None
    compiled = compile_policy(loaded.config, loaded.decks, version="docs", loaded_at=datetime.now(UTC))
    assert compiled.problems == []


def test_the_refusal_table_is_that_of_the_program() -> None:
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| [^|]+ \| (\d{3}) ([^|,]+?)(, Retry-After)? \| (\d+) \|$", page, re.MULTILINE
    )
    assert len(rows) >= 14
    for code, status, phrase, retry, cause in rows:
        refusal = REFUSALS[ReasonCode(code)]
        assert (refusal.status, refusal.phrase, refusal.cause) == (int(status), phrase, int(cause)), code
        assert bool(retry) == (refusal.retry_after is not None), code


def test_the_alerts_are_those_of_the_rules() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules" / "trunkwarden.yml").read_text(encoding="utf-8")
    described = re.findall(
        r"\bTrunkwarden[A-Z]\w+", (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    )
    assert sorted(described) == sorted(re.findall(r"^ +- alert: (\w+)$", rules, re.MULTILINE))


def sections(model: type[BaseModel], heading: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section of the configuration, by the heading under which its keys stand."""
    yield heading, model
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            yield from sections(inner, name)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


def default_of(field: FieldInfo) -> str | None:
    """A default as the page says it; None: it is a section, whose own defaults stand elsewhere."""
    value = field.default
    if field.is_required():
        return "required"
    if isinstance(value, BaseModel) or (
        isinstance(value, tuple) and value and isinstance(value[0], BaseModel)
    ):
        return None
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "empty"
    return str(value) if value not in ("", {}) else "empty"


# Sections of a few keys that the row of the section itself names, and defaults that have a word of their own.
IN_A_ROW = {"source", "trusted", "calls_per_callee", "distinct_callees", "sequential_numbers", "by_country"}
IN_WORDS = {("dids", "name"): "the digits", ("endpoints", "events"): "all"}


def test_every_key_of_the_configuration_is_described_with_its_default() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    parts = dict(part.split("\n", 1) for part in re.split(r"^##+ ", page, flags=re.MULTILINE)[1:])
    checked = 0
    for heading, model in sections(Config, "Top level"):
        if heading in IN_A_ROW:
            continue
        described = {
            key: default
            for keys, default in re.findall(r"^\| (`\S.*?`) \| (.*?) ?\|", parts[heading], re.MULTILINE)
            for key in re.findall(r"`(\w+)`", keys)
        }
        assert described.keys() == model.model_fields.keys(), heading
        for name, field in model.model_fields.items():
            default = IN_WORDS.get((heading, name), default_of(field))
            assert default is None or described[name] == default, (heading, name)
            checked += 1
    assert checked > 150


def test_the_steps_are_named_as_explain_names_them() -> None:
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| step \| asks \|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    steps = re.findall(r"^\| (\w+) \|", table, re.MULTILINE)
    named: set[str] = set()
    for source in [*(ROOT / "policy").glob("*.py"), *(ROOT / "proxy" / "admission").glob("*.py")]:
        named.update(re.findall(r'\bCheck\("(\w+)"', source.read_text(encoding="utf-8")))
    assert set(steps) == named - {"velocity", "capacity", "spend"}  # those are parts of the ledger's


def test_every_part_of_the_proxy_has_its_line() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = [f"`proxy/{one.parent.name}/`" for one in (ROOT / "proxy").glob("*/__init__.py")]
    modules = [one.name for folder in ("proxy", "proxy/call") for one in (ROOT / folder).glob("[!_]*.py")]
    assert [part for part in (*folders, *modules) if part not in page] == []


def test_files_that_are_named_are_there() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:tests|proxy|policy|config|docs|deploy|tools)/[\w./-]+)`", prose(page)):
            assert (ROOT / name).exists(), f"{named(page)}: {name}"


def commands(page: Path) -> list[str]:
    """What stands behind `trunkwarden` in code, each to the end of its line."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"(?:^|`)(?:[\w./]*/)?trunkwarden ([a-z][^`\n#]*)", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_are_those_of_the_program(page: Path) -> None:
    for line in commands(page):
        command: typing.Any = typer.main.get_command(app)
        words = line.split()
        while words and words[0] in getattr(command, "commands", ()):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands") or words in ([], ["…"]), line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word.strip("[],") for word in words if word.lstrip("[").startswith("-")} <= known, line


def test_some_commands_are_checked() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 30
