"""TLS of the HTTP listener."""

from __future__ import annotations

import ssl
from pathlib import Path


def make_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later, without renegotiation; with `client_ca` whoever connects shows a certificate of one
    of these authorities. Raises OSError (ssl.SSLError is one) or ValueError when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    renew(context, certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def renew(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """New connections are shown what the files hold now. Raises as make_context does; then nothing has
    changed."""
    # A context is left with half of a pair that does not fit: try it on another first.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    context.load_cert_chain(certificate, key, password="")
