"""Fixtures: a stage, and certificates that the openssl command makes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.transport.stage import Stage

_CERTIFICATES = {
    "proxy": "DNS:proxy.example,IP:127.0.0.1",
    "other": "DNS:other.example",
    "renewed": "DNS:renewed.example",
    "pbx": "URI:sip:pbx.example",
    "carrier": "URI:sip:carrier.example,DNS:host7.carrier.example",
    "dns": "DNS:carrier.example",
    "wildcard": "DNS:*.example",
    "user": "URI:sip:alice@carrier.example",
    "sips": "URI:sips:carrier.example",
    "nameless": "",
}


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NAME.pem and NAME.key of each name above, signed by ca.pem.

    `stranger` is an authority of its own, `expired` was good once, `locked.key` has a password.
    """
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("certificates")
    _authority(folder, "ca")
    _authority(folder, "stranger", "DNS:carrier.example")
    for name, alternatives in _CERTIFICATES.items():
        _certificate(folder, name, alternatives, "-days", "2")
    _certificate(folder, "expired", "DNS:carrier.example", "-days", "-1")
    _openssl(folder, "ec", "-aes256", "-passout", "pass:x", "-in", "proxy.key", "-out", "locked.key")
    return folder


def _authority(folder: Path, name: str, alternatives: str = "DNS:authority.example") -> None:
    _openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternatives}",
        "-keyout", f"{name}.key", "-out", f"{name}.pem",
    )  # fmt: skip


def _certificate(folder: Path, name: str, alternatives: str, *days: str) -> None:
    _openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", "/CN=carrier.example", "-keyout", f"{name}.key", "-out", f"{name}.csr",
    )  # fmt: skip
    (folder / "ext").write_text(f"subjectAltName={alternatives}\n" if alternatives else "")
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-extfile", "ext", *days, "-out", f"{name}.pem",
    )  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
