"""TLS contexts: certificates, keys and authorities, read from their files at one moment."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

from config.certificates import UnusableFile, names_of
from config.listeners import by_socket
from config.model import Config, Listener, ProviderConfig


class CertificateError(Exception):
    """A certificate, key or authority file that cannot be used; the text names it."""


@dataclass(frozen=True, slots=True)
class PeerFiles:
    """How a peer that we connect to is verified, and what it is shown where it asks; None: as all others."""

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM form. certificate and key: shown to whoever connects, and to whom we connect where it
    asks. client_ca: whoever connects must show a certificate of one of these authorities. trusted_ca:
    authorities of those that we connect to; None: the system's. by_name: other (certificate, key) pairs, by
    the server name that a client asks for (SNI); a name such as `*.example.org` is for all names one label
    longer. peers: for those that we connect to, by the name that they are certified as, in lower case."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    trusted_ca: Path | None = None
    by_name: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    peers: Mapping[str, PeerFiles] = field(default_factory=dict)


class TlsContexts:
    """What the files say, read at one moment. TLS 1.2 or later, without renegotiation."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises CertificateError."""
        self._files = files
        self.server = self._server(files.certificate, files.key)
        self._by_name = {_plain(name): self._server(*pair) for name, pair in files.by_name.items()}
        if self._by_name:
            self.server.sni_callback = self._choose
        self.callers = _digest(files.client_ca)
        """Tells one set of authorities for callers from another."""
        self._authorities = {name: _digest(peer.authorities) for name, peer in files.peers.items()}
        self._client = self._towards(PeerFiles())
        self._peers = {name: self._towards(peer) for name, peer in files.peers.items()}

    def client(self, name: str) -> ssl.SSLContext:
        """For a connection to the peer with this name."""
        return self._peers.get(_plain(name), self._client)

    def may_call_back(self, name: str) -> bool:
        """Whether who connected to us as `name` may be sent what is meant for `name` (RFC 5923): where one
        and the same file says who may certify it in both directions. Otherwise an authority for callers
        could make a caller pass for a provider."""
        peer = self._files.peers.get(_plain(name), PeerFiles())
        authorities = peer.authorities or self._files.trusted_ca
        return authorities is not None and authorities == self._files.client_ca

    def authorities(self, name: str) -> bytes:
        """Tells one set of authorities that certify the peer with this name from another."""
        return self._authorities.get(_plain(name), b"")

    def _server(self, certificate: Path, key: Path) -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_SERVER)
        _load_pair(context, certificate, key)
        if self._files.client_ca is not None:
            _load_authorities(context, self._files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _towards(self, peer: PeerFiles) -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_CLIENT)
        # The name is compared by the rules of SIP (RFC 5922), which are not those of the web.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        authorities = peer.authorities or self._files.trusted_ca
        if authorities is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _load_authorities(context, authorities)
        _load_pair(context, peer.certificate or self._files.certificate, peer.key or self._files.key)
        return context

    def _choose(self, found: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """The certificate that the client asks for; the first one for any other name."""
        asked = _plain(name or "")
        chosen = self._by_name.get(asked) or self._by_name.get("*." + asked.partition(".")[2])
        if chosen is not None:
            found.context = chosen


def files_by_bind(config: Config) -> dict[str, TlsFiles]:
    """The files of each TLS listener, by its `bind`. Raises CertificateError."""
    peers = {
        provider.host.lower().rstrip("."): PeerFiles(
            provider.ca_file, provider.certificate_file, provider.key_file
        )
        for provider in config.providers
        if provider.transport == "tls" and _is_verified_apart(provider)
    }
    return {
        group[0].bind: _files(group, peers)
        for group in by_socket(config.listen)
        if group[0].transport == "tls"
    }


def _is_verified_apart(provider: ProviderConfig) -> bool:
    return provider.ca_file is not None or provider.certificate_file is not None


def _files(group: tuple[Listener, ...], peers: Mapping[str, PeerFiles]) -> TlsFiles:
    first, *others = [_pair(listener) for listener in group]
    taken = _names(first[0]) if others else frozenset()
    by_name: dict[str, tuple[Path, Path]] = {}
    for pair in others:
        for name in _names(pair[0]) - taken:
            by_name.setdefault(name, pair)
    return TlsFiles(*first, group[0].client_ca_file, None, by_name, peers)


def _pair(listener: Listener) -> tuple[Path, Path]:
    if listener.certificate_file is None or listener.key_file is None:
        raise CertificateError("no certificate")
    return listener.certificate_file, listener.key_file


def _names(certificate: Path) -> frozenset[str]:
    try:
        return names_of(certificate)
    except UnusableFile as error:
        raise CertificateError(str(error)) from error


def _plain(name: str) -> str:
    return name.lower().rstrip(".")


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise CertificateError(f"certificate {certificate} with key {key}: {error}") from error


def _load_authorities(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        raise CertificateError(f"authorities {authorities}: {error}") from error


def _digest(authorities: Path | None) -> bytes:
    if authorities is None:
        return b""
    try:
        return sha256(authorities.read_bytes()).digest()
    except OSError as error:
        raise CertificateError(f"authorities {authorities}: {error}") from error


def _no_password() -> NoReturn:
    """Without this the program would stop and ask at the terminal."""
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")
