"""The files of `stir`."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from config.load import load_config
from tests.certificates import Authority

NOW = datetime.now(UTC)
X5U = "https://cert.example.org/shaken.pem"
REST = """
emergency: none
providers: [{name: carrier-a, hostname: 192.0.2.1}]
trunks: [{name: a, allowed_sip_ips: [192.0.2.10], destination_whitelist: [us], provider: carrier-a}]
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def loaded(folder: Path, section: dict[str, Any]) -> Any:
    file = folder / "trunkwarden.yaml"
    file.write_text(f"stir: {section}\n{REST}".replace("'", '"'))
    return load_config(file)


def told(folder: Path, section: dict[str, Any]) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in loaded(folder, section).problems]


def test_key_and_certificates_are_read(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("own")
    trusted = [{"x5u": X5U, "certificate_file": "pki/own.pem"}]

    found = loaded(tmp_path, {**files, "x5u": X5U, "trusted": trusted})

    assert found.problems == found.warnings == []
    assert found.stir.key is not None
    assert list(found.stir.trusted) == [X5U]
    assert "PRIVATE" not in repr(found.stir)
    assert "key=" not in repr(found.stir).replace("key=<", "")


def test_what_soon_expires_is_a_warning(authority: Authority, tmp_path: Path) -> None:
    found = loaded(tmp_path, {**authority.issue("own", days=3), "x5u": X5U})

    assert [warning.path for warning in found.warnings] == ["stir.certificate_file"]


def test_key_of_another(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("own") | {"key_file": authority.issue("other")["key_file"]}

    assert "is not the key of" in told(tmp_path, {**files, "x5u": X5U})[0]


def test_expired(authority: Authority, tmp_path: Path) -> None:
    assert "expired on" in told(tmp_path, {**authority.issue("own", days=-1), "x5u": X5U})[0]


def test_other_kinds_of_keys(authority: Authority, tmp_path: Path) -> None:
    key, certificate = tmp_path / "rsa.key", tmp_path / "rsa.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "90",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip

    problems = told(tmp_path, {"certificate_file": str(certificate), "key_file": str(key), "x5u": X5U})

    assert len(problems) == 2
    assert all("P-256" in problem for problem in problems)


def test_same_address_twice(authority: Authority, tmp_path: Path) -> None:
    one = {"x5u": X5U, "certificate_file": authority.issue("own")["certificate_file"]}

    assert told(tmp_path, {"trusted": [one, one]}) == [f"stir.trusted[1].x5u: `{X5U}` is listed twice"]
