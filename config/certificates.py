"""Certificates, keys and authorities in files: what is wrong with them, before anybody connects."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from config.listeners import by_socket
from config.problem import join
from config.scopes import Report
from config.structure import Draft

WARN_DAYS: Final = 30
"""A certificate that expires within so many days is worth a warning."""


class UnusableFile(Exception):
    """What is wrong with a file, and how to mend it."""


def check_certificates(draft: Draft, now: datetime) -> Report:
    """Every certificate, key and authority file of a draft whose paths are absolute."""
    report = Report()
    paths = {id(listener): path for path, listener in draft.items.get("listen", [])}
    for group in by_socket(listener for _, listener in draft.items.get("listen", [])):
        taken: dict[str, str] = {}
        for listener in group:
            path = paths[id(listener)]
            if listener.transport == "tls" and listener.certificate_file and listener.key_file:
                chain = _check_pair(listener.certificate_file, listener.key_file, path, now, report)
                if chain:
                    _check_names(chain[0], path, taken, listener is group[0], report)
            if listener.transport == "tls" and listener.client_ca_file:
                _check_authorities(listener.client_ca_file, join(path, "client_ca_file"), now, report)
    admin = draft.sections.get("admin")
    if admin is not None:
        if admin.certificate_file and admin.key_file:
            _check_pair(admin.certificate_file, admin.key_file, "admin", now, report)
        if admin.client_ca_file:
            _check_authorities(admin.client_ca_file, "admin.client_ca_file", now, report)
    for path, provider in draft.items.get("providers", []):
        if provider.transport != "tls":
            continue
        if provider.ca_file:
            _check_authorities(provider.ca_file, join(path, "ca_file"), now, report)
        if provider.certificate_file and provider.key_file:
            _check_pair(provider.certificate_file, provider.key_file, path, now, report)
    return report


def names_of(file: Path) -> frozenset[str]:
    """What clients may ask for (SNI) to be shown this certificate: its DNS names, and the hosts of its `sip:`
    URIs, in lower case. Raises UnusableFile."""
    return _names(read_certificates(file)[0])


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    names = list(found.get_values_for_type(x509.DNSName))
    for uri in found.get_values_for_type(x509.UniformResourceIdentifier):
        scheme, _, host = uri.partition(":")
        if scheme.lower() == "sip" and "@" not in host:
            names.append(host.partition(";")[0].partition(":")[0])
    return frozenset(name.lower().rstrip(".") for name in names if name)


def _check_names(
    certificate: x509.Certificate, path: str, taken: dict[str, str], first: bool, report: Report
) -> None:
    """An entry that no server name leads to would never be shown."""
    names = _names(certificate)
    if not first and not names - set(taken):
        reason = (
            f"has no name that {taken[min(names)]} has not"
            if names
            else "names no host (subjectAltName with `DNS:` or `URI:sip:`)"
        )
        text = (
            f"{reason}, so no client can ask for it: give one with a name of its own, or leave this entry out"
        )
        report.problem(join(path, "certificate_file"), text)
    for name in names:
        taken.setdefault(name, path)


def _check_pair(
    certificate_file: Path, key_file: Path, path: str, now: datetime, report: Report
) -> list[x509.Certificate]:
    """A certificate with its key; what was read of the former."""
    chain: list[x509.Certificate] = []
    key: PrivateKeyTypes | None = None
    try:
        chain = read_certificates(certificate_file)
    except UnusableFile as error:
        report.problem(join(path, "certificate_file"), str(error))
    try:
        key = read_key(key_file)
    except UnusableFile as error:
        report.problem(join(path, "key_file"), str(error))
    if not chain or key is None:
        return chain
    if plain_key(chain[0].public_key()) != plain_key(key.public_key()):
        text = (
            f"`{key_file}` is not the key of the first certificate in `{certificate_file}`: "
            "give the key for which it was issued, and put it before those of its authorities"
        )
        report.problem(join(path, "key_file"), text)
        return chain
    check_dates(chain, certificate_file, join(path, "certificate_file"), now, report)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate_file, key_file)
    except (OSError, ValueError) as error:
        report.problem(
            join(path, "certificate_file"), f"`{certificate_file}` cannot be used for TLS: {error}"
        )
    return chain


def plain_key(key: PublicKeyTypes) -> bytes:
    """A public key in a form that can be compared."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_authorities(file: Path, path: str, now: datetime, report: Report) -> None:
    try:
        found = read_certificates(file)
    except UnusableFile as error:
        report.problem(path, str(error))
    else:
        # Bundles keep authorities that are over: the youngest counts.
        check_dates([max(found, key=lambda one: one.not_valid_after_utc)], file, path, now, report)


def check_dates(
    chain: Iterable[x509.Certificate], file: Path, path: str, now: datetime, report: Report
) -> None:
    """A problem for each that is not valid now, a warning for each that soon will not be."""
    for certificate in chain:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if end <= now:
            report.problem(path, f"`{file}` expired on {end:%Y-%m-%d}: renew it, then reload")
        elif start > now:
            text = f"`{file}` is not valid before {start:%Y-%m-%d %H:%M} UTC: set the clock, or wait"
            report.problem(path, text)
        elif end - now <= timedelta(days=WARN_DAYS):
            report.warn(path, f"`{file}` expires on {end:%Y-%m-%d}: renew it, then reload")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnusableFile(f"`{file}` cannot be read: {error.strerror}") from error


def read_certificates(file: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one. Raises UnusableFile."""
    try:
        return x509.load_pem_x509_certificates(_read(file))
    except ValueError as error:
        text = f"`{file}` holds no certificate in PEM form: it begins with `-----BEGIN CERTIFICATE-----`"
        raise UnusableFile(text) from error


def read_key(file: Path) -> PrivateKeyTypes:
    """The private key of a PEM file. Raises UnusableFile."""
    data = _read(file)
    try:
        return load_pem_private_key(data, None)
    except TypeError as error:
        text = (
            f"`{file}` is encrypted, and there is nobody to ask for its password: "
            "write it without one (`openssl pkey`), for this program alone to read"
        )
        raise UnusableFile(text) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        text = f"`{file}` holds no private key in PEM form: it begins with `-----BEGIN PRIVATE KEY-----`"
        raise UnusableFile(text) from error
