"""A file, whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config.load import Loaded, load_config

TEXT = """\
# a comment
providers:
  - {name: p, hostname: sip.example.org}
trunks:
  - name: office
    provider: p
    allowed_sip_ips: [192.0.2.1]
    destination_whitelist: [us, no]
    threshold_amount: 100.10
    rate_deck: retail
    dst_prefixes: {deny: [+1900, +449]}
rate_decks:
  retail: {file: r.csv}
emergency: none
"""
DECK = "prefix,rate_per_minute\n1,0.01\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "r.csv").write_text(DECK)
    return tmp_path


def load(folder: Path, text: str = TEXT, environ: dict[str, str] | None = None) -> Loaded:
    file = folder / "t.yaml"
    file.write_text(text)
    return load_config(file, environ or {})


def test_a_sound_file(folder: Path) -> None:
    loaded = load(folder)
    assert (loaded.problems, loaded.warnings) == ([], [])
    assert loaded.config is not None
    trunk = loaded.config.trunks[0]
    assert trunk.destination_whitelist == ("US", "NO")
    assert str(trunk.threshold_amount) == "100.10"
    assert [row.prefix for row in loaded.decks["retail"]] == ["+1"]


def test_findings_of_the_policy_get_their_lines(folder: Path) -> None:
    loaded = load(folder)
    loaded.add(
        [("trunks[0].provider", "x"), ("providers[0]", "y")], [("trunks[0].dst_prefixes.deny[1]", "z")]
    )
    assert [(problem.line, problem.message) for problem in loaded.problems] == [(3, "y"), (6, "x")]
    assert [str(warning) for warning in loaded.warnings] == [
        f"{folder}/t.yaml:11: trunks[0].dst_prefixes.deny[1]: z"
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    loaded = load_config(tmp_path / "none.yaml", {})
    assert [str(problem) for problem in loaded.problems] == [
        f"{tmp_path}/none.yaml: cannot be read: No such file or directory"
    ]
    assert loaded.config is None
    assert loaded.locate("trunks[0]") == 1


def test_files_are_named_as_the_configuration_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder)
    (folder / "r.csv").write_text("prefix,rate_per_minute\nx,0.01\n")
    monkeypatch.chdir(folder)
    (problem,) = load_config("t.yaml", {}).problems
    assert str(problem).startswith("r.csv:2: prefix: ")


def test_the_environment_of_the_process_is_the_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKWARDEN_TEST_HOST", "sip.example.net")
    file = folder / "t.yaml"
    file.write_text(TEXT.replace("sip.example.org", "'${TRUNKWARDEN_TEST_HOST}'"))
    config = load_config(file).config
    assert config is not None
    assert config.providers[0].hostname == os.environ["TRUNKWARDEN_TEST_HOST"]


def test_the_digest_is_of_what_is_said(folder: Path) -> None:
    first = load(folder).digest
    assert (
        load(folder, TEXT.replace("# a comment\n", "\n\n").replace("[us, no]", "['us',\n      no]")).digest
        == first
    )
    assert load(folder, TEXT.replace("+449", "+448")).digest != first
    (folder / "r.csv").write_text(DECK + "2,0.02\n")
    assert load(folder).digest != first


def test_what_is_an_instance_s_own_does_not_change_the_digest(folder: Path) -> None:
    """Instances with one policy have one version of it, or none could be told from one that is behind."""
    first = load(folder)
    own = (
        'listen: ["udp:127.0.0.2:5070"]\nadvertise: 192.0.2.1:5070\n'
        'admin: {listen: "127.0.0.2:8081"}\nrecords: {file: second.jsonl}\n'
    )
    second = load(folder, TEXT + own)
    assert second.config is not None
    assert second.digest == first.digest != ""
    assert load(folder, TEXT + "unknown_source: drop\n").digest != first.digest


def test_no_secret_goes_into_the_digest(folder: Path) -> None:
    (folder / "token").write_text("one")
    text = TEXT + "ledger: {url: 'redis://:${P}@127.0.0.1'}\nadmin: {token_file: token}\n"
    first = load(folder, text, {"P": "one"})
    (folder / "token").write_text("two")
    second = load(folder, text, {"P": "two"})
    assert first.config is not None
    assert second.config is not None
    assert first.config.ledger.url != second.config.ledger.url
    assert first.digest == second.digest != ""
