"""A second opinion on PASSporTs: made and taken apart by hand, signed and checked by openssl."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Passport:
    """What stands in the value of an Identity header. `parameters` as they are written."""

    header: dict[str, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes
    parameters: dict[str, str]

    @classmethod
    def of(cls, value: str) -> Passport:
        token, *parameters = value.split(";")
        head, payload, signature = token.split(".")
        return cls(
            json.loads(_decoded(head)),
            json.loads(_decoded(payload)),
            f"{head}.{payload}".encode(),
            _decoded(signature),
            dict(one.split("=", 1) for one in parameters),
        )

    def holds(self, certificate: str | Path, folder: Path) -> bool:
        """Whether the certificate's key made the signature, as openssl has it."""
        key = subprocess.run(
            ["openssl", "x509", "-in", str(certificate), "-noout", "-pubkey"], capture_output=True, check=True
        )
        (folder / "public.pem").write_bytes(key.stdout)
        (folder / "signature.der").write_bytes(_der(self.signature))
        (folder / "signed").write_bytes(self.signed)
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature.der", "signed"],
            capture_output=True, cwd=folder, check=False,
        )  # fmt: skip
        return done.returncode == 0 and b"Verified OK" in done.stdout


def passport_by(key: str | Path, x5u: str, payload: dict[str, Any], folder: Path, ppt: str = "shaken") -> str:
    """The value of an Identity header that openssl signed with `key`."""
    head = {"alg": "ES256", "ppt": ppt, "typ": "passport", "x5u": x5u}
    parts = [json.dumps(each, separators=(",", ":"), sort_keys=True).encode() for each in (head, payload)]
    signed = b".".join(_encoded(each) for each in parts)
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(key)], input=signed, capture_output=True, check=True,
        cwd=folder,
    )  # fmt: skip
    token = signed + b"." + _encoded(_halves(done.stdout))
    return f'{token.decode()};info=<{x5u}>;alg=ES256;ppt="{ppt}"'


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _halves(der: bytes) -> bytes:
    """The two integers of an ECDSA-Sig-Value, as RFC 7518 §3.4 writes them."""
    assert der[0] == 0x30
    assert der[2] == 2
    r, rest = der[4 : 4 + der[3]], der[4 + der[3] :]
    assert rest[0] == 2
    s = rest[2 : 2 + rest[1]]
    return b"".join(int.from_bytes(each).to_bytes(32) for each in (r, s))


def _decoded(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _der(raw: bytes) -> bytes:
    """ECDSA-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER } of the two halves (RFC 7518 §3.4)."""
    assert len(raw) == 64

    def integer(half: bytes) -> bytes:
        body = half.lstrip(b"\0") or b"\0"
        body = b"\0" + body if body[0] & 0x80 else body
        return bytes((2, len(body))) + body

    content = integer(raw[:32]) + integer(raw[32:])
    return bytes((0x30, len(content))) + content
