"""Which address of this machine packets to a host leave from."""

from __future__ import annotations

import socket

_ANY_PORT = 9


def source_towards(host: str) -> str | None:
    """The system's choice, by its routes of now; None where there is no way. Nothing is sent to find out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, _ANY_PORT))
            return str(probe.getsockname()[0])
    except OSError:
        return None
