from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config.problem import Finding
from proxy.objects.document import Document
from proxy.objects.yaml_file import applying, id_by_name, read_wanted, to_yaml

TEXT = """\
listen: ["udp:127.0.0.1:0"]
trunks:
  - {name: a, cps_limit: 1}
  - {name: b, username: "${USER_OF_B}"}
rate_decks:
  retail: {file: retail.csv, currency: EUR}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "objects.yaml"
    path.write_text(TEXT)
    (tmp_path / "retail.csv").write_text("prefix,rate_per_minute\n1,1\n")
    return path


def test_objects_are_read_as_they_are_written(file: Path) -> None:
    wanted = read_wanted(file)
    assert wanted.problems == []
    deck, one, two = wanted.objects
    assert (one.kind, one.name, one.spec) == ("trunks", "a", {"cps_limit": "1"})
    assert two.spec == {"username": "${USER_OF_B}"}
    assert list(wanted.rows) == [deck.spec["sha256"]]
    assert deck.spec["currency"] == "EUR"
    assert read_wanted(file, rows=False).objects[0].spec["file"] == "retail.csv"


def test_findings_have_their_lines(file: Path) -> None:
    wanted = read_wanted(file)
    for path, line in (("trunks[b].username", 4), ("trunks[b]", 4), ("rate_decks.retail.currency", 6)):
        assert str(wanted.place(Finding(path, "x"))) == f"{file}:{line}: {path}: x"
    for path in ("trunks[c].name", "emergency", ""):
        assert wanted.place(Finding(path, "x")).line == 0


def test_an_object_of_that_name_stays_the_same(file: Path) -> None:
    document = Document().create("trunks", "a", {"cps_limit": 9}, id="mine", extra={"x": 1})
    document = document.create("trunks", "gone", {}, id="other")
    document = document.create("trunks", "c", {}, id=id_by_name("trunks", "b"))
    applied = applying(read_wanted(file))(document)
    assert [one.name for one in applied] == ["retail", "a", "b"]
    assert (applied.get("trunks", "a").id, applied.get("trunks", "a").extra) == ("mine", {"x": 1})
    assert applied.get("trunks", "b").id not in ("", id_by_name("trunks", "b"))
    assert applied.get("rate_decks", "retail").id == id_by_name("rate_decks", "retail")


def test_an_account_of_a_name_that_was_there_before_is_another(tmp_path: Path) -> None:
    path = tmp_path / "objects.yaml"
    path.write_text("accounts: [{name: acme}]")
    first, second = (applying(read_wanted(path))(Document()).get("accounts", "acme").id for _ in range(2))
    assert len({first, second, id_by_name("accounts", "acme")}) == 3


def test_names_of_others_are_no_ids(file: Path) -> None:
    """A name in the file that is another object's id does not take that object's place."""
    document = Document().create("trunks", "x", {}, id="a").create("trunks", "b", {}, id="2")
    applied = applying(read_wanted(file))(document)
    assert applied.get("trunks", "b").id == "2"
    assert {one.name for one in applied.list("trunks")} == {"a", "b"}


def test_numbers_need_no_name(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "dids:\n  - {number: +442071838750}\n  - {number: '${MAIN}'}\n  - {number: 1, name: a}\n  - {}\n"
    )
    wanted = read_wanted(path)
    assert [(one.name, one.spec["number"]) for one in wanted.objects] == [
        ("442071838750", "+442071838750"), ("MAIN", "${MAIN}"), ("a", "1"),
    ]  # fmt: skip
    assert [str(one) for one in wanted.problems] == [f"{path}:5: dids[3]: must be a mapping with a `number`"]
    assert str(wanted.place(Finding("dids[442071838750].trunk", "x"))).startswith(f"{path}:2:")
    document = Document(replace(one, id=one.name) for one in wanted.objects)
    path.write_text(to_yaml(document))
    assert applying(read_wanted(path))(document).list("dids") == document.list("dids")


def test_nothing_and_texts_that_look_like_something_else(tmp_path: Path) -> None:
    assert to_yaml(Document()) == "{}\n"
    spec = {"detail": "null", "source": {"target": "0011", "name": "~"}, "dial_timeout": 5}
    document = Document().create("outplans", "no", spec, id="1")
    path = tmp_path / "x.yaml"
    path.write_text(to_yaml(document))
    (one,) = read_wanted(path).objects
    assert (one.name, one.spec) == ("no", {**spec, "dial_timeout": "5"})
