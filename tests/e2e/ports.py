"""Addresses of the tests: everything stays on loopback, every party has an address of its own."""

from __future__ import annotations

import errno
import os
import socket
from itertools import cycle

PROXY = "127.0.0.1"
STRANGER = "127.0.0.250"
PROVIDER = "127.0.0.100"
SECOND_PROVIDER = "127.0.0.101"
NOBODY = "127.0.0.104"  # where nobody ever listens
EVIL = "127.0.0.200"


# Below the ports that the system gives to whoever names none: between our look and their use nobody gets them
# by chance. Each process that runs tests beside others has a share of its own; the media's begin behind.
_PORTS = range(10_000, 20_000)
_SHARES = 16
_own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
_share = _PORTS[_own * len(_PORTS) // _SHARES : (_own + 1) * len(_PORTS) // _SHARES : 2]
_begin = os.getpid() % len(_share)
_candidates = cycle((*_share[_begin:], *_share[:_begin]))


def free_udp_port(host: str) -> int:
    """A port that nobody has on this address, neither for UDP nor for TCP, nor the one after it, which
    some programs take for TLS. For SIPp and others, which cannot say what they got."""
    for port, _ in zip(_candidates, _share, strict=False):
        if _is_free(host, port) and _is_free(host, port + 1):
            return port
    raise AssertionError(f"no port from {_share[0]} to {_share[-1]} is free on {host}")


def _is_free(host: str, port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                return False
    return True
