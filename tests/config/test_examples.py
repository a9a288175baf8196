"""The examples are valid, and say what their comments say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from config.load import load_config
from config.model import Config

EXAMPLES = Path(__file__).parent.parent.parent / "config" / "examples"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_an_example_loads_without_problem_or_warning(file: Path) -> None:
    loaded = load_config(file, {})
    assert [*loaded.problems, *loaded.warnings] == []
    assert loaded.config is not None
    assert loaded.config.trunks
    assert set(loaded.decks) == set(loaded.config.rate_decks)


def test_what_office_pbx_marks_as_default_is_the_default(tmp_path: Path) -> None:
    """Each line marked `(default)` is taken out of the file; what is left must mean the same."""
    text = (EXAMPLES / "office-pbx.yaml").read_text(encoding="utf-8")
    marked = re.compile(r"^ *[a-z_0-9]+: [^\n]*# \(default\)[^\n]*\n", re.MULTILINE)
    assert len(marked.findall(text)) > 25
    whole = load_config(EXAMPLES / "office-pbx.yaml", {}).config
    without = tmp_path / "office-pbx.yaml"
    without.write_text(marked.sub("", text), encoding="utf-8")
    shutil.copy(EXAMPLES / "retail.csv", tmp_path)
    reduced = load_config(without, {}).config
    assert whole is not None
    assert reduced is not None
    assert _without_folders(reduced, tmp_path) == _without_folders(whole, EXAMPLES)


def _without_folders(config: Config, folder: Path) -> str:
    return repr(config).replace(str(folder), "")


def test_merge_keys_give_three_trunks_behind_one_address() -> None:
    config = load_config(EXAMPLES / "trunks-behind-one-address.yaml", {}).config
    assert isinstance(config, Config)
    got = [(t.name, t.tech_prefix, t.capacity_limit, t.destination_whitelist) for t in config.trunks]
    assert got == [
        ("office", None, 4, ("DE", "AT", "CH")),
        ("shop", "11#", 4, ("DE", "AT", "CH")),
        ("clinic", "22#", 8, ("DE",)),
    ]
    assert len({t.allowed_sip_ips for t in config.trunks}) == 1
