"""tools/environment.sh: one clear line for each thing that a machine may lack."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "environment.sh"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a fresh clone to the script."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), "run"],
        cwd=clone,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def python_that(clone: Path, lacks: str) -> str:
    """A stand-in for a Python which fails every command line that speaks of `lacks`."""
    stub = clone / "python-stub"
    stub.write_text(f'#!/bin/sh\ncase "$*" in *{lacks}*) exit 1;; esac\nexit 0\n')
    stub.chmod(0o755)
    return str(stub)


def test_no_python(clone: Path) -> None:
    done = run(clone, PYTHON="no-such-python")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Python 3.11 or newer is missing" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_python_too_old(clone: Path) -> None:
    done = run(clone, PYTHON=python_that(clone, lacks="version_info"))
    assert done.returncode == 1
    assert "Python 3.11 or newer is missing" in done.stderr


def test_no_venv_module(clone: Path) -> None:
    done = run(clone, PYTHON=python_that(clone, lacks="ensurepip"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "has no venv module (Debian, Ubuntu: apt-get install python3-venv)" in done.stderr


def test_no_package_index(clone: Path) -> None:
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
    }
    done = run(clone, **nowhere, PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="", PIP_NO_CACHE_DIR="1")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "no package index answered" in last
    assert "PIP_INDEX_URL" in last
    assert not (clone / ".venv" / ".stamp-run").exists()
