"""Both ends of TLS connections."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from proxy.sip.message import Flow
from proxy.transport.contexts import TlsFiles
from proxy.transport.tls import TlsEndpoint
from tests.transport.stage import Peer, Stage, files_of, request

OPTIONS = request()


def client(folder: Path, name: str | None = None) -> ssl.SSLContext:
    """What a peer connects with; `name`: its own certificate."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if name is not None:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def server(folder: Path, name: str) -> ssl.SSLContext:
    """What a far end listens with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def proxy(folder: Path, **more: Any) -> TlsFiles:
    return files_of(folder, "proxy", **{"trusted_ca": folder / "ca.pem", **more})


def towards(stage: Stage, endpoint: TlsEndpoint, remote: tuple[str, int], name: str = "") -> Flow:
    return Flow("tls", endpoint.local, remote, stage.names.number(name) if name else 0)


async def connect(endpoint: TlsEndpoint, context: ssl.SSLContext, name: str = "proxy.example") -> Peer:
    return await Peer.to(endpoint, context, server_hostname=name)
