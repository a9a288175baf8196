"""The certificates and keys of `stir`: read when the file is loaded, so that a call waits for no file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from config.certificates import UnusableFile, check_dates, plain_key, read_certificates, read_key
from config.model import StirConfig
from config.problem import join
from config.scopes import Report
from config.signing import Believed, StirFiles


def read_stir(stir: StirConfig, now: datetime, report: Report) -> StirFiles:
    """Read the files of a section whose paths are absolute; what is wrong with them goes to `report`."""
    key, own = None, None
    if stir.certificate_file is not None and stir.key_file is not None:
        own = _certificate(stir.certificate_file, "stir.certificate_file", now, report)
        key = _key(stir.key_file, report)
        if own is not None and key is not None and plain_key(own.key) != plain_key(key.public_key()):
            text = f"`{stir.key_file}` is not the key of the first certificate in `{stir.certificate_file}`"
            report.problem("stir.key_file", text)
    trusted: dict[str, Believed] = {}
    for index, one in enumerate(stir.trusted):
        path = join("stir.trusted", index)
        if one.x5u in trusted:
            report.problem(join(path, "x5u"), f"`{one.x5u}` is listed twice")
        found = _certificate(one.certificate_file, join(path, "certificate_file"), now, report)
        if found is not None:
            trusted[one.x5u] = found
    return StirFiles(key, own, trusted)


def _certificate(file: Path, path: str, now: datetime, report: Report) -> Believed | None:
    try:
        first: x509.Certificate = read_certificates(file)[0]
    except UnusableFile as error:
        report.problem(path, str(error))
        return None
    public = first.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        report.problem(
            path, f"`{file}` has no key of the curve P-256, the one of ES256 (RFC 8225, section 8)"
        )
        return None
    check_dates([first], file, path, now, report)
    return Believed(public, first.not_valid_before_utc, first.not_valid_after_utc)


def _key(file: Path, report: Report) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = read_key(file)
    except UnusableFile as error:
        report.problem("stir.key_file", str(error))
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        text = f"`{file}` has no key of the curve P-256, the one of ES256 (RFC 8225, section 8)"
        report.problem("stir.key_file", f"{text}: `openssl ecparam -name prime256v1 -genkey -noout`")
        return None
    return key
