"""YAML as text with lines."""

from __future__ import annotations

from textwrap import dedent

import pytest

from config import tree as tree_module
from config.tree import Tree, read_tree

ENVIRON = {"PASSWORD": "s3cret", "EMPTY": "", "YAML": "[a, b]"}


def read(text: str) -> Tree:
    return read_tree(dedent(text).encode(), ENVIRON)


@pytest.fixture(params=["libyaml", "python"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers of PyYAML: an installation without libyaml has only the second."""
    if request.param == "python":
        monkeypatch.delattr(tree_module.yaml, "CSafeLoader")


@pytest.mark.usefixtures("_parser")
def test_every_scalar_is_its_text() -> None:
    text = "[no, +1900, 0011, 22:00, 100.10, true, 1_000, 0x1f, 2024-01-01, =, .inf, 'null', \"~\", '']"
    expected = [
        "no",
        "+1900",
        "0011",
        "22:00",
        "100.10",
        "true",
        "1_000",
        "0x1f",
        "2024-01-01",
        "=",
        ".inf",
        "null",
        "~",
        "",
    ]
    assert read(text).value == expected


@pytest.mark.usefixtures("_parser")
def test_null_is_a_plain_empty_tilde_or_null() -> None:
    assert read("{a: , b: ~, c: null, d: Null, e: NULL}").value == dict.fromkeys("abcde")
    assert read("{a: none, b: nULL}").value == {"a": "none", "b": "nULL"}


@pytest.mark.usefixtures("_parser")
def test_every_path_has_its_line() -> None:
    tree = read(
        """\
        listen:
          - udp:127.0.0.1:5060
        trunks:
          - name: a
            dst_prefixes:
              deny: [+1,
                     +2]
          - name: b
        """
    )
    assert [tree.locate(path) for path in ("listen", "listen[0]", "trunks[0]", "trunks[0].name")] == [
        1,
        2,
        4,
        4,
    ]
    assert tree.locate("trunks[0].dst_prefixes.deny[1]") == 7
    assert tree.locate("trunks[1]") == 8


def test_what_is_not_in_the_file_is_at_what_is_around_it() -> None:
    tree = read("a: 1\ntrunks:\n  - name: a\n")
    assert tree.locate("trunks[0].provider.x[3]") == 3
    assert tree.locate("trunks[7]") == 2
    assert tree.locate("nothing.at.all") == 1


@pytest.mark.usefixtures("_parser")
def test_merge_keys() -> None:
    tree = read(
        """\
        - &base {a: 1, b: 2, c: 3}
        - &more {c: 4, d: 5}
        - <<: [*base, *more]
          b: 6
        """
    )
    assert tree.findings == []
    assert isinstance(tree.value, list)
    assert tree.value[2] == {"a": "1", "b": "6", "c": "3", "d": "5"}
    assert [tree.locate(f"[2].{key}") for key in "abcd"] == [1, 4, 1, 2]


def test_a_quoted_merge_key_is_a_key() -> None:
    assert read("{'<<': a}").value == {"<<": "a"}


def test_the_environment() -> None:
    items = ("x${PASSWORD}y", "'${PASSWORD}'", "$${PASSWORD}", "$PASSWORD", "${EMPTY}", "${YAML}")
    tree = read("".join(f"- {item}\n" for item in items))
    assert tree.value == ["xs3crety", "s3cret", "${PASSWORD}", "$PASSWORD", "", "[a, b]"]
    assert tree.environment == {"PASSWORD", "EMPTY", "YAML"}


def test_a_reference_without_quotes_in_a_flow_list_is_explained() -> None:
    ((line, finding),) = read("a: 1\nb: [${PASSWORD}]\n").findings
    assert line == 2
    assert finding.message.endswith('; within [ ] and { } write "${NAME}" with its quotes')


def test_the_environment_is_no_key() -> None:
    assert read("{'${PASSWORD}': a}").value == {"${PASSWORD}": "a"}


def test_all_faults_are_found_at_once() -> None:
    tree = read("a: 1\na: 2\nb: ${NO_SUCH}\nc: !x y\nd: ${}\n")
    assert [line for line, _ in tree.findings] == [2, 3, 4, 5]
    assert isinstance(tree.value, dict)
    assert tree.value["a"] == "1"


def test_a_byte_order_mark_is_no_text() -> None:
    assert read_tree(b"\xef\xbb\xbfa: 1\n", {}).value == {"a": "1"}


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize(
    "text", ["[" * 400 + "]" * 400, "a: " * 3, "\x00", "a: 'b", "&a [*a]", "%YAML 9", "? : ? :"]
)
def test_nothing_raises(text: str) -> None:
    assert read(text).findings
