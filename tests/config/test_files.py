"""Paths, secrets and decks beside the configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.files import read_decks, read_files
from config.structure import read_structure


def test_relative_paths_start_at_the_file_and_absolute_ones_stay(tmp_path: Path) -> None:
    draft, _ = read_structure(
        {
            "listen": [{"bind": "tls:127.0.0.1", "certificate_file": "a.pem", "key_file": "/k.pem"}],
            "records": {"file": "records.jsonl"},
            "rate_decks": {"r": {"file": "r.csv"}},
        }
    )
    assert read_files(draft, tmp_path) == []
    config = draft.config()
    assert config.listen[0].certificate_file == tmp_path / "a.pem"
    assert config.listen[0].key_file == Path("/k.pem")
    assert config.records.file == str(tmp_path / "records.jsonl")
    assert config.ledger.data_dir == tmp_path / "var"
    assert config.rate_decks["r"].file == tmp_path / "r.csv"


@pytest.mark.parametrize("file", [None, "-"])
def test_records_may_go_nowhere_or_to_stdout(file: str | None, tmp_path: Path) -> None:
    draft, _ = read_structure({"records": {"file": file}})
    read_files(draft, tmp_path)
    assert draft.config().records.file == file


@pytest.mark.parametrize(
    ("content", "secret"), [(b"s3cret\n", "s3cret"), (b"two words\r\n", "two words"), (b"x", "x")]
)
def test_a_secret_is_the_line_of_its_file(content: bytes, secret: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(content)
    draft, _ = read_structure(
        {
            "admin": {"token_file": "s"},
            "ledger": {"secret_file": "s"},
            "trunks": [{"name": "a", "password_file": "s"}],
        }
    )
    assert read_files(draft, tmp_path) == []
    config = draft.config()
    for value in (config.admin.token, config.ledger.secret, config.trunks[0].password):
        assert value is not None
        assert value.get_secret_value() == secret


@pytest.mark.parametrize("content", [b"", b"\n", b" \n", b"a\nb\n", b"\xff", b"x" * 70_000, None])
def test_what_is_no_secret(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "s").write_bytes(content)
    draft, _ = read_structure({"admin": {"token_file": "s"}})
    (finding,) = read_files(draft, tmp_path)
    assert finding.path == "admin.token_file"


def test_decks_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("prefix,rate_per_minute\n44,0.01\n")
    (tmp_path / "s.csv").write_text("prefix,rate_per_minute\nx,0.01\n")
    draft, _ = read_structure({"rate_decks": {name: {"file": f"{name}.csv"} for name in "rst"}})
    read_files(draft, tmp_path)
    decks, digests, findings, problems = read_decks(draft)
    assert [row.prefix for row in decks["r"]] == ["+44"]
    assert len(digests) == 2
    assert [finding.path for finding in findings] == ["rate_decks.t.file"]
    assert [(problem.file, problem.line) for problem in problems] == [(str(tmp_path / "s.csv"), 2)]
