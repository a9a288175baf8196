"""Certificates of the tests: an authority, and what it signs, as PEM files in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Authority:
    """Signs certificates; its own is `file`. Names are written as openssl writes them: `DNS:a.example`,
    `URI:sip:a.example`, `IP:127.0.0.1`. `days` may be below 0: over since then."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        now = datetime.now(UTC)
        builder = _builder(self._name, self._name, now - DAY, now + 365 * DAY, self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str, *alternatives: str, days: float = 365, start: float = -400) -> dict[str, str]:
        """NAME.pem and NAME.key; their paths as `certificate_file` and `key_file`."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = _builder(_name(name), self._name, now + start * DAY, now + days * DAY, key)
        names = [_alternative(text) for text in alternatives]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        files = {
            "certificate_file": self.folder / f"{name}.pem",
            "key_file": self.folder / f"{name}.key",
        }
        certificate = builder.sign(self._key, SHA256())
        files["certificate_file"].write_bytes(certificate.public_bytes(Encoding.PEM))
        files["key_file"].write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )
        return {kind: str(file) for kind, file in files.items()}


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority's certificate, and one that it signed for all of our addresses, with
    its key; `both` holds certificate and key."""

    authority: Path
    certificate: Path
    key: Path
    both: Path


def issue_for(folder: Path, addresses: tuple[str, ...]) -> Certificates:
    """A new authority and one certificate for all of `addresses`, in `folder`."""
    authority = Authority(folder)
    files = authority.issue("host", *(f"IP:{address}" for address in addresses))
    certificate, key = Path(files["certificate_file"]), Path(files["key_file"])
    both = folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return Certificates(authority.file, certificate, key, both)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, start: datetime, end: datetime, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(start).not_valid_after(end)


def _alternative(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    if kind == "IP":
        return x509.IPAddress(ip_address(value))
    return x509.DNSName(value) if kind == "DNS" else x509.UniformResourceIdentifier(value)
