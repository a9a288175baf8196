"""From a file to a policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.compile import CompileResult
from proxy import configuration as module
from proxy.configuration import load_policy
from tests.live import configuration, write


def test_good_file(tmp_path: Path) -> None:
    path = write(tmp_path, configuration())
    compiled = load_policy(path)
    assert compiled.problems == ()
    assert compiled.config is not None
    assert compiled.policy is not None
    assert set(compiled.policy.trunks) == {"office"}
    assert compiled.policy.version == load_policy(path).policy.version  # type: ignore[union-attr]
    assert compiled.policy.loaded_at.tzinfo is not None


def test_version_follows_the_file_and_what_it_reads(tmp_path: Path) -> None:
    deck = tmp_path / "retail.csv"
    head = "prefix,destination,rate_per_minute,connect_fee,initial_increment,subsequent_increment\n"
    deck.write_text(head + "44,United Kingdom,0.01,0,60,60\n")
    content = configuration(rate_decks={"retail": {"file": "retail.csv"}}, trunk={"rate_deck": "retail"})
    first = load_policy(write(tmp_path, content)).policy
    deck.write_text(head + "44,United Kingdom,0.02,0,60,60\n")
    second = load_policy(tmp_path / "trunkwarden.yaml").policy
    assert first is not None
    assert second is not None
    assert first.version != second.version
    write(tmp_path, {**content, "currency": "USD"})
    third = load_policy(tmp_path / "trunkwarden.yaml").policy
    assert third is not None
    assert third.version != second.version


def test_problems_of_reading_and_of_compiling_come_together(tmp_path: Path) -> None:
    content = configuration(trunk={"provider": "nobody", "profile": "nobody"})
    compiled = load_policy(write(tmp_path, content))
    assert (compiled.config, compiled.policy) == (None, None)
    paths = [problem.path for problem in compiled.problems]
    assert {"trunks[0].provider", "trunks[0].profile"} <= set(paths)
    assert all(problem.line > 0 for problem in compiled.problems)


def test_what_only_the_compiler_finds_has_its_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = CompileResult(None, [("trunks[0].provider", "a finding")], [("trunks[0]", "a doubt")])
    monkeypatch.setattr(module, "compile_policy", lambda *_, **__: found)
    path = write(tmp_path, configuration())
    compiled = load_policy(path)
    assert (compiled.config, compiled.policy) == (None, None)
    (problem,) = compiled.problems
    line = path.read_text().splitlines().index("  provider: carrier") + 1
    assert str(problem) == f"{path}:{line}: trunks[0].provider: a finding"
    assert [warning.message for warning in compiled.warnings] == ["a doubt"]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        compiled = load_policy(path)
        assert compiled.policy is None
        assert str(compiled.problems[0]).startswith(f"{path}: ")


def test_warnings_stand_beside_a_policy(tmp_path: Path) -> None:
    content = configuration()
    del content["emergency"]
    compiled = load_policy(write(tmp_path, content))
    assert compiled.policy is not None
    assert any("112" in str(warning) for warning in compiled.warnings)
