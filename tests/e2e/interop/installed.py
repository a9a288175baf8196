"""What a test of this folder needs of the machine, or the reason why it cannot run here."""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil

import pytest


def needs_program(name: str, package: str) -> None:
    """Skip where the program is missing; with CI=true that is a failure."""
    if shutil.which(name) is None:
        _cannot(f"not installed: {name} (Debian: {package})", tools_install_it=True)


def needs_file(pattern: str, package: str) -> None:
    """Skip where no file of this pattern is there."""
    if not glob.glob(pattern):
        _cannot(f"not installed: {pattern} (Debian: {package})", tools_install_it=False)


def needs_module(name: str) -> None:
    """Skip where the Python module is missing: it is not compiled for every machine."""
    if importlib.util.find_spec(name) is None:
        _cannot(f"not installed: the Python module {name}", tools_install_it=False)


def _cannot(reason: str, tools_install_it: bool) -> None:
    if tools_install_it and os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
