from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.objects.errors import Invalid
from proxy.objects.seeding import document_as_written, document_of_file
from proxy.objects.yaml_file import id_by_name

TEXT = """\
emergency: none
rate_decks: {retail: {file: retail.csv}}
accounts: [{name: a, destination_whitelist: [us]}, {name: "b"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trunkwarden.yaml"
    path.write_text(TEXT)
    (tmp_path / "retail.csv").write_text("prefix,rate_per_minute\n1,1\n")
    return path


def test_ids_are_the_same_each_time(file: Path) -> None:
    document, rows = document_of_file(file)
    assert document.get("accounts", "a").id == id_by_name("accounts", "a")
    assert document.decks() == tuple(rows)
    assert len({one.id for one in document}) == len(document) == 3


def test_a_file_that_is_read_as_it_stands(file: Path) -> None:
    os.utime(file, (1_000_000, 1_000_000))
    document = document_as_written(file)
    assert document.get("rate_decks", "retail").spec == {"file": "retail.csv"}
    assert document.get("accounts", "a").spec == {"destination_whitelist": ["US"]}
    made = [one.created_at for one in document]
    assert len(set(made)) == 3
    assert made[0] == datetime.fromtimestamp(1_000_000, UTC)


def test_a_file_that_cannot_be_read(file: Path) -> None:
    file.write_text("accounts: [{}]\n")
    for read in (document_of_file, document_as_written):
        with pytest.raises(Invalid):
            read(file)
