"""What is shipped: three top-level packages with plain names; nothing may be missing, added or taken over."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL = ("proxy", "policy", "config")


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", TOP_LEVEL)
def test_each_top_level_package_has_one_owner(package: str) -> None:
    """Another distribution that brings a `config` or `proxy` would shadow ours, or be shadowed."""
    assert set(packages_distributions()[package]) == {"trunkwarden"}


def test_every_package_is_listed() -> None:
    """The list is explicit so that tests cannot slip in; a folder that was forgotten would be missing."""
    on_disk = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in TOP_LEVEL
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert set(project()["tool"]["setuptools"]["packages"]) == on_disk


def test_every_folder_with_code_is_a_package() -> None:
    """Without __init__.py a folder works from a checkout and is missing from the wheel."""
    for top in TOP_LEVEL:
        for source in (ROOT / top).rglob("*.py"):
            assert (source.parent / "__init__.py").exists(), source.parent


def test_the_wheel_holds_the_packages_and_their_data(tmp_path: Path) -> None:
    """Built by the backend of this environment, so that no package index is needed."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        (source / name).symlink_to(ROOT / name)
    for name in TOP_LEVEL:
        (source / name).symlink_to(ROOT / name)
    build = "from setuptools import build_meta; import sys; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True, timeout=100
    )
    (wheel,) = tmp_path.glob("trunkwarden-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert {name.split("/")[0] for name in names} == set(TOP_LEVEL)
    on_disk = {
        str(path.relative_to(ROOT))
        for top in TOP_LEVEL
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }
    assert names == on_disk


def test_every_dependency_is_pinned_without_an_address() -> None:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert all(line.count("==") == 1 and "/" not in line and "@" not in line for line in lines)
    wanted = [
        *project()["project"]["dependencies"],
        *project()["project"]["optional-dependencies"]["dev"],
    ]
    assert {_distribution(spec) for spec in wanted} <= pinned


def _distribution(spec: str) -> str:
    for stop in "[<>=~! ;":
        spec = spec.partition(stop)[0]
    return spec.lower().replace("_", "-")
